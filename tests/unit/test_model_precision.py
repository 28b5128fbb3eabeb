"""Products in bfloat16 only where they are faster."""

import pytest
import torch

from worker.model.precision import autocast

CPU = torch.device("cpu")


def product_type() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_float32_stays_when_mixed_precision_is_not_wanted() -> None:
    """A recipe with `bf16 = false` is trained in float32 everywhere."""
    with autocast(CPU, wanted=False):
        assert product_type() == torch.float32


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability().startswith("AVX512"), reason="this processor has AVX-512")
def test_a_processor_without_the_instructions_trains_in_float32() -> None:
    """Where bfloat16 would be emulated, 37 times slower, the recipe's wish for it is passed over."""
    with autocast(CPU, wanted=True):
        assert product_type() == torch.float32


@pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(),
    reason="this processor does not multiply bfloat16",
)
def test_a_processor_with_the_instructions_trains_in_bfloat16() -> None:
    """Mixed precision is used where it is wanted and fast."""
    with autocast(CPU, wanted=True):
        assert product_type() == torch.bfloat16

"""Mixed precision, where it is faster: bfloat16 on hardware that has kernels for it, float32 elsewhere."""

from functools import cache

import torch


def autocast(device: torch.device, wanted: bool) -> torch.autocast:
    """A context in which products are taken in bfloat16 if that is `wanted` and `device` has kernels for it.

    A processor without takes 37 times as long for a product in bfloat16 as in float32 (docs/model-lab.md).
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and multiplies_bf16(device.type))


@cache
def multiplies_bf16(device_type: str) -> bool:
    """Whether the `cuda` or `cpu` of this machine has kernels for bfloat16, as torch.compile asks."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

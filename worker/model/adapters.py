"""LoRA (Hu et al. 2022) and AdaLoRA (Zhang et al. 2023): low-rank updates, folded into the weights when saved."""

import copy
from typing import Any

import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from torch import Tensor

from worker.model.network import MultiTaskBert
from worker.model.options import Options

NAME = "default"
TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
# AdaLoRA plans by steps, a run by time: its plan is laid over thousandths of the budget.
PLAN_STEPS, PLAN_START, PLAN_END = 1000, 100, 800
ORTHOGONAL_WEIGHT = 0.1  # the paper's, 0.1 to 0.5


def add_adapters(network: MultiTaskBert, options: Options) -> None:
    """Put adapters beside the encoder's linear layers and freeze the rest of the encoder; the heads train as before."""
    rank = options.adapter_rank
    config = (
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
        if options.adapter == "lora"
        # It starts with half as much again and gives the ranks up where they matter least (the paper, 4.1).
        else AdaLoraConfig(
            init_r=rank + (rank + 1) // 2, target_r=rank, lora_alpha=2 * rank, target_modules=TARGETS,
            total_step=PLAN_STEPS, tinit=PLAN_START, tfinal=PLAN_STEPS - PLAN_END, deltaT=10,
            orth_reg_weight=ORTHOGONAL_WEIGHT,
        )
    )  # fmt: skip
    network.encoder = get_peft_model(network.encoder, config, adapter_name=NAME)


def merged(network: MultiTaskBert) -> MultiTaskBert:
    """A copy without adapters that computes the same."""
    plain = copy.deepcopy(network)
    plain.encoder = plain.encoder.merge_and_unload()
    return plain


def orthogonality(network: MultiTaskBert) -> Tensor:
    """AdaLoRA's penalty: how far its factors are from orthogonal, which their ranking by singular value assumes."""
    norms = []
    for name, factor in network.encoder.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            product = factor @ factor.T if "lora_A" in name else factor.T @ factor
            norms.append(torch.linalg.norm(product - torch.eye(len(product), device=product.device)))
    return ORTHOGONAL_WEIGHT * torch.stack(norms).mean()


class RankPlan:
    """AdaLoRA's giving up of ranks, by the fraction of the budget spent; its state is saved with the run."""

    def __init__(self, network: MultiTaskBert) -> None:
        self._tuner = network.encoder.base_model
        self._final = False

    def update(self, spent: float) -> None:
        """Weigh the ranks by this step's gradients, and mask those given up; call it after the optimiser's step."""
        at = min(int(spent * PLAN_STEPS), PLAN_STEPS)
        if at >= PLAN_END and not self._final:
            at, self._final = PLAN_END, True  # the step that settles the ranks must not be passed over
        elif self._final:
            at = max(at, PLAN_END + 1)
        self._tuner.update_and_allocate(at)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        allocator = self._tuner.rankallocator
        pattern = self._tuner.peft_config[NAME].rank_pattern
        sums = {name: getattr(allocator, name) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")}
        return {"sums": sums, "pattern": pattern, "final": self._final}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where the saved run stood."""
        for name, values in state["sums"].items():
            setattr(self._tuner.rankallocator, name, values)
        self._tuner.peft_config[NAME].rank_pattern = state["pattern"]
        self._final = state["final"]

"""A moving average of the weights, which often scores better than the last ones (Polyak and Juditsky 1992)."""

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from worker.model.network import MultiTaskBert


def averaged(network: MultiTaskBert, decay: float) -> AveragedModel:
    """A copy that `update_parameters` moves by 1 - `decay` towards the network; it starts at the first update."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))

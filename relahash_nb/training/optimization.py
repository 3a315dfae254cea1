"""The optimizer, and the learning rate over a run."""

import math
from collections.abc import Callable

import torch
from torch import nn

from relahash_nb.config import RunConfig
from relahash_nb.models import HashModel


def constant(progress: float) -> float:
    """Always the full learning rate."""
    return 1.0


def step(progress: float) -> float:
    """A tenth of the learning rate in the last fifth of the run, as the published code has it."""
    return 1.0 if progress < 0.8 else 0.1


def cosine(progress: float) -> float:
    """Half a cosine from the full learning rate to 0."""
    return (1 + math.cos(math.pi * progress)) / 2


def one_cycle(progress: float) -> float:
    """A straight rise over the first fifth of the run, then a straight fall to 0."""
    return min(progress / 0.2, (1 - progress) / 0.8)


# The factor of the learning rate, from 0 to 1, by the run's progress from 0 to 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def make_optimizer(model: HashModel, loss: nn.Module, config: RunConfig) -> torch.optim.Adam:
    """Adam in two groups: pretrained tensors of the backbone at a learning rate of their own, and all others.

    Each group has its full learning rate as `base_lr`, which the schedule multiplies.
    """
    pretrained: list[nn.Parameter] = []
    others = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_pretrained = name.removeprefix("backbone.") in model.pretrained
        group = pretrained if is_pretrained else others
        group.append(parameter)
    groups = []
    if pretrained:
        groups.append({"params": pretrained, "base_lr": config.lr * config.backbone_lr_scale})
    if others:
        groups.append({"params": others, "base_lr": config.lr})
    has_fused_step = model.mean.device.type in ("cpu", "cuda")
    return torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay, fused=has_fused_step)

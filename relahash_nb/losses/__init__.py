"""RelaHash and its rivals behind one uniform call: `LOSSES[name](centroids, **options)(codes, targets) -> scalar`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from relahash_nb.config import BASELINE_NAMES, RunConfig, load_attribute
from relahash_nb.losses.centers import CSQLoss, DPNLoss
from relahash_nb.losses.classification import (
    CrossEntropyLoss,
    GreedyHashLoss,
    JMLHLoss,
    PlainCrossEntropyLoss,
    SDHCLoss,
)
from relahash_nb.losses.common import HashLoss, HeadLoss, soft_cross_entropy
from relahash_nb.losses.orthohash import OrthoHashArcLoss, OrthoHashLoss
from relahash_nb.losses.pairwise import DPSHLoss, DTSHLoss, HashNetLoss
from relahash_nb.losses.relahash import RelaHashLoss

__all__ = ["LOSSES", "HashLoss", "HeadLoss", "RelaHashLoss", "build_loss", "given_options", "soft_cross_entropy"]

# Your own loss: an nn.Module built from the centroids, called with (codes, targets), and an entry here and in
# config.LOSS_NAMES; or `--loss package.module:Class` without either.
LOSSES = {
    "relahash": RelaHashLoss,
    "orthohash": OrthoHashLoss,
    "orthohash_arc": OrthoHashArcLoss,
    "cross_entropy": CrossEntropyLoss,
    "cross_entropy_plain": PlainCrossEntropyLoss,
    "csq": CSQLoss,
    "dpn": DPNLoss,
    "greedyhash": GreedyHashLoss,
    "hashnet": HashNetLoss,
    "dpsh": DPSHLoss,
    "dtsh": DTSHLoss,
    "jmlh": JMLHLoss,
    "sdh_c": SDHCLoss,
}


def build_loss(config: RunConfig, centroids: Tensor) -> nn.Module:
    """The loss that a config names; what it draws comes from the seed alone, and no global random state is changed.

    Args:
        config: Resolved or not. Of it count `loss`, `loss_options`, `seed`, and `beta` and `margin` where given.
        centroids: (C, K) ±1.

    Returns:
        The loss; for a baseline, which has none, a `HashLoss` that holds the centroids and cannot be called.

    Raises:
        ValueError: No such loss, or an option that it does not have; or a baseline without fixed features.

    Example:
        >>> build_loss(RunConfig(beta=50), torch.ones(10, 64)).beta
        50.0
    """
    config = config.resolve()
    if config.loss in BASELINE_NAMES:
        if config.finetune:
            raise ValueError(f"finetune: True given; {config.loss} has no training, and needs fixed features: False")
        return HashLoss(centroids)
    options = given_options(config)
    kind = LOSSES.get(config.loss) or load_attribute(config.loss)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return kind(centroids, **options)
    except TypeError as error:
        raise ValueError(f"loss_options: {options} given; {config.loss} does not take them ({error})") from None


def given_options(config: RunConfig) -> dict[str, Any]:
    """What a config gives to its loss or baseline: `beta` and `margin` where they are not None, and `loss_options`.

    Example:
        >>> given_options(RunConfig(loss="dpn", loss_options={"a": 1}).resolve())
        {'margin': 1.0, 'a': 1}
    """
    options = {name: getattr(config, name) for name in ("beta", "margin") if getattr(config, name) is not None}
    return options | (config.loss_options or {})

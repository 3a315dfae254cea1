"""RelaHash and its rivals behind one uniform call: `LOSSES[name](centroids, **options)(codes, targets) -> scalar`."""

from __future__ import annotations

from torch import Tensor, nn

from relahash_nb.config import RunConfig, load_attribute
from relahash_nb.losses.common import soft_cross_entropy
from relahash_nb.losses.relahash import RelaHashLoss

__all__ = ["LOSSES", "RelaHashLoss", "build_loss", "soft_cross_entropy"]

# Your own loss: an nn.Module built from the centroids, called with (codes, targets), and an entry here.
LOSSES = {"relahash": RelaHashLoss}


def build_loss(config: RunConfig, centroids: Tensor) -> nn.Module:
    """The loss that a config names.

    Args:
        config: Resolved or not. Of it count `loss`, `loss_options`, and `beta` and `margin` for a loss that has them.
        centroids: (C, K) ±1.

    Raises:
        ValueError: No such loss, or an option that it does not have.

    Example:
        >>> import torch
        >>> build_loss(RunConfig(beta=50), torch.ones(10, 64)).beta
        50.0
    """
    config = config.resolve()
    options = {name: getattr(config, name) for name in ("beta", "margin") if getattr(config, name) is not None}
    options |= config.loss_options or {}
    kind = LOSSES.get(config.loss) or load_attribute(config.loss)
    try:
        return kind(centroids, **options)
    except TypeError as error:
        raise ValueError(f"loss_options: {options} given; {config.loss} does not take them ({error})") from None

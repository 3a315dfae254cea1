"""RelaHash and its rivals behind one uniform call: `LOSSES[name](centroids, **options)(codes, targets) -> scalar`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from relahash_nb.baselines import BASELINES
from relahash_nb.config import RunConfig, load_attribute
from relahash_nb.losses import centers, classification, pairwise
from relahash_nb.losses.common import HashLoss
from relahash_nb.losses.relahash import RelaHashLoss
from relahash_nb.options import did_you_mean

__all__ = ["LOSSES", "HashLoss", "RelaHashLoss", "build_loss", "check_loss_options", "wants_batch_norm"]

# Your own loss: an nn.Module built from the centroids, called with (codes, targets), and an entry here and in
# config.LOSS_NAMES; or `--loss package.module:Class` without either.
LOSSES = {
    "relahash": RelaHashLoss,
    "orthohash": centers.OrthoHashLoss,
    "orthohash_arc": centers.OrthoHashArcLoss,
    "cross_entropy": classification.CrossEntropyLoss,
    "csq": centers.CSQLoss,
    "dpn": centers.DPNLoss,
    "greedyhash": classification.GreedyHashLoss,
    "hashnet": pairwise.HashNetLoss,
    "dpsh": pairwise.DPSHLoss,
    "dtsh": pairwise.DTSHLoss,
    "jmlh": classification.JMLHLoss,
    "sdh_c": classification.SDHCLoss,
    "bihalf": classification.BiHalfLoss,
    "dch": pairwise.DCHLoss,
    "average_precision": pairwise.AveragePrecisionLoss,
}


def build_loss(config: RunConfig, centroids: Tensor) -> nn.Module:
    """Build the loss that a config names, from centroids (C, K) ±1; a ValueError as of `check_loss_options`.

    Its weights depend on the seed alone, and no global random state changes. For a baseline, which has no loss, it is a
    `HashLoss` that holds the centroids and cannot be called.

    Example:
        >>> build_loss(RunConfig(beta=50), torch.ones(10, 64)).beta
        50.0
    """
    options = check_loss_options(config)
    return HashLoss(centroids) if config.loss in BASELINES else _build(config, centroids, options)


def check_loss_options(config: RunConfig) -> dict[str, Any]:
    """The options that a config gives to its loss or baseline, checked before anything is loaded or trained.

    `beta` and `margin` are among them where they are not None; `batch_norm` is the model's and is not.

    Raises:
        ValueError: An option is given twice, is not the loss's, or is out of range; or a baseline is to be finetuned.

    Example:
        >>> check_loss_options(RunConfig(loss="dtsh", margin=4, loss_options={"quantization": 0.1, "batch_norm": True}))
        {'quantization': 0.1, 'margin': 4.0}
        >>> check_loss_options(RunConfig(loss="csq", beta=8))
        Traceback (most recent call last):
        ValueError: beta: 8.0 given; csq takes no such option; allowed: quantization, batch_norm
    """
    if config.loss in BASELINES and config.finetune:
        raise ValueError(f"finetune: True given; {config.loss} has no training, and needs fixed features: False")
    options = dict(config.loss_options or {})
    for name in ("beta", "margin"):
        if (value := getattr(config, name)) is not None:
            if name in options:
                raise ValueError(f"{name}: {value} given, and loss_options has {options[name]}; allowed: one of them")
            options[name] = value
    parameters = inspect.signature(_find(config)).parameters.values()
    allowed = [parameter.name for parameter in parameters if parameter.default is not parameter.empty]
    allowed += [] if config.loss in BASELINES else ["batch_norm"]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for name in [] if takes_any else [name for name in options if name not in allowed]:
        listed = (", ".join(allowed) or "none") + did_you_mean(name, allowed)
        raise ValueError(f"{name}: {options[name]} given; {config.loss} takes no such option; allowed: {listed}")
    if not isinstance(batch_norm := options.pop("batch_norm", True), bool):
        raise ValueError(f"batch_norm: {batch_norm!r} given; allowed: true, false")
    if config.loss in LOSSES:
        _build(config, torch.ones(2, config.bits), options)  # it refuses values that are out of range
    return options


def wants_batch_norm(config: RunConfig) -> bool:
    """Whether the model has a batch norm after its hash layer: as the loss's paper has it, or as its option says."""
    return (config.loss_options or {}).get("batch_norm", getattr(_find(config), "batch_norm", True))


def used_options(config: RunConfig) -> dict[str, Any]:
    """All options of a config's loss or baseline, with the defaults that it fills in; for `run.json`."""
    parameters = inspect.signature(_find(config)).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    return defaults | check_loss_options(config) | {"batch_norm": wants_batch_norm(config)}


def _find(config: RunConfig) -> Callable[..., nn.Module]:
    """The class of a loss, or the function of a baseline."""
    return LOSSES.get(config.loss) or BASELINES.get(config.loss) or load_attribute(config.loss)


def _build(config: RunConfig, centroids: Tensor, options: dict[str, Any]) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return _find(config)(centroids, **options)
    except TypeError as error:
        raise ValueError(f"loss_options: {options} given; {config.loss} refuses them ({error})") from None

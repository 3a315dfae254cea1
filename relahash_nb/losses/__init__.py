"""RelaHash and its rivals behind one uniform call: `build_loss(config, centroids)(codes, targets) -> scalar`."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from relahash_nb import registry
from relahash_nb.config import RunConfig
from relahash_nb.devices import find_device
from relahash_nb.losses.common import HashLoss
from relahash_nb.losses.own import make_own_loss, try_loss
from relahash_nb.losses.relahash import RelaHashLoss
from relahash_nb.registry import BASELINES, LOSSES, did_you_mean

__all__ = ["HashLoss", "RelaHashLoss", "build_loss", "find_loss", "loss_options", "used_options", "wants_batch_norm"]


def build_loss(config: RunConfig, centroids: Tensor) -> nn.Module:
    """Builds the loss that a config names.

    Its weights depend on the seed alone, and no global random state changes. For a baseline, which has no loss, it is a
    `HashLoss` that holds the centroids and cannot be called. One of your own is first tried on a batch of random codes,
    and then made anew.

    Args:
        config: Its `loss`, `loss_options`, `beta`, `margin` and `seed` count; for one of your own `batch_size` and
            `device` too.
        centroids: (C, K) ±1, one for each class.

    Raises:
        ValueError: The loss has no such option, or a value is out of range; one of your own raises an error, gives no
            scalar, or does not depend on the codes.

    Example:
        >>> build_loss(RunConfig(beta=50), torch.ones(10, 64)).beta
        50.0
    """
    options = loss_options(config)
    if config.loss in BASELINES:
        return HashLoss(centroids)
    found = find_loss(config.loss)
    if ":" not in config.loss:
        with seeded(config):
            try:
                return found(centroids, **options)
            except TypeError as error:
                raise ValueError(f"loss_options: {options} given; {config.loss} refuses them ({error})") from None
    with seeded(config):
        loss = make_own_loss(config.loss, found, centroids, options)
        try_loss(config.loss, loss, centroids, config.batch_size, find_device(config.device))
    with seeded(config):
        return make_own_loss(config.loss, found, centroids, options)


@contextmanager
def seeded(config: RunConfig) -> Iterator[None]:
    """Lets torch's generators begin with a config's seed within a `with` block; afterwards they are as before."""
    device = find_device(config.device) if ":" in config.loss else torch.device("cpu")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        yield


def find_loss(name: str) -> Any:
    """The class of a loss, or the function of a baseline, by its name or `package.module:attribute`."""
    return registry.load(LOSSES | BASELINES, name)


def loss_options(config: RunConfig) -> dict[str, Any]:
    """The options that a config gives to its loss or baseline.

    `beta` and `margin` are among them where they are not None. `batch_norm` is an option of every loss, which the
    model reads; it is not among them.

    Raises:
        ValueError: The loss has no such option. Whether a value is in range is for the loss to say.

    Example:
        >>> loss_options(RunConfig(loss="dtsh", margin=4, loss_options={"quantization": 0.1, "batch_norm": True}))
        {'quantization': 0.1, 'margin': 4.0}
        >>> loss_options(RunConfig(loss="csq", beta=8))
        Traceback (most recent call last):
        ValueError: beta: 8.0 given; csq takes no such option; allowed: quantization, batch_norm
    """
    options = dict(config.loss_options or {})
    for name in ("beta", "margin"):
        value = getattr(config, name)
        if value is not None:
            options[name] = value
    function = find_loss(config.loss)
    parameters = [*inspect.signature(function).parameters]
    allowed = [*parameters[1:], "batch_norm"]  # after the centroids
    if config.loss in BASELINES:
        allowed = parameters[4:]  # after features, targets, bits and generator
    for name, value in options.items():
        if name not in allowed and not _takes_any(function):
            listed = ", ".join(allowed) or "none"
            hint = did_you_mean(name, allowed)
            raise ValueError(f"{name}: {value} given; {config.loss} takes no such option; allowed: {listed}{hint}")
    batch_norm = options.pop("batch_norm", True)
    if not isinstance(batch_norm, bool):
        raise ValueError(f"batch_norm: {batch_norm!r} given; allowed: true, false")
    return options


def wants_batch_norm(config: RunConfig) -> bool:
    """Whether the model has a batch norm after its hash layer: as the loss's paper has it, or as its option says."""
    default = getattr(find_loss(config.loss), "batch_norm", True)
    return bool((config.loss_options or {}).get("batch_norm", default))


def used_options(config: RunConfig) -> dict[str, Any]:
    """All options of a config's loss or baseline, with the defaults of its signature; for `run.json`."""
    defaults = registry.default_options(find_loss(config.loss))
    return defaults | loss_options(config) | {"batch_norm": wants_batch_norm(config)}


def _takes_any(function: Callable[..., nn.Module]) -> bool:
    """Whether a function has `**options`."""
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

"""A loss of your own, tried before the work begins: what is wrong with it is one line."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MOST_ROWS = 64  # of the batch that is tried


def make_own_loss(name: str, found: Callable[..., Any], centroids: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Calls `found(centroids, **options)`, the class or function that `name` stands for.

    Raises:
        ValueError: It takes other arguments, raises an error, or gives no module.
    """
    try:
        inspect.signature(found).bind(centroids, **options)
    except TypeError as error:
        call = ", ".join(["centroids", *(f"{option}=…" for option in options)])
        raise ValueError(f"{name}: cannot be called as {name.rpartition(':')[2]}({call}): {error}") from None
    with said_of(name, "when it is made"):
        loss = found(centroids, **options)
    if not isinstance(loss, nn.Module):
        raise ValueError(f"{name}: gives a {type(loss).__name__}; allowed: a torch.nn.Module")
    return loss


def try_loss(name: str, loss: nn.Module, centroids: Tensor, batch_size: int, device: torch.device) -> None:
    """Calls a loss with random codes of the centroids' classes in turn, and asks for its gradient; it may change.

    Args:
        name: For messages.
        loss: Moved to the device.
        centroids: (C, K).
        batch_size: B; at most 64 rows are tried.
        device: Where the run will be.

    Raises:
        ValueError: The loss raises an error, is no scalar, or does not depend on the codes.
    """
    classes, bits = centroids.shape
    rows = min(batch_size, MOST_ROWS)
    codes = torch.randn(rows, bits, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()  # (B, K)
    targets = torch.eye(classes, dtype=torch.uint8, device=device)[torch.arange(rows) % classes]  # (B, C)
    with said_of(name, f"when it is called with codes {tuple(codes.shape)} and targets {tuple(targets.shape)}"):
        value = loss.to(device)(codes, targets)
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: the loss gives a {type(value).__name__}, not a tensor")
    if value.ndim:
        raise ValueError(f"{name}: the loss gives {tuple(value.shape)}, not a scalar; .mean() makes one")
    if value.requires_grad:
        with said_of(name, "when its gradient is asked for"):
            value.backward()
    if codes.grad is None:
        raise ValueError(f"{name}: the loss does not depend on the codes, so that nothing could be learned")


@contextmanager
def said_of(name: str, when: str) -> Iterator[None]:
    """Makes one ValueError of one line of whatever somebody's own code raises in a `with` block."""
    try:
        yield
    except Exception as error:  # it may raise anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{name}: {type(error).__name__} {when}{_place(name, error)}: {reason}") from error


def _place(name: str, error: Exception) -> str:
    """The last line of the module itself that led to an error, such as ' (mine.py:12)'."""
    module = sys.modules.get(name.partition(":")[0])
    file = getattr(module, "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(str(file)).name}:{lines[-1]})" if lines else ""

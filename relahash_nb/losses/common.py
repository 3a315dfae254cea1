"""What the losses share."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from relahash_nb.centroids import vote_centroids


class HashLoss(nn.Module):
    """A loss with its centroids as a buffer: `loss(codes, targets) -> scalar`.

    Codes are (B, K) float, before the sign. Targets are (B, C) multi-hot, of any integer, boolean or float dtype. A row
    without a label adds nothing: means over the batch are over all B rows, and means over pairs over those of labelled
    rows. A subclass
    gives `_loss`, which gets targets of the codes' dtype, or its own `forward`. Two class attributes:

    - `batch_norm`: whether the paper or its code has a batch norm after the hash layer. `build_model` follows it, so
      that the sign is taken of the same codes that the loss is given; the loss option `batch_norm` overrides it.
    - `SEARCH`: the range in which a tuner may search each option, `{option: (low, high, "log" or "linear")}`.

    Args:
        centroids: (C, K) ±1, the target code of each class; kept in the dtype that they have.
        not_negative: A subclass's options that are finite numbers from 0 up; kept as attributes.

    Raises:
        ValueError: `centroids` is not a matrix. In a subclass also: an option is out of range. In a call: the shapes of
            codes and targets do not fit the centroids.

    Example:
        >>> import torch
        >>> HashLoss(torch.ones(10, 64)).check(torch.zeros(2, 64), torch.zeros(2, 10, dtype=torch.bool)).dtype
        torch.float32
    """

    batch_norm = True
    SEARCH: ClassVar[dict[str, tuple[float, float, str]]] = {}

    def __init__(self, centroids: Tensor, **not_negative: float) -> None:
        super().__init__()
        check_not_negative(**not_negative)
        vars(self).update(not_negative)
        if centroids.ndim != 2:
            raise ValueError(f"centroids: shape {tuple(centroids.shape)} given; expected (classes, bits)")
        self.register_buffer("centroids", centroids.detach().clone())

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, as a scalar, of codes (B, K) and targets (B, C)."""
        return self._loss(codes, self.check(codes, targets))

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def check(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Check the shapes of codes (B, K) and targets (B, C); return the targets in the codes' dtype."""
        check_codes(codes, self.centroids)
        expected = (len(codes), len(self.centroids))
        if targets.shape != expected:
            raise ValueError(f"targets: shape {tuple(targets.shape)} given; expected {expected}")
        return targets.to(codes.dtype)

    def own_centroids(self, targets: Tensor) -> Tensor:
        """(B, K) ±1 in the targets' dtype: the centroid of an item's class, or the majority of those of its classes."""
        return vote_centroids(targets, self.centroids.to(targets.dtype))


def check_codes(codes: Tensor, centroids: Tensor) -> None:
    """Raise a ValueError unless codes are (B, K) with the centroids' K."""
    if codes.ndim != 2 or codes.shape[1] != centroids.shape[1]:
        expected = f"(batch, {centroids.shape[1]}), as the centroids have"
        raise ValueError(f"codes: shape {tuple(codes.shape)} given; expected {expected}")


def check_positive(**options: float) -> None:
    """Raise a ValueError where an option of a loss is not a finite number above 0."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value} given; allowed: a finite number above 0")


def check_not_negative(**options: float) -> None:
    """Raise a ValueError where an option of a loss is not a finite number from 0 up."""
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: {value} given; allowed: a finite number from 0 up")


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of the cross-entropy between softmax(logits) and targets/Σtargets.

    Args:
        logits: (B, C) float.
        targets: (B, C) float multi-hot; a row without a label counts as 0.

    Returns:
        Scalar.

    Example:
        >>> import torch
        >>> soft_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 1, 0, 0]])).exp()
        tensor(4.)
    """
    return F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True).clamp_min(1))


def labelled(targets: Tensor) -> Tensor:
    """(B,) 1 where a row of targets (B, C) has a label, else 0, in the targets' dtype."""
    return targets.any(dim=1).to(targets.dtype)


def mean_of_rows(values: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of the mean of each row of values (B, K); a row of targets without a label counts as 0."""
    return (values.mean(dim=1) * labelled(targets)).mean()


def distance_to_sign(codes: Tensor) -> Tensor:
    """(B, K) distance ||z| − 1| of each entry to its own sign."""
    return (codes.abs() - 1).abs()

"""What the losses share."""

import math
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from relahash_nb.centroids import vote_centroids


class HashLoss(nn.Module):
    """A loss with its centroids as a buffer: `loss(codes, targets) -> scalar`.

    Codes are (B, K) float, before the sign. Targets are (B, C) multi-hot, of any integer, boolean or float dtype. A row
    without a label adds nothing: means over the batch are over all B rows, and means over pairs over those of labelled
    rows. A subclass gives `_loss`, which gets targets of the codes' dtype, or its own `forward`. Two class attributes:

    - `batch_norm`: whether the paper or its code has a batch norm after the hash layer. `build_model` follows it, so
      that the sign is taken of the same codes that the loss is given; the loss option `batch_norm` overrides it.
    - `SEARCH`: the range in which a tuner may search each option, `{option: (low, high, "log" or "linear")}`.

    Args:
        centroids: (C, K) ±1, the target code of each class; kept in the dtype that they have.
        positive: A subclass's options that are finite numbers above 0; kept as attributes.
        not_negative: Those from 0 up, likewise.

    Raises:
        ValueError: `centroids` is not a matrix, or an option is out of range. In a call: the shapes of codes and
            targets do not fit the centroids.

    Example:
        >>> import torch
        >>> HashLoss(torch.ones(10, 64)).check(torch.zeros(2, 64), torch.zeros(2, 10, dtype=torch.bool)).dtype
        torch.float32
    """

    batch_norm = True
    SEARCH: ClassVar[dict[str, tuple[float, float, str]]] = {}

    def __init__(self, centroids: Tensor, positive: dict[str, float] | None = None, **not_negative: float) -> None:
        super().__init__()
        for name, value in (positive := positive or {}).items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: {value} given; allowed: a finite number above 0")
        for name, value in not_negative.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: {value} given; allowed: a finite number from 0 up")
        vars(self).update(positive | not_negative)
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
        classes, bits = self.centroids.shape
        for name, tensor, columns in (("codes", codes, bits), ("targets", targets, classes)):
            expected = (*codes.shape[:1], columns)
            if tensor.shape != expected:
                raise ValueError(f"{name}: shape {tuple(tensor.shape)} given; the centroids ask for {expected}")
        return targets.to(codes.dtype)

    def own_centroids(self, targets: Tensor) -> Tensor:
        """(B, K) ±1 in the targets' dtype: the centroid of an item's class, or the majority of those of its classes."""
        return vote_centroids(targets, self.centroids.to(targets.dtype))


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of logits (B, C) of the cross-entropy to targets/Σtargets; without a label a row adds 0."""
    return F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True).clamp_min(1))


def labelled(targets: Tensor) -> Tensor:
    """(B,) 1 where a row of targets (B, C) has a label, else 0, in the targets' dtype."""
    return targets.any(dim=1).to(targets.dtype)


def mean_of_rows(values: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of the mean of each row of values (B, K); a row of targets without a label counts as 0."""
    return (values.mean(dim=1) * labelled(targets)).mean()


def quantization_term(codes: Tensor, targets: Tensor, power: int = 2) -> Tensor:
    """Mean of ||z| − 1|^power over codes (B, K); a row of targets without a label counts as 0."""
    return mean_of_rows((codes.abs() - 1).abs() ** power, targets)

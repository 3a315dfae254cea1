"""What the losses share: the class that holds the centroids, the checks of options, and the means over a batch."""

import math
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from relahash_nb.centroids import vote_centroids

# Of the losses on cosines, one and the same for all: their scale s and margin M.
COSINE_SEARCH = {"beta": (0.03, 32.0, "log"), "margin": (0.02, 12.0, "log")}


class HashLoss(nn.Module):
    """A module with the centroids as a buffer, from which each loss derives: `loss(codes, targets) -> scalar`.

    Codes are (B, K) float, before the sign. Targets are (B, C) multi-hot, of any integer, boolean or float dtype. A row
    of targets without a label adds nothing: a mean over the batch divides by all B rows, and a mean over pairs divides
    by the number of pairs of labelled rows.

    Attributes:
        centroids: H, (C, K) ±1, the target code of each class.
        batch_norm: Whether the loss's paper or code has a batch norm after the hash layer. `build_model` follows it;
            the loss option `batch_norm` overrides it.
        SEARCH: The range in which a tuner may search each option, `{option: (low, high, "log" or "linear")}`.
        BATCH_POWER: Of options whose meaning depends on the batch size B: the option is what is searched times B to
            this power.

    Args:
        centroids: H, (C, K) ±1. The buffer is a copy in the same dtype.

    Raises:
        ValueError: `centroids` is not a matrix.
    """

    batch_norm: ClassVar[bool] = True
    SEARCH: ClassVar[dict[str, tuple[float, float, str]]] = {}
    BATCH_POWER: ClassVar[dict[str, float]] = {}
    centroids: Tensor

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        if centroids.ndim != 2:
            raise ValueError(f"centroids: shape {tuple(centroids.shape)} given; allowed: (classes, bits)")
        self.register_buffer("centroids", centroids.detach().clone())

    def checked_targets(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Check the shapes of codes and targets against the centroids.

        Args:
            codes: (B, K) float.
            targets: (B, C) multi-hot, any integer, boolean or float dtype.

        Returns:
            The targets in the dtype of the codes.

        Raises:
            ValueError: A shape does not fit the centroids.
        """
        classes, bits = self.centroids.shape
        if codes.ndim != 2 or codes.shape[1] != bits:
            raise ValueError(f"codes: shape {tuple(codes.shape)} given; allowed: (batch, {bits})")
        if targets.shape != (len(codes), classes):
            raise ValueError(f"targets: shape {tuple(targets.shape)} given; allowed: ({len(codes)}, {classes})")
        return targets.to(codes.dtype)

    def target_codes(self, targets: Tensor) -> Tensor:
        """The code that each item should get: its class's centroid, or for several classes the majority of theirs.

        Args:
            targets: (B, C) multi-hot float.

        Returns:
            (B, K) ±1 in the dtype of the targets.
        """
        return vote_centroids(targets, self.centroids.to(targets.dtype))


def above_zero(name: str, value: float) -> float:
    """Return the value of an option; a ValueError if it is not a finite number above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: {value} given; allowed: a finite number above 0")
    return value


def not_negative(name: str, value: float) -> float:
    """Return the value of an option; a ValueError if it is not a finite number from 0 up."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}: {value} given; allowed: a finite number from 0 up")
    return value


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy between softmax(logits) and targets/Σtargets.

    Args:
        logits: (B, C) float.
        targets: (B, C) multi-hot in the same dtype. The labels of a row share its mass equally; a row without a label
            adds 0.
    """
    labels_per_row = targets.sum(dim=1, keepdim=True)  # (B, 1)
    shares = targets / labels_per_row.clamp_min(1)  # (B, C)
    return F.cross_entropy(logits, shares)


def labelled(targets: Tensor) -> Tensor:
    """(B,) 1 where a row of targets (B, C) has a label, else 0, in the dtype of the targets."""
    return targets.any(dim=1).to(targets.dtype)


def batch_mean(row_values: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of a value (B,) a row; a row of targets (B, C) without a label counts as 0."""
    return (row_values * labelled(targets)).mean()


def distance_to_signs(codes: Tensor, targets: Tensor, power: int = 2) -> Tensor:
    """Mean over codes (B, K) of ||z| − 1|^power; a row of targets (B, C) without a label counts as 0."""
    distances = (codes.abs() - 1).abs() ** power  # (B, K)
    return batch_mean(distances.mean(dim=1), targets)

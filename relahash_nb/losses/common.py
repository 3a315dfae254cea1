"""What several losses share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relahash_nb.centroids import vote_centroids


class HashLoss(nn.Module):
    """A loss with its centroids as a buffer: `loss(codes, targets) -> scalar`.

    Codes are (B, K) float, before the sign. Targets are (B, C) multi-hot, of any integer, boolean or float dtype. A row
    without a label adds nothing: means over the batch are over all B rows, and means over pairs over those of labelled
    rows. A subclass begins its `forward` with `targets = self.check(codes, targets)`, which raises a ValueError where
    shapes do not fit one another.

    Args:
        centroids: (C, K) ±1, the target code of each class; kept in the dtype that they have.

    Raises:
        ValueError: `centroids` is no matrix.

    Example:
        >>> HashLoss(torch.ones(10, 64)).check(torch.zeros(2, 64), torch.zeros(2, 10, dtype=torch.bool)).dtype
        torch.float32
    """

    batch_norm = True  # whether the model normalises the codes that this loss is given

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        if centroids.ndim != 2:
            raise ValueError(f"centroids: shape {tuple(centroids.shape)} given; expected (classes, bits)")
        self.register_buffer("centroids", centroids.detach().clone())

    def check(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Targets (B, C) in the codes' dtype.

        Raises:
            ValueError: The codes are no (B, K), or the targets no (B, C).
        """
        check_codes(codes, self.centroids)
        return multi_hot(targets, codes.new_empty(len(codes), len(self.centroids)))

    def own_centroids(self, targets: Tensor) -> Tensor:
        """(B, K) ±1 in the targets' dtype: the centroid of an item's class, or the majority of those of its classes."""
        return vote_centroids(targets, self.centroids.to(targets.dtype))


class HeadLoss(HashLoss):
    """A loss with a linear layer from the codes to the classes; it is trained and saved with the loss.

    Args:
        centroids: (C, K); only their shape counts.
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__(centroids)
        classes, bits = centroids.shape
        self.head = nn.Linear(bits, classes, dtype=centroids.dtype)


def check_positive(**options: float) -> None:
    """Raises a ValueError where an option of a loss is not above 0."""
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name}: {value} given; allowed: a number above 0")


def check_not_negative(**options: float) -> None:
    """Raises a ValueError where an option of a loss is below 0."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name}: {value} given; allowed: a number from 0 up")


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of the cross-entropy between softmax(logits) and targets/Σtargets.

    Args:
        logits: (B, C) float.
        targets: (B, C) float multi-hot; a row without a label counts as 0.

    Returns:
        Scalar.

    Example:
        >>> soft_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 1, 0, 0]])).exp()
        tensor(4.)
    """
    share = targets / targets.sum(dim=1, keepdim=True).clamp_min(1)  # (B, C)
    return -(share * logits.log_softmax(dim=1)).sum(dim=1).mean()


def labelled(targets: Tensor) -> Tensor:
    """(B,) 1 where a row of targets (B, C) has a label, else 0, in the targets' dtype."""
    return targets.any(dim=1).to(targets.dtype)


def mean_of_rows(values: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of the mean of each row of values (B, K); a row of targets without a label counts as 0.

    Example:
        >>> mean_of_rows(torch.tensor([[1.0, 3.0], [7.0, 9.0]]), torch.tensor([[1.0], [0.0]]))
        tensor(1.)
    """
    return (values.mean(dim=1) * labelled(targets)).mean()


def gap(codes: Tensor) -> Tensor:
    """(B, K) distance ||z| − 1| of each entry to its own sign."""
    return (codes.abs() - 1).abs()


def signs(codes: Tensor) -> Tensor:
    """(B, K) ±1; the sign of 0 is +1, as in `binarize`, without its look at the values."""
    return torch.where(codes >= 0, 1.0, -1.0).to(codes.dtype)


def check_codes(codes: Tensor, centroids: Tensor) -> None:
    """Raises a ValueError where codes are no (B, K) of the centroids' K."""
    if codes.ndim != 2 or codes.shape[1] != centroids.shape[1]:
        expected = f"(batch, {centroids.shape[1]}), as the centroids have"
        raise ValueError(f"codes: shape {tuple(codes.shape)} given; expected {expected}")


def multi_hot(targets: Tensor, like: Tensor) -> Tensor:
    """Targets (B, C) in the dtype of `like`, whose shape they must have."""
    if targets.shape != like.shape:
        raise ValueError(f"targets: shape {tuple(targets.shape)} given; expected {tuple(like.shape)}")
    return targets.to(like.dtype)

"""What several losses share."""

from __future__ import annotations

from torch import Tensor


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
    share = targets / targets.sum(dim=1, keepdim=True).clamp_min(1)  # (B, C)
    return -(share * logits.log_softmax(dim=1)).sum(dim=1).mean()


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

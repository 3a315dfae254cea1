"""OrthoHash: the cosine of each code to the class centroids, with a margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from relahash_nb.losses.common import HashLoss, check_not_negative, check_positive, soft_cross_entropy


class OrthoHashLoss(HashLoss):
    """Cross-entropy over the cosine between a code and the class centroids, with a margin off the own one.

    The mean over the batch of the cross-entropy between softmax(β (cos(z, c) − m Y)) and Y/ΣY. Only the angle of a code
    counts, each row for itself; RelaHash differs from it by the batch's mean and norm in place of the row's norm.

    "One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning Objective", Hoe et al., NeurIPS 2021,
    arXiv 2109.14449.

    Args:
        centroids: (C, K) ±1.
        beta: Scale of the cosines, above 0 (s in the paper); None: √K, as in the paper. Its code has 8 at any K.
        margin: m, taken off the cosine to each own centroid, from 0 up.

    Raises:
        ValueError: `centroids` is no matrix, or β or m is out of range.

    Example:
        Codes at their own of two orthogonal centroids: ln(1 + e^{√4 (0.2 − 1)}).

        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> round(OrthoHashLoss(centroids)(3 * centroids, torch.eye(2)).item(), 4)
        0.1839
    """

    def __init__(self, centroids: Tensor, beta: float | None = None, margin: float = 0.2) -> None:
        super().__init__(centroids)
        beta = centroids.shape[1] ** 0.5 if beta is None else beta
        check_positive(beta=beta)
        check_not_negative(margin=margin)
        self.beta, self.margin = beta, margin

    def similarity(self, codes: Tensor) -> Tensor:
        """Cosine (B, C) of codes (B, K) to each centroid; 0 for a code of zeros."""
        return functional.normalize(codes) @ functional.normalize(self.centroids.to(codes.dtype)).T

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        return soft_cross_entropy(self.beta * self.with_margin(self.similarity(codes), targets), targets)

    def with_margin(self, similarity: Tensor, targets: Tensor) -> Tensor:
        """(B, C) the similarity, lower by m where the class is an own one."""
        return similarity - self.margin * targets


class OrthoHashArcLoss(OrthoHashLoss):
    """OrthoHash with the margin on the angle: cos(θ + m) in place of cos θ − m at the own centroids.

    Past θ = π − m the cosine rises again, as in the published code; codes there are nearly opposite to their centroid.

    Args:
        centroids: (C, K) ±1.
        beta: Scale of the cosines, above 0; None: √K.
        margin: m in radians, from 0 up.

    Example:
        Codes at their own of two orthogonal centroids: ln(1 + e^{−√4 cos 0.2}).

        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> round(OrthoHashArcLoss(centroids)(3 * centroids, torch.eye(2)).item(), 3)
        0.132
    """

    def with_margin(self, similarity: Tensor, targets: Tensor) -> Tensor:
        """(B, C) the cosine, at an angle larger by m where the class is an own one."""
        # cos(θ + m) by the addition theorem; the sine is kept off 0, where the angle has no gradient.
        sine = (1 - similarity.square()).clamp_min(torch.finfo(similarity.dtype).eps).sqrt()  # (B, C)
        moved = similarity * math.cos(self.margin) - sine * math.sin(self.margin)
        return torch.where(targets > 0, moved, similarity)

"""RelaHash: cross-entropy over the relative position of codes in their batch."""

from typing import ClassVar

import torch
from torch import Tensor

from relahash_nb.losses.common import COSINE_SEARCH, HashLoss, above_zero, not_negative, soft_cross_entropy


class RelaHashLoss(HashLoss):
    """Cross-entropy over the relative similarity between a batch of codes and the class centroids.

    For codes Z (B, K), targets Y (B, C) and centroids H (C, K):

    - relative position Ẑ = (Z − μ) / ‖Z − μ‖_F, (B, K), where μ is the mean of all B·K entries;
    - relative similarity S = Ẑ Ĥᵀ, (B, C), where Ĥ = H/√K;
    - loss = mean over the batch of the cross-entropy between softmax(β (S − m Y)) and Y/ΣY.

    The norm is over the whole batch, so no row lowers its loss by growing alone: the rows share one unit of norm.
    Several labels share the target mass equally, and the margin m is subtracted at each of them.

    "RelaHash: Deep Hashing With Relative Position", IEEE Access 2023, doi 10.1109/ACCESS.2023.3259104.

    Args:
        centroids: H, (C, K) ±1, the target code of each class.
        beta: β, the scale of the similarities, above 0. The published settings are 8 (command line) and 50 (notebook).
        margin: m, subtracted from the similarity to the centroid of each of an item's classes, from 0 up.
        reference_batch_size: B₀, above 0. If it is given, Ẑ is multiplied by √(B/B₀). Each row then has the weight that
            the published loss gives it in a batch of B₀, and β and m mean the same at every batch size B.

    Raises:
        ValueError: An option is out of range, or a shape does not fit the centroids.

    Example:
        The loss to copy, for codes with one label each:

        >>> centroids, targets = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]]), torch.eye(2)
        >>> codes = torch.tensor([[0.5, 2, -1, -3], [-1, 1, 0.1, 0.2]])  # (B, K)
        >>> position = (codes - codes.mean()) / (codes - codes.mean()).norm()  # (B, K)
        >>> similarity = position @ centroids.T / codes.shape[1] ** 0.5  # (B, C)
        >>> logits = 8.0 * (similarity - 0.5 * targets)  # (B, C)
        >>> loss = torch.nn.functional.cross_entropy(logits, targets)
        >>> bool(torch.isclose(loss, RelaHashLoss(centroids, beta=8.0, margin=0.5)(codes, targets)))
        True
    """

    SEARCH: ClassVar = COSINE_SEARCH
    BATCH_POWER: ClassVar = {"beta": 0.5, "margin": -0.5}  # a row's part of Ẑ is about 1/√B long: β = s √B, m = M/√B

    def __init__(
        self,
        centroids: Tensor,
        beta: float = 8.0,
        margin: float = 0.5,
        reference_batch_size: int | None = None,
    ) -> None:
        super().__init__(centroids)
        self.beta = above_zero("beta", beta)
        self.margin = not_negative("margin", margin)
        if reference_batch_size is not None:
            above_zero("reference_batch_size", reference_batch_size)
        self.reference_batch_size = reference_batch_size

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)  # Y, (B, C) in the dtype of the codes
        similarity = self.similarity(codes)  # S, (B, C)
        logits = self.beta * (similarity - self.margin * targets)  # (B, C)
        return soft_cross_entropy(logits, targets)

    def similarity(self, codes: Tensor) -> Tensor:
        """Relative similarity S = Ẑ Ĥᵀ, (B, C), of codes (B, K) float to each centroid.

        The mean over a batch of each item's similarity to the centroid of its class is at most 1/√B.
        """
        position = self.relative_position(codes)  # Ẑ, (B, K)
        centroids = self.centroids.to(codes.dtype)  # H, (C, K)
        return position @ centroids.T / codes.shape[1] ** 0.5

    def relative_position(self, codes: Tensor) -> Tensor:
        """Ẑ = (Z − μ) / ‖Z − μ‖_F, (B, K), of codes Z (B, K) float; 0 for codes that are all equal."""
        mean = codes.mean()  # μ, a scalar
        norm = torch.linalg.matrix_norm(codes - mean)  # ‖Z − μ‖_F, a scalar
        if self.reference_batch_size is not None:
            norm = norm * (self.reference_batch_size / len(codes)) ** 0.5
        # Codes that are all equal, or so small that their squares are 0, have the norm 0.
        norm = norm.clamp_min(torch.finfo(codes.dtype).tiny)
        return (codes - mean) / norm

"""RelaHash: the relative position of codes in their batch."""

from __future__ import annotations

import torch
from torch import Tensor

from relahash_nb.losses.common import HashLoss, check_codes, multi_hot, soft_cross_entropy

MOMENTUM = 0.1  # of the running mean and norm; their first ten batches count alike


class RelaHashLoss(HashLoss):
    """Cross-entropy over the relative similarity between a batch of codes and the class centroids.

    Ẑ = (Z − μ) / ‖Z − μ‖_F, S = Ẑ Ĉᵀ with Ĉ = C/√K, and the loss is the mean over the batch of the cross-entropy
    between softmax(β (S − m Y)) and Y/ΣY. μ is the mean of all B·K entries and the norm is over the whole batch, so
    that no row can lower its loss by growing alone: the rows compete for one unit of norm. Several labels share the
    target mass equally, and the margin is taken off each of them.

    "RelaHash: Deep Hashing With Relative Position", IEEE Access 2023, doi 10.1109/ACCESS.2023.3259104.

    Args:
        centroids: (C, K) ±1, the target code of each class; kept as a buffer in the codes' precision.
        beta: Scale β of the similarities, above 0. The published settings are 8 (command line) and 50 (notebook).
        margin: m, taken off the similarity to each own centroid, from 0 up.
        reference_batch_size: B₀. Where it is given, Ẑ is multiplied by √(B/B₀): a batch of any size B then weighs
            each row as the published loss does in a batch of B₀, and β and m mean the same at every batch size.
        running: Whether μ and the norm are averaged over the training batches, and these averages are used in
            evaluation mode, so that a similarity does not depend on what else is in the batch.

    Raises:
        ValueError: `centroids` is no matrix, or β, m or B₀ is out of range.

    Example:
        The loss of perfect codes, every one at its own of two orthogonal centroids: ln(1 + e^{8 (0.5 − 1/√2)}).

        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> loss = RelaHashLoss(centroids, beta=8.0, margin=0.5)
        >>> round(loss(centroids, torch.eye(2)).item(), 4)
        0.1746
    """

    def __init__(
        self,
        centroids: Tensor,
        beta: float = 8.0,
        margin: float = 0.5,
        reference_batch_size: int | None = None,
        running: bool = False,
    ) -> None:
        super().__init__(centroids)
        if not beta > 0 or not margin >= 0:
            raise ValueError(f"beta {beta} and margin {margin} given; allowed: beta above 0, margin from 0 up")
        if reference_batch_size is not None and not reference_batch_size >= 1:
            raise ValueError(
                f"reference_batch_size: {reference_batch_size} given; allowed: a number from 1 up, or None"
            )
        self.beta, self.margin = beta, margin
        self.reference_batch_size, self.running = reference_batch_size, running
        if running:
            self.register_buffer("running_mean", centroids.new_zeros(()))
            self.register_buffer("running_norm", centroids.new_ones(()))
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def similarity(self, codes: Tensor) -> Tensor:
        """Relative similarity of each code to each centroid.

        Args:
            codes: (B, K) float, before the sign. Codes that are all equal have no relative position; they give 0.

        Returns:
            (B, C), S = Ẑ Ĉᵀ. The mean over a batch of the similarities to the own centroid is at most 1/√B.

        Example:
            >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
            >>> RelaHashLoss(centroids).similarity(centroids)
            tensor([[0.7071, 0.0000],
                    [0.0000, 0.7071]])
        """
        check_codes(codes, self.centroids)
        mean, norm = self.statistics(codes)
        # The smallest positive number rather than a visible epsilon: only all-equal codes meet it.
        position = (codes - mean) / norm.clamp_min(torch.finfo(codes.dtype).tiny)  # (B, K)
        return position @ self.centroids.to(codes.dtype).T / codes.shape[1] ** 0.5  # (B, C)

    def statistics(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """μ and the norm that codes (B, K) are divided by: of this batch, or, where asked for, the running ones."""
        if self.running and not self.training:
            return self.running_mean.to(codes.dtype), self.running_norm.to(codes.dtype)
        mean = codes.mean()
        norm = torch.linalg.matrix_norm(codes - mean)
        if self.reference_batch_size is not None:
            norm = norm * (self.reference_batch_size / len(codes)) ** 0.5
        if self.running:
            self.calls += 1
            share = (1 / self.calls).clamp_min(MOMENTUM).to(self.running_mean.dtype)
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), share)
            self.running_norm.lerp_(norm.detach().to(self.running_norm.dtype), share)
        return mean, norm

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            codes: (B, K) float, before the sign.
            targets: (B, C) multi-hot, of any integer, boolean or float dtype. A row without a label adds nothing to
                the sum; the mean is over all B rows.

        Returns:
            Scalar, from 0 up, in the codes' dtype.

        Raises:
            ValueError: The shapes do not fit one another.
        """
        similarity = self.similarity(codes)  # (B, C)
        targets = multi_hot(targets, similarity)  # (B, C)
        logits = self.beta * (similarity - self.margin * targets)  # (B, C)
        return soft_cross_entropy(logits, targets)

"""RelaHash: the relative position of codes in their batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relahash_nb.losses.common import check_codes, multi_hot, soft_cross_entropy


class RelaHashLoss(nn.Module):
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

    Raises:
        ValueError: `centroids` is no matrix, or β or m is out of range.

    Example:
        The loss of perfect codes, every one at its own of two orthogonal centroids: ln(1 + e^{8 (0.5 − 1/√2)}).

        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> loss = RelaHashLoss(centroids, beta=8.0, margin=0.5)
        >>> round(loss(centroids, torch.eye(2)).item(), 4)
        0.1746
    """

    def __init__(self, centroids: Tensor, beta: float = 8.0, margin: float = 0.5) -> None:
        super().__init__()
        if centroids.ndim != 2:
            raise ValueError(f"centroids: shape {tuple(centroids.shape)} given; expected (classes, bits)")
        if not beta > 0 or not margin >= 0:
            raise ValueError(f"beta {beta} and margin {margin} given; allowed: beta above 0, margin from 0 up")
        self.register_buffer("centroids", centroids.detach().clone())
        self.beta, self.margin = beta, margin

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
        centred = codes - codes.mean()  # (B, K)
        # The smallest positive number rather than a visible epsilon: only all-equal codes meet it.
        position = centred / torch.linalg.matrix_norm(centred).clamp_min(torch.finfo(codes.dtype).tiny)  # (B, K)
        bits = codes.shape[1]
        return position @ self.centroids.to(codes.dtype).T / bits**0.5  # (B, C)

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

"""RelaHash: the relative position of codes in their batch."""

from typing import ClassVar

import torch
from torch import Tensor

from relahash_nb.losses.common import HashLoss, soft_cross_entropy


class RelaHashLoss(HashLoss):
    """Cross-entropy over the relative similarity between a batch of codes and the class centroids.

    Ẑ = (Z − μ) / ‖Z − μ‖_F, S = Ẑ Ĉᵀ with Ĉ = C/√K, and the loss is the mean over the batch of the cross-entropy
    between softmax(β (S − m Y)) and Y/ΣY. μ is the mean of all B·K entries and the norm is over the whole batch, so
    no row can lower its loss by growing alone: the rows compete for one unit of norm. Several labels share the target
    mass equally, and the margin is taken off each of them.

    "RelaHash: Deep Hashing With Relative Position", IEEE Access 2023, doi 10.1109/ACCESS.2023.3259104.

    Args:
        centroids: (C, K) ±1, the target code of each class.
        beta: Scale β of the similarities, above 0. The published settings are 8 (command line) and 50 (notebook).
        margin: m, taken off the similarity to each own centroid, from 0 up.

    Example:
        The loss, to copy, for codes with one label each:

        >>> centroids, targets = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]]), torch.eye(2)
        >>> codes = torch.tensor([[0.5, 2, -1, -3], [-1, 1, 0.1, 0.2]])  # (B, K)
        >>> position = (codes - codes.mean()) / (codes - codes.mean()).norm()  # (B, K)
        >>> similarity = position @ centroids.T / codes.shape[1] ** 0.5  # (B, C)
        >>> logits = 8.0 * (similarity - 0.5 * targets)  # (B, C)
        >>> loss = torch.nn.functional.cross_entropy(logits, targets)
        >>> bool(torch.isclose(loss, RelaHashLoss(centroids, beta=8.0, margin=0.5)(codes, targets)))
        True
    """

    SEARCH: ClassVar = {"beta": (1.0, 100.0, "log"), "margin": (0.0, 1.0, "linear")}

    def __init__(self, centroids: Tensor, beta: float = 8.0, margin: float = 0.5) -> None:
        super().__init__(centroids, {"beta": beta}, margin=margin)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        logits = self.beta * (self.similarity(codes) - self.margin * targets)  # (B, C)
        return soft_cross_entropy(logits, targets)

    def similarity(self, codes: Tensor) -> Tensor:
        """Relative similarity (B, C), S = Ẑ Ĉᵀ, of codes (B, K) float to each centroid.

        Its mean over a batch, each to the own centroid, is at most 1/√B. Codes that are all equal give 0.

        Example:
            >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
            >>> RelaHashLoss(centroids).similarity(centroids)
            tensor([[0.7071, 0.0000],
                    [0.0000, 0.7071]])
        """
        # The smallest positive number rather than a visible epsilon: only codes that are all equal meet it.
        centred = codes - codes.mean()  # (B, K)
        norm = torch.linalg.matrix_norm(centred).clamp_min(torch.finfo(codes.dtype).tiny)
        position = centred / norm  # Ẑ, (B, K)
        return position @ self.centroids.to(codes.dtype).T / codes.shape[1] ** 0.5  # (B, C)

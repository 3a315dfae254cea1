"""RelaHash: the relative position of codes in their batch."""

from typing import ClassVar

import torch
from torch import Tensor

from relahash_nb.losses.common import HashLoss, soft_cross_entropy

MOMENTUM = 0.1  # of the running mean and norm; their first ten batches have equal weight


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
        reference_batch_size: B₀. Where it is given, Ẑ is multiplied by √(B/B₀): a batch of any size B then weighs
            each row as the published loss does in a batch of B₀, and β and m mean the same at every batch size.
        running: Whether μ and the norm are averaged over the training batches, and these averages are used in
            evaluation mode, so that a similarity does not depend on the other codes of the batch.

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

    def __init__(
        self,
        centroids: Tensor,
        beta: float = 8.0,
        margin: float = 0.5,
        reference_batch_size: int | None = None,
        running: bool = False,
    ) -> None:
        reference = {} if reference_batch_size is None else {"reference_batch_size": reference_batch_size}
        super().__init__(centroids, {"beta": beta, **reference}, margin=margin)
        self.reference_batch_size, self.running = reference_batch_size, running
        if running:
            self.register_buffer("running_mean", centroids.new_zeros(()))
            self.register_buffer("running_norm", centroids.new_ones(()))
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

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
        mean, norm = self.statistics(codes)
        position = (codes - mean) / norm  # Ẑ, (B, K)
        return position @ self.centroids.to(codes.dtype).T / codes.shape[1] ** 0.5  # (B, C)

    def statistics(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """μ and ‖Z − μ‖_F of codes (B, K), or their running averages where `running` asks for them."""
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
        # The smallest positive number rather than a visible epsilon: only codes that are all equal meet it.
        return mean, norm.clamp_min(torch.finfo(codes.dtype).tiny)

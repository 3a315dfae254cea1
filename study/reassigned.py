"""RelaHash, OrthoHash and DPN whose classes swap their centroids while they train.

After CRH (arXiv 2511.12162): at intervals each class takes the centroid that its codes lie nearest to, and no two
classes take the same one. The set of codes stays as it was drawn; which class has which code is learned.
"""

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from relahash_nb.losses import HashLoss, RelaHashLoss
from relahash_nb.losses.centers import DPNLoss, OrthoHashLoss

EVERY = 79  # batches between two assignments: an epoch of 5,000 images in batches of 64


class Reassigned(HashLoss):
    """Assigns the centroids anew after every `EVERY` batches of training; the loss itself comes from a second parent.

    Args:
        centroids: (C, K) ±1.
        options: those of the second parent.
    """

    sums: Tensor  # (C, K), the sum of each class's codes since the last assignment, each code of length 1
    centroids: Tensor

    def __init__(self, centroids: Tensor, **options: Any) -> None:
        super().__init__(centroids, **options)
        self.register_buffer("sums", torch.zeros_like(self.centroids))
        self.batches = 0

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of codes (B, K) and targets (B, C); in training, count the codes before."""
        if self.training:
            self.count(codes.detach(), targets)
        return super().forward(codes, targets)

    def count(self, codes: Tensor, targets: Tensor) -> None:
        """Add a batch to the sums; assign the centroids where it is time."""
        directions = F.normalize(codes).to(self.sums)  # (B, K)
        self.sums += targets.to(self.sums).T @ directions
        self.batches += 1
        if self.batches % EVERY == 0:
            self.reassign()

    def reassign(self) -> None:
        """Give each class a centroid so that Σ cos(centroid, mean code of the class) is the largest."""
        means = F.normalize(self.sums)  # (C, K)
        similarity = (means @ self.centroids.T).cpu().numpy()  # (C, C)
        _, assignment = linear_sum_assignment(similarity, maximize=True)
        self.centroids.copy_(self.centroids[assignment])
        self.sums.zero_()


class RelaHash(Reassigned, RelaHashLoss):
    """RelaHash with centroids that are swapped."""


class OrthoHash(Reassigned, OrthoHashLoss):
    """OrthoHash with centroids that are swapped."""


class DPN(Reassigned, DPNLoss):
    """DPN with centroids that are swapped."""

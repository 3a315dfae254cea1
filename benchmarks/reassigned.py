"""Losses of one's own: RelaHash, OrthoHash and DPN whose classes swap their centroids while training.

After CRH (arXiv 2511.12162): now and then each class takes the centroid that its codes lie nearest to, no two the same
one. The codes stay those that were drawn; which class has which is learned.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from relahash_nb.losses import LOSSES

EVERY = 79  # batches: an epoch of 5,000 images in batches of 64


class Reassigned:
    """Counts the codes of each class, and gives the centroids out anew after every `EVERY` batches of the training."""

    def __init__(self, centroids: Tensor, **options: float) -> None:
        super().__init__(centroids, **options)
        self.register_buffer("sums", torch.zeros_like(self.centroids))  # (C, K) of the codes, of size 1 each
        self.calls = 0

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) and targets (B, C), after a look at which class is where."""
        if self.training:
            directions = torch.nn.functional.normalize(codes.detach()).to(self.sums)  # (B, K)
            self.sums += targets.to(self.sums).T @ directions
            self.calls += 1
            if self.calls % EVERY == 0:
                self.reassign()
        return super().forward(codes, targets)

    def reassign(self) -> None:
        """Each class takes a centroid, so that Σ cos(centroid, mean code of the class) is the largest."""
        means = torch.nn.functional.normalize(self.sums)
        near = (means @ self.centroids.T).cpu().numpy()  # (C, C)
        self.centroids.copy_(self.centroids[linear_sum_assignment(near, maximize=True)[1]])
        self.sums.zero_()


class RelaHash(Reassigned, LOSSES["relahash"]):
    """RelaHash with centroids that are swapped."""


class OrthoHash(Reassigned, LOSSES["orthohash"]):
    """OrthoHash, likewise."""


class DPN(Reassigned, LOSSES["dpn"]):
    """DPN, likewise."""

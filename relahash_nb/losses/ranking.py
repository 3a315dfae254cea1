"""A loss that is the retrieval score itself, made smooth. Of the centroids (C, K) only the shape counts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from relahash_nb.losses.common import HashLoss
from relahash_nb.losses.pairwise import pairs


class AveragePrecisionLoss(HashLoss):
    """One minus the tie-aware average precision of a batch in which each item searches for the others.

    With u = tanh(s z), distances are (K − u·u')/2 and each falls into the two nearest of the K + 1 whole numbers, by a
    triangular kernel. Of the sums h(d) and h⁺(d) over all and over similar items, and H, H⁺ up to d:
    AP = 1/N⁺ · Σ_d h⁺(d) (H⁺(d−1) + H⁺(d) + 1) / (H(d−1) + H(d) + 1). A query without a similar item adds nothing.
    It takes B² (K + 1) numbers.

    "Hashing as Tie-Aware Learning to Rank", He et al., CVPR 2018, arXiv 1705.08562.

    Args:
        centroids: (C, K) ±1.
        scale: s, above 0.

    Example:
        >>> codes = 9 * torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])
        >>> targets = torch.tensor([[1, 0], [1, 0], [0, 1]])  # the two of a class find each other first
        >>> round(AveragePrecisionLoss(torch.ones(2, 4))(codes, targets).item(), 4)
        0.0
    """

    batch_norm = False
    SEARCH: ClassVar = {"scale": (0.1, 10.0, "log")}

    def __init__(self, centroids: Tensor, scale: float = 1.0) -> None:
        super().__init__(centroids, {"scale": scale})

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        bits = codes.shape[1]
        values = (self.scale * codes).tanh()  # (B, K)
        distances = (bits - values @ values.T) / 2  # (B, B)
        similar, others = (kind.fill_diagonal_(False).to(codes.dtype) for kind in pairs(targets, targets))
        places = torch.arange(bits + 1, device=codes.device)  # (K + 1,)
        share = (1 - (distances[..., None] - places).abs()).relu()  # (B, B, K + 1)
        found, relevant = ((share * kind[..., None]).sum(dim=1) for kind in (similar + others, similar))  # (B, K + 1)
        total, good = found.cumsum(dim=1), relevant.cumsum(dim=1)
        precision = (2 * good - relevant + 1) / (2 * total - found + 1)  # (B, K + 1)
        count = similar.sum(dim=1)  # (B,)
        average = (relevant * precision).sum(dim=1) / count.clamp_min(1)
        return ((1 - average) * (count > 0)).sum() / (count > 0).sum().clamp_min(1)

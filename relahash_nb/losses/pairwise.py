"""Losses over pairs, triplets and rankings of items; two are similar where they share a label.

Of the centroids (C, K) only the shape counts.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from relahash_nb.losses.common import HashLoss, labelled, quantization_term


class HashNetLoss(HashLoss):
    """Class-balanced likelihood of pairs, on codes that are pressed towards the sign as training goes on.

    With u = tanh(s z) and θ = α u·u': the mean over the similar pairs of a batch of ln(1 + e^θ) − θ, plus the mean over
    the others of ln(1 + e^θ); each kind weighs the same, however few pairs it has. s = √(1 + γ t), where t counts the
    training batches in steps of `interval`. Of two different items each, both labelled.

    "HashNet: Deep Learning to Hash by Continuation", Cao et al., ICCV 2017, arXiv 1702.00758.

    Args:
        alpha: α, above 0; None: 10/K, as in the authors' code.
        growth: γ, from 0 up.
        interval: Batches between two values of s, from 1 up.

    Example:
        >>> round(HashNetLoss(torch.ones(1, 4))(torch.zeros(2, 4), torch.ones(2, 1)).item(), 4)  # ln 2
        0.6931
    """

    batch_norm = False
    SEARCH: ClassVar = {"alpha": (0.01, 1.0, "log"), "growth": (1e-4, 0.1, "log")}

    def __init__(
        self, centroids: Tensor, alpha: float | None = None, growth: float = 0.005, interval: int = 200
    ) -> None:
        alpha = 10 / centroids.shape[1] if alpha is None else alpha
        super().__init__(centroids, {"alpha": alpha, "interval": interval}, growth=growth)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))  # in training mode

    @property
    def scale(self) -> Tensor:
        """s, a scalar."""
        return (1 + self.growth * (self.calls // self.interval * self.interval)).sqrt()

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        values = (self.scale * codes).tanh()  # (B, K)
        self.calls += self.training
        theta = self.alpha * values @ values.T  # (B, B)
        similar, others = pairs(targets, targets)
        return mean_where(F.softplus(-theta), similar.fill_diagonal_(False)) + mean_where(F.softplus(theta), others)


class DPSHLoss(HashLoss):
    """Likelihood of pairs of a batch's codes with many recent ones, and a term for quantization.

    With θ = ½ z·z': the mean over all pairs of ln(1 + e^θ) − S θ, plus η · mean (|z| − 1)². The published code keeps
    the codes of all training images; here a ring keeps the most recent ones, those of the batch among them. Codes in it
    are as they were when they came, and have no gradient. In evaluation mode nothing is put into it.

    "Feature Learning based Deep Supervised Hashing with Pairwise Labels", Li et al., IJCAI 2016, arXiv 1511.03855.

    Args:
        quantization: η, from 0 up.
        memory: Codes in the ring, from 1 up.

    Example:
        >>> round(DPSHLoss(torch.ones(1, 4))(torch.ones(1, 4), torch.ones(1, 1)).item(), 4)  # ln(1 + e²) − 2
        0.1269
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-3, 10.0, "log")}

    def __init__(self, centroids: Tensor, quantization: float = 0.1, memory: int = 1024) -> None:
        super().__init__(centroids, {"memory": memory}, quantization=quantization)
        classes, bits = centroids.shape
        self.register_buffer("recent_codes", centroids.new_zeros(memory, bits))
        self.register_buffer("recent_targets", torch.zeros(memory, classes, dtype=torch.bool))  # no label: still empty

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        if self.training:
            size = len(self.recent_codes)
            fresh = codes.detach().to(self.recent_codes.dtype)
            self.recent_codes = torch.cat([fresh, self.recent_codes])[:size]
            self.recent_targets = torch.cat([targets > 0, self.recent_targets])[:size]
        theta = codes @ self.recent_codes.to(codes.dtype).T / 2  # (B, M)
        similar, others = pairs(targets, self.recent_targets.to(codes.dtype))
        likelihood = F.softplus(theta) - similar * theta  # (B, M)
        return mean_where(likelihood, similar | others) + self.quantization * quantization_term(codes, targets)


class DTSHLoss(HashLoss):
    """Likelihood of triplets: an item's product with a similar one exceeds that with another by a margin.

    With θ = ½ z·z': the mean over all triplets of a batch (query, similar, other) of
    ln(1 + e^{−(θ_similar − θ_other − m)}), plus λ · mean (|z| − 1)². It takes a number for each similar pair and item,
    B³ at most: 1 MB at a batch of 64, 67 MB at 256.

    "Deep Supervised Hashing with Triplet Labels", Wang et al., ACCV 2016, arXiv 1612.03900.

    Args:
        margin: m, from 0 up. DeepHash-pytorch and FIRe have 5 for products that are not halved, which is 2.5 here.
        quantization: λ, from 0 up.

    Example:
        >>> codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1]])  # θ is 2 or −2: ln(1 + e^{5 − 4})
        >>> round(DTSHLoss(codes[:2], margin=5.0)(codes, torch.tensor([[1, 0], [1, 0], [0, 1]])).item(), 4)
        1.3133
    """

    batch_norm = False
    SEARCH: ClassVar = {"margin": (0.5, 16.0, "log"), "quantization": (1e-3, 10.0, "log")}

    def __init__(self, centroids: Tensor, margin: float = 2.5, quantization: float = 1.0) -> None:
        super().__init__(centroids, margin=margin, quantization=quantization)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        theta = codes @ codes.T / 2  # (B, B)
        similar, others = pairs(targets, targets)
        similar.fill_diagonal_(False)
        query, near = similar.nonzero(as_tuple=True)  # (P,), the pairs alone: with many classes they are few
        missing = self.margin - theta[query, near, None] + theta[query]  # (P, B)
        triplets = mean_where(F.softplus(missing), others[query])
        return triplets + self.quantization * quantization_term(codes, targets)


class DCHLoss(HashLoss):
    """Cauchy likelihood of pairs, which is steep at small distances: made for a search within a Hamming radius.

    With d = K/2 · (1 − cos): the mean over the similar pairs of a batch of ln(d/γ) + ln(1 + γ/d), plus the mean over
    the others of ln(1 + γ/d), plus λ · mean ln(1 + d(|z|, 1)/γ). As in DeepHash-pytorch, an item and itself are a pair,
    and the cosine is at most .99.

    "Deep Cauchy Hashing for Hamming Space Retrieval", Cao et al., CVPR 2018.

    Args:
        gamma: γ, in bits, above 0.
        quantization: λ, from 0 up.

    Example:
        >>> codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1]])  # two similar codes, 1 bit apart
        >>> loss = DCHLoss(torch.ones(1, 4), gamma=1.0, quantization=0.0)
        >>> round(loss(codes, torch.ones(2, 1)).item(), 4)  # ½ (ln 2 + ln 1.02)
        0.3565
    """

    batch_norm = False
    SEARCH: ClassVar = {"gamma": (1.0, 50.0, "log"), "quantization": (1e-3, 1.0, "log")}

    def __init__(self, centroids: Tensor, gamma: float = 20.0, quantization: float = 0.1) -> None:
        super().__init__(centroids, {"gamma": gamma}, quantization=quantization)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        half, rows = codes.shape[1] / 2, F.normalize(codes)  # (B, K)
        distances = half * (1 - (rows @ rows.T).clamp_max(0.99))  # (B, B)
        similar, others = pairs(targets, targets)
        near = (distances / self.gamma).log() + (1 + self.gamma / distances).log()
        far = (1 + self.gamma / distances).log()
        to_binary = half * (1 - F.normalize(codes.abs()).sum(dim=1).div(codes.shape[1] ** 0.5).clamp_max(0.99))  # (B,)
        quantization = ((1 + to_binary / self.gamma).log() * labelled(targets)).mean()
        return mean_where(near, similar) + mean_where(far, others) + self.quantization * quantization


class AveragePrecisionLoss(HashLoss):
    """One minus the tie-aware average precision of a batch in which each item searches for the others.

    With u = tanh(s z), distances are (K − u·u')/2 and each falls into the two nearest of the K + 1 whole numbers, by a
    triangular kernel. Of the sums h(d) and h⁺(d) over all and over similar items, and H, H⁺ up to d:
    AP = 1/N⁺ · Σ_d h⁺(d) (H⁺(d−1) + H⁺(d) + 1) / (H(d−1) + H(d) + 1). A query without a similar item adds nothing.
    It takes B² (K + 1) numbers.

    "Hashing as Tie-Aware Learning to Rank", He et al., CVPR 2018, arXiv 1705.08562.

    Args:
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


def pairs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of labelled items share a label and which do not, (A, B) bool, of targets (A, C) and (B, C)."""
    similar = first @ second.T > 0
    return similar, (labelled(first)[:, None] * labelled(second) > 0) & ~similar


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values; 0 where none is."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)

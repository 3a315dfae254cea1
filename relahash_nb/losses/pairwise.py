"""Losses over pairs, triplets and rankings of items; two items are similar if they share a label.

Of the centroids (C, K) only the shape counts.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from relahash_nb.losses.common import HashLoss, above_zero, batch_mean, distance_to_signs, labelled, not_negative

MAX_COSINE = 0.99  # of DCH, as in DeepHash-pytorch: no distance is 0


class HashNetLoss(HashLoss):
    """Class-balanced likelihood of pairs, on codes that are pressed towards the sign as training goes on.

    With u = tanh(s z) and θ = α u·u': the mean over the similar pairs of a batch of ln(1 + e^θ) − θ, plus the mean over
    the dissimilar pairs of ln(1 + e^θ); each kind weighs the same, however few pairs it has. A pair is two different
    items, both labelled. s = √(1 + γ t), where t is the number of training batches so far, rounded down to a multiple
    of `interval`.

    "HashNet: Deep Learning to Hash by Continuation", Cao et al., ICCV 2017, arXiv 1702.00758.

    Args:
        centroids: (C, K), of which the shape counts.
        alpha: α, above 0. None: 10/K, as in the authors' code.
        growth: γ, from 0 up.
        interval: Batches between two values of s, from 1 up.
    """

    batch_norm = False
    SEARCH: ClassVar = {"alpha": (0.01, 1.0, "log"), "growth": (1e-4, 0.1, "log")}
    calls: Tensor  # a scalar, the number of batches in training mode

    def __init__(
        self,
        centroids: Tensor,
        alpha: float | None = None,
        growth: float = 0.005,
        interval: int = 200,
    ) -> None:
        super().__init__(centroids)
        if alpha is None:
            alpha = 10 / centroids.shape[1]
        self.alpha = above_zero("alpha", alpha)
        self.growth = not_negative("growth", growth)
        self.interval = above_zero("interval", interval)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        values = (self.scale * codes).tanh()  # u, (B, K)
        if self.training:
            self.calls += 1
        theta = self.alpha * values @ values.T  # (B, B)
        similar, dissimilar = pairs(targets, targets)
        similar.fill_diagonal_(False)

        similar_loss = mean_where(F.softplus(-theta), similar)
        dissimilar_loss = mean_where(F.softplus(theta), dissimilar)
        return similar_loss + dissimilar_loss

    @property
    def scale(self) -> Tensor:
        """s, a scalar."""
        batches = self.calls // self.interval * self.interval
        return (1 + self.growth * batches).sqrt()


class DPSHLoss(HashLoss):
    """Likelihood of pairs of a batch's codes with many recent ones, and a term for quantization.

    With θ = ½ z·z': the mean over all pairs of ln(1 + e^θ) − S θ, where S is 1 for a similar pair and else 0, plus
    η · mean (|z| − 1)². The published code keeps the codes of all training images; here a ring keeps the most recent
    ones, those of the batch among them. Codes in the ring stay as they were when they were added, and have no gradient.
    In evaluation mode nothing is added.

    "Feature Learning based Deep Supervised Hashing with Pairwise Labels", Li et al., IJCAI 2016, arXiv 1511.03855.

    Args:
        centroids: (C, K), of which the shape counts.
        quantization: η, from 0 up.
        memory: M, the number of codes in the ring, from 1 up.
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-4, 10.0, "log")}
    recent_codes: Tensor  # (M, K), the newest first
    recent_targets: Tensor  # (M, C) bool; a row without a label is still empty

    def __init__(self, centroids: Tensor, quantization: float = 0.1, memory: int = 1024) -> None:
        super().__init__(centroids)
        self.quantization = not_negative("quantization", quantization)
        self.memory = above_zero("memory", memory)
        classes, bits = centroids.shape
        self.register_buffer("recent_codes", centroids.new_zeros(memory, bits))
        self.register_buffer("recent_targets", torch.zeros(memory, classes, dtype=torch.bool))

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        if self.training:
            self.remember(codes.detach(), targets)
        theta = codes @ self.recent_codes.to(codes.dtype).T / 2  # (B, M)
        similar, dissimilar = pairs(targets, self.recent_targets.to(codes.dtype))
        unlikelihood = F.softplus(theta) - similar * theta  # (B, M)

        pair_loss = mean_where(unlikelihood, similar | dissimilar)
        quantization_loss = distance_to_signs(codes, targets)
        return pair_loss + self.quantization * quantization_loss

    def remember(self, codes: Tensor, targets: Tensor) -> None:
        """Put codes (B, K) and targets (B, C) into the ring, in place of the oldest."""
        memory = len(self.recent_codes)
        new_codes = codes.to(self.recent_codes.dtype)
        self.recent_codes = torch.cat([new_codes, self.recent_codes])[:memory]
        self.recent_targets = torch.cat([targets > 0, self.recent_targets])[:memory]


class DTSHLoss(HashLoss):
    """Likelihood of triplets: an item's product with a similar one exceeds that with a dissimilar one by a margin.

    With θ = ½ z·z': the mean over all triplets of a batch (query, similar, dissimilar) of
    ln(1 + e^{−(θ_similar − θ_dissimilar − m)}), plus λ · mean (|z| − 1)². The loss holds a number for each similar pair
    and item, B³ at most: 1 MB at a batch of 64, 67 MB at 256.

    "Deep Supervised Hashing with Triplet Labels", Wang et al., ACCV 2016, arXiv 1612.03900.

    Args:
        centroids: (C, K), of which the shape counts.
        margin: m, from 0 up. DeepHash-pytorch and FIRe have 5 for products that are not halved, which is 2.5 here.
        quantization: λ, from 0 up.

    Example:
        >>> codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1]])  # θ is 2 or −2: ln(1 + e^{5 − 4})
        >>> round(DTSHLoss(codes[:2], margin=5.0)(codes, torch.tensor([[1, 0], [1, 0], [0, 1]])).item(), 4)
        1.3133
    """

    batch_norm = False
    SEARCH: ClassVar = {"margin": (0.5, 16.0, "log"), "quantization": (1e-4, 10.0, "log")}

    def __init__(self, centroids: Tensor, margin: float = 2.5, quantization: float = 1.0) -> None:
        super().__init__(centroids)
        self.margin = not_negative("margin", margin)
        self.quantization = not_negative("quantization", quantization)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        theta = codes @ codes.T / 2  # (B, B)
        similar, dissimilar = pairs(targets, targets)
        similar.fill_diagonal_(False)
        query, positive = similar.nonzero(as_tuple=True)  # (P,) each: of all pairs the similar ones alone, often few
        theta_similar = theta[query, positive, None]  # (P, 1)
        theta_dissimilar = theta[query]  # (P, B)
        missing = self.margin - theta_similar + theta_dissimilar  # (P, B)

        triplet_loss = mean_where(F.softplus(missing), dissimilar[query])
        quantization_loss = distance_to_signs(codes, targets)
        return triplet_loss + self.quantization * quantization_loss


class DCHLoss(HashLoss):
    """Cauchy likelihood of pairs, which is steep at small distances: made for a search within a Hamming radius.

    With d = K/2 · (1 − cos): the mean over the similar pairs of a batch of ln(d/γ) + ln(1 + γ/d), plus the mean over
    the dissimilar pairs of ln(1 + γ/d), plus λ · mean ln(1 + d(|z|, 1)/γ). As in DeepHash-pytorch, an item and itself
    are a pair, and the cosine is at most 0.99.

    "Deep Cauchy Hashing for Hamming Space Retrieval", Cao et al., CVPR 2018.

    Args:
        centroids: (C, K), of which the shape counts.
        gamma: γ, in bits, above 0.
        quantization: λ, from 0 up.

    Example:
        >>> codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1]])  # two similar codes, 1 bit apart
        >>> loss = DCHLoss(torch.ones(1, 4), gamma=1.0, quantization=0.0)
        >>> round(loss(codes, torch.ones(2, 1)).item(), 4)  # ½ (ln 2 + ln 1.02)
        0.3565
    """

    batch_norm = False
    SEARCH: ClassVar = {"gamma": (1.0, 200.0, "log"), "quantization": (1e-3, 1.0, "log")}

    def __init__(self, centroids: Tensor, gamma: float = 20.0, quantization: float = 0.1) -> None:
        super().__init__(centroids)
        self.gamma = above_zero("gamma", gamma)
        self.quantization = not_negative("quantization", quantization)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        bits = codes.shape[1]
        directions = F.normalize(codes)  # (B, K)
        cosine = (directions @ directions.T).clamp_max(MAX_COSINE)  # (B, B)
        distances = bits / 2 * (1 - cosine)  # d, (B, B)
        similar, dissimilar = pairs(targets, targets)
        cost_of_dissimilar = (1 + self.gamma / distances).log()  # (B, B)
        cost_of_similar = (distances / self.gamma).log() + cost_of_dissimilar  # (B, B)
        cosine_to_signs = F.normalize(codes.abs()).sum(dim=1).div(bits**0.5).clamp_max(MAX_COSINE)  # (B,)
        distances_to_signs = bits / 2 * (1 - cosine_to_signs)  # d(|z|, 1), (B,)
        row_costs = (1 + distances_to_signs / self.gamma).log()  # (B,)

        similar_loss = mean_where(cost_of_similar, similar)
        dissimilar_loss = mean_where(cost_of_dissimilar, dissimilar)
        quantization_loss = batch_mean(row_costs, targets)
        return similar_loss + dissimilar_loss + self.quantization * quantization_loss


class AveragePrecisionLoss(HashLoss):
    """One minus the tie-aware average precision of a batch in which each item searches for the others.

    With u = tanh(s z), distances are (K − u·u')/2, and a triangular kernel shares each distance between the two nearest
    of the K + 1 whole numbers. n(d) and n⁺(d) count the items and the similar items at distance d, N(d) and N⁺(d) those
    up to d, and N⁺(K) is the number of similar items:
    AP = 1/N⁺(K) · Σ_d n⁺(d) (N⁺(d−1) + N⁺(d) + 1) / (N(d−1) + N(d) + 1). A query without a similar item adds nothing.
    The loss holds B² (K + 1) numbers.

    "Hashing as Tie-Aware Learning to Rank", He et al., CVPR 2018, arXiv 1705.08562.

    Args:
        centroids: (C, K), of which the shape counts.
        scale: s, above 0.

    Example:
        >>> codes = 9 * torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])
        >>> targets = torch.tensor([[1, 0], [1, 0], [0, 1]])  # the two of a class find each other first
        >>> round(AveragePrecisionLoss(torch.ones(2, 4))(codes, targets).item(), 4)
        0.0
    """

    batch_norm = False
    SEARCH: ClassVar = {"scale": (0.03, 10.0, "log")}

    def __init__(self, centroids: Tensor, scale: float = 1.0) -> None:
        super().__init__(centroids)
        self.scale = above_zero("scale", scale)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        bits = codes.shape[1]
        values = (self.scale * codes).tanh()  # u, (B, K)
        distances = (bits - values @ values.T) / 2  # (B, B)
        whole_numbers = torch.arange(bits + 1, device=codes.device)  # (K + 1,)
        shares = (1 - (distances[..., None] - whole_numbers).abs()).relu()  # (B, B, K + 1)

        similar, dissimilar = pairs(targets, targets)
        similar.fill_diagonal_(False)
        others = similar | dissimilar  # (B, B), all labelled items but the query
        items = (shares * others[..., None]).sum(dim=1)  # n, (B, K + 1)
        similar_items = (shares * similar[..., None]).sum(dim=1)  # n⁺, (B, K + 1)
        items_so_far = items.cumsum(dim=1)  # N
        similar_so_far = similar_items.cumsum(dim=1)  # N⁺
        precision = (2 * similar_so_far - similar_items + 1) / (2 * items_so_far - items + 1)  # (B, K + 1)

        similar_count = similar.to(codes.dtype).sum(dim=1)  # (B,)
        average_precision = (similar_items * precision).sum(dim=1) / similar_count.clamp_min(1)  # (B,)
        return mean_where(1 - average_precision, similar_count > 0)


def pairs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of labelled items are similar and which are dissimilar.

    Args:
        first: Targets (A, C), multi-hot float.
        second: Targets (B, C), likewise.

    Returns:
        Two (A, B) bool. A pair with an item without a label is in neither.
    """
    similar = first @ second.T > 0
    both_labelled = labelled(first)[:, None] * labelled(second) > 0
    return similar, both_labelled & ~similar


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the values where `chosen` (bool, of the same shape) is true; 0 where nothing is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)

"""Losses that draw each item to the centroid of its class: OrthoHash by angle, CSQ and DPN bit by bit."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from relahash_nb.losses.common import (
    COSINE_SEARCH,
    HashLoss,
    above_zero,
    batch_mean,
    distance_to_signs,
    not_negative,
    soft_cross_entropy,
)


class OrthoHashLoss(HashLoss):
    """Cross-entropy over the cosine between a code and the class centroids, with a margin at the item's classes.

    The mean over the batch of the cross-entropy between softmax(β (cos(z, h) − m Y)) and Y/ΣY. RelaHash has the mean
    and the norm of the batch in place of the norm of the row.

    "One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning Objective", Hoe et al., NeurIPS 2021,
    arXiv 2109.14449.

    Args:
        centroids: H, (C, K) ±1, the target code of each class.
        beta: β, the scale of the cosines, above 0 (s in the paper). None: √K, as in the paper; its code has 8 at any K.
        margin: m, subtracted from the cosine to the centroid of each of an item's classes, from 0 up. The authors'
            command for CIFAR-10 has 0.3.

    Example:
        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> round(OrthoHashLoss(centroids)(3 * centroids, torch.eye(2)).item(), 4)  # ln(1 + e^{√4 (0.2 − 1)})
        0.1839
    """

    SEARCH: ClassVar = COSINE_SEARCH

    def __init__(self, centroids: Tensor, beta: float | None = None, margin: float = 0.2) -> None:
        super().__init__(centroids)
        if beta is None:
            beta = centroids.shape[1] ** 0.5
        self.beta = above_zero("beta", beta)
        self.margin = not_negative("margin", margin)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        logits = self.beta * (self.cosine(codes) - self.margin * targets)  # (B, C)
        return soft_cross_entropy(logits, targets)

    def cosine(self, codes: Tensor) -> Tensor:
        """Cosine (B, C) between codes (B, K) float and the centroids; 0 for a code of zeros."""
        code_directions = F.normalize(codes)  # (B, K)
        centroid_directions = F.normalize(self.centroids.to(codes.dtype))  # (C, K)
        return code_directions @ centroid_directions.T


class OrthoHashArcLoss(OrthoHashLoss):
    """OrthoHash with the margin m on the angle, in radians: cos(θ + m) in place of cos θ − m at the item's classes.

    Past θ = π − m the cosine rises again, as in the published code; codes there are nearly opposite to their centroid.
    """

    SEARCH: ClassVar = COSINE_SEARCH | {"margin": (0.0, math.pi / 2, "linear")}  # an angle

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        cosine = self.cosine(codes)  # cos θ, (B, C)
        # The sine stays above 0, where the angle would have no gradient.
        sine = (1 - cosine.square()).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()  # sin θ, (B, C)
        with_margin = cosine * math.cos(self.margin) - sine * math.sin(self.margin)  # cos(θ + m), (B, C)
        logits = self.beta * torch.where(targets > 0, with_margin, cosine)  # (B, C)
        return soft_cross_entropy(logits, targets)


class CSQLoss(HashLoss):
    """Binary cross-entropy between each bit and that of the item's centroid, and a term for quantization.

    With u = tanh z: the mean over batch and bits of the cross-entropy between ½(u + 1) and ½(h + 1), plus
    λ · mean (|u| − 1)². For several labels h is the majority of their centroids, bit by bit; one fixed vector decides
    ties. The authors' code adds 0.2 times a loss over pairs, which the paper does not have.

    "Central Similarity Quantization for Efficient Image and Video Retrieval", Yuan et al., CVPR 2020, arXiv 1908.00347.

    Args:
        centroids: H, (C, K) ±1, the target code of each class.
        quantization: λ, from 0 up; 0.05 in the authors' code. Other implementations have 1e-3 or 1e-4.

    Example:
        >>> round(CSQLoss(torch.ones(1, 4))(torch.zeros(1, 4), torch.ones(1, 1)).item(), 4)  # ln 2, and λ
        0.7431
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-4, 1.0, "log")}

    def __init__(self, centroids: Tensor, quantization: float = 0.05) -> None:
        super().__init__(centroids)
        self.quantization = not_negative("quantization", quantization)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        # ½(tanh z + 1) is the sigmoid of 2z, and the cross-entropy of a sigmoid is a softplus: no logarithm of 0.
        cross_entropy = F.softplus(-2 * codes * self.target_codes(targets))  # (B, K)
        centroid_loss = batch_mean(cross_entropy.mean(dim=1), targets)
        quantization_loss = distance_to_signs(codes.tanh(), targets)
        return centroid_loss + self.quantization * quantization_loss


class DPNLoss(HashLoss):
    """Deep polarized network: each bit is pushed past a margin on the side of the item's centroid.

    The mean over the batch of Σ_k max(0, m − z_k h_k). For several labels h is the majority of their centroids, as for
    CSQ. At m = 1 the loss is an upper bound of the Hamming distance to h.

    "Deep Polarized Network for Supervised Learning of Accurate Binary Hashing Codes", Fan et al., IJCAI 2020,
    doi 10.24963/ijcai.2020/115.

    Args:
        centroids: H, (C, K) ±1, the target code of each class.
        margin: m, from 0 up.

    Example:
        >>> # Bits of 0.5 on the right side, the last on the wrong one: 3 · 0.5 + 1.5.
        >>> DPNLoss(torch.tensor([[1.0, 1, 1, -1]]))(torch.full((1, 4), 0.5), torch.ones(1, 1))
        tensor(3.)
    """

    batch_norm = False
    SEARCH: ClassVar = {"margin": (0.1, 4.0, "log")}

    def __init__(self, centroids: Tensor, margin: float = 1.0) -> None:
        super().__init__(centroids)
        self.margin = not_negative("margin", margin)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        missing = (self.margin - codes * self.target_codes(targets)).relu()  # (B, K), how far each bit is from m
        return batch_mean(missing.sum(dim=1), targets)

"""Losses that draw each item to the centroid of its class: OrthoHash by angle, CSQ and DPN bit by bit."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from relahash_nb.losses.common import HashLoss, labelled, mean_of_rows, quantization_term, soft_cross_entropy


class OrthoHashLoss(HashLoss):
    """Cross-entropy over the cosine between a code and the class centroids, with a margin off the own one.

    The mean over the batch of the cross-entropy between softmax(β (cos(z, c) − m Y)) and Y/ΣY. RelaHash differs from it
    by the batch's mean and norm in place of the row's norm.

    "One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning Objective", Hoe et al., NeurIPS 2021,
    arXiv 2109.14449.

    Args:
        beta: Scale of the cosines, above 0 (s in the paper); None: √K, as in the paper. Its code has 8 at any K.
        margin: m, taken off the cosine to each own centroid, from 0 up. The code's CIFAR-10 command has .3.

    Example:
        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> round(OrthoHashLoss(centroids)(3 * centroids, torch.eye(2)).item(), 4)  # ln(1 + e^{√4 (0.2 − 1)})
        0.1839
    """

    SEARCH: ClassVar = {"beta": (0.5, 32.0, "log"), "margin": (0.0, 1.0, "linear")}

    def __init__(self, centroids: Tensor, beta: float | None = None, margin: float = 0.2) -> None:
        super().__init__(centroids, {"beta": centroids.shape[1] ** 0.5 if beta is None else beta}, margin=margin)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        similarity = F.normalize(codes) @ F.normalize(self.centroids.to(codes.dtype)).T  # (B, C), 0 for a code of zeros
        return soft_cross_entropy(self.beta * self.with_margin(similarity, targets), targets)

    def with_margin(self, similarity: Tensor, targets: Tensor) -> Tensor:
        """(B, C) the similarity, lower by m where the class is an own one."""
        return similarity - self.margin * targets


class OrthoHashArcLoss(OrthoHashLoss):
    """OrthoHash with the margin m on the angle, in radians: cos(θ + m) in place of cos θ − m at the own centroids.

    Past θ = π − m the cosine rises again, as in the published code; codes there are nearly opposite to their centroid.

    Example:
        >>> centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1]])
        >>> round(OrthoHashArcLoss(centroids)(3 * centroids, torch.eye(2)).item(), 3)  # ln(1 + e^{−√4 cos 0.2})
        0.132
    """

    def with_margin(self, similarity: Tensor, targets: Tensor) -> Tensor:
        """(B, C) the cosine, at an angle larger by m where the class is an own one."""
        # cos(θ + m) by the addition theorem; the sine is kept off 0, where the angle has no gradient.
        sine = (1 - similarity.square()).clamp_min(torch.finfo(similarity.dtype).eps).sqrt()  # (B, C)
        moved = similarity * math.cos(self.margin) - sine * math.sin(self.margin)
        return torch.where(targets > 0, moved, similarity)


class CSQLoss(HashLoss):
    """Binary cross-entropy between each bit and that of the item's own centroid, and a term for quantization.

    With u = tanh z: the mean over batch and bits of the cross-entropy between ½(u + 1) and ½(c + 1), plus
    λ · mean (|u| − 1)². Several labels: the majority of their centroids, bit by bit, ties from one fixed vector.
    The authors' code adds 0.2 times a loss over pairs, which the paper does not have.

    "Central Similarity Quantization for Efficient Image and Video Retrieval", Yuan et al., CVPR 2020, arXiv 1908.00347.

    Args:
        quantization: λ, from 0 up; .05 in the authors' code. Other implementations have 1e-3 or 1e-4.

    Example:
        >>> round(CSQLoss(torch.ones(1, 4))(torch.zeros(1, 4), torch.ones(1, 1)).item(), 4)  # ln 2, and λ
        0.7431
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-4, 1.0, "log")}

    def __init__(self, centroids: Tensor, quantization: float = 0.05) -> None:
        super().__init__(centroids, quantization=quantization)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        # ½(tanh z + 1) is the sigmoid of 2z, and the cross-entropy of a sigmoid is a softplus: no logarithm of 0.
        entropy = F.softplus(-2 * codes * self.own_centroids(targets))  # (B, K)
        return mean_of_rows(entropy, targets) + self.quantization * quantization_term(codes.tanh(), targets)


class DPNLoss(HashLoss):
    """Deep polarized network: each bit is pushed past a margin on the side of the item's own centroid.

    The mean over the batch of Σ_k max(0, m − z_k c_k). Several labels: the majority of their centroids, as for CSQ.
    At m = 1 the loss is an upper bound of the Hamming distance to the centroid.

    "Deep Polarized Network for Supervised Learning of Accurate Binary Hashing Codes", Fan et al., IJCAI 2020,
    doi 10.24963/ijcai.2020/115.

    Args:
        margin: m, from 0 up.

    Example:
        >>> # Bits of 0.5 on the right side, the last on the wrong one: 3 · 0.5 + 1.5.
        >>> DPNLoss(torch.tensor([[1.0, 1, 1, -1]]))(torch.full((1, 4), 0.5), torch.ones(1, 1))
        tensor(3.)
    """

    batch_norm = False
    SEARCH: ClassVar = {"margin": (0.1, 4.0, "log")}

    def __init__(self, centroids: Tensor, margin: float = 1.0) -> None:
        super().__init__(centroids, margin=margin)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        missing = (self.margin - codes * self.own_centroids(targets)).relu()  # (B, K)
        return (missing.sum(dim=1) * labelled(targets)).mean()

"""Losses that read the class off the codes with a linear head; of the centroids (C, K) only the shape counts."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from relahash_nb.losses.common import (
    HashLoss,
    batch_mean,
    distance_to_signs,
    labelled,
    not_negative,
    soft_cross_entropy,
)


class CrossEntropyLoss(HashLoss):
    """Cross-entropy of a linear head on the codes: a classifier whose last layer but one is read by its sign.

    The model's batch norm puts the threshold of each bit at its mean, which alone makes a fair hash of it ("CE+BN" in
    the supplement of OrthoHash, Hoe et al., NeurIPS 2021). The loss option `batch_norm: false` is the classifier
    without it.

    Args:
        centroids: (C, K), of which the shape counts.
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__(centroids)
        self.head = linear_head(centroids)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        return soft_cross_entropy(self.head(codes), targets)


class GreedyHashLoss(HashLoss):
    """Cross-entropy of a linear head on the binary codes; the gradient goes through the sign as if it were not there.

    CE(head(sign z)) + α · mean ||z| − 1|³. The head has no bias, as in the authors' code.

    "Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN", Su et al., NeurIPS 2018.

    Args:
        centroids: (C, K), of which the shape counts.
        quantization: α, from 0 up. The paper has 0.1 on CIFAR-10 and 1 on ImageNet100.

    Example:
        >>> loss, targets = GreedyHashLoss(torch.ones(2, 4), quantization=0.0), torch.eye(2)
        >>> bool(loss(torch.full((2, 4), 0.1), targets) == loss(torch.full((2, 4), 7.0), targets))
        True
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-3, 10.0, "log")}

    def __init__(self, centroids: Tensor, quantization: float = 0.1) -> None:
        super().__init__(centroids)
        self.quantization = not_negative("quantization", quantization)
        self.head = linear_head(centroids, bias=False)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        binary = straight_through(signs(codes), codes)  # (B, K) ±1
        quantization_loss = distance_to_signs(codes, targets, power=3)
        classification_loss = soft_cross_entropy(self.head(binary), targets)
        return classification_loss + self.quantization * quantization_loss


class BiHalfLoss(HashLoss):
    """Cross-entropy of a linear head on bits of which each is +1 for half of the batch; in evaluation mode on signs.

    The gradient goes through these bits b as if they were the codes z, and γ (z − b)/(B K) is added to it, which draws
    the two together. The paper's loss is unsupervised; here its layer stands below a classifier.

    "Deep Unsupervised Image Hashing by Maximizing Bit Entropy", Li and van Gemert, AAAI 2021, arXiv 2012.12334.

    Args:
        centroids: (C, K), of which the shape counts.
        gamma: γ, from 0 up; 6 in the authors' code.

    Example:
        >>> loss, codes = BiHalfLoss(torch.ones(2, 1)), torch.tensor([[1.0], [2], [3], [9]])
        >>> loss.bits(codes, targets=torch.ones(4, 2)).T  # the upper half
        tensor([[-1., -1.,  1.,  1.]])
    """

    batch_norm = False
    SEARCH: ClassVar = {"gamma": (0.1, 100.0, "log")}

    def __init__(self, centroids: Tensor, gamma: float = 6.0) -> None:
        super().__init__(centroids)
        self.gamma = not_negative("gamma", gamma)
        self.head = linear_head(centroids)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        bits = self.bits(codes.detach(), targets)  # b, (B, K) ±1
        binary = straight_through(bits, codes)  # (B, K) ±1
        squares = (codes - bits).square() / 2  # (B, K)
        pull = self.gamma * batch_mean(squares.mean(dim=1), targets)
        classification_loss = soft_cross_entropy(self.head(binary), targets)
        return classification_loss + pull - pull.detach()  # the pull has a gradient and no value

    def bits(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Bits (B, K) ±1 of codes (B, K); in evaluation mode their signs.

        In training mode a bit is +1 where the code is above the lower median of the rows that have a label.
        """
        if not self.training:
            return signs(codes)
        has_label = labelled(targets)[:, None] > 0  # (B, 1)
        medians = codes.where(has_label, math.nan).nanmedian(dim=0).values  # (K,)
        return torch.where(codes > medians, 1.0, -1.0).to(codes.dtype)


class JMLHLoss(HashLoss):
    """Just maximizing the likelihood: cross-entropy of a linear head on bits drawn by their probabilities.

    With p = σ(z), a bit is 1 where p exceeds a draw from [0, 1), in evaluation mode ½; the gradient goes through p.
    CE(head(bits)) + λ · KL(p ‖ ½), summed over the bits.

    "Embarrassingly Simple Binary Representation Learning", Shen et al., ICCV Workshops 2019, arXiv 1908.09573.

    Args:
        centroids: (C, K), of which the shape counts.
        divergence: λ, from 0 up.
    """

    batch_norm = False
    SEARCH: ClassVar = {"divergence": (1e-4, 1.0, "log")}

    def __init__(self, centroids: Tensor, divergence: float = 0.1) -> None:
        super().__init__(centroids)
        self.divergence = not_negative("divergence", divergence)
        self.head = linear_head(centroids)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        probability = codes.sigmoid()  # p, (B, K)
        threshold = torch.rand_like(codes) if self.training else 0.5
        drawn = (probability > threshold).to(codes.dtype)  # (B, K) 0 or 1
        bits = straight_through(drawn, probability)  # (B, K) 0 or 1
        # KL = p ln 2p + (1 − p) ln 2(1 − p). As a log-sigmoid, ln p is finite where p is rounded to 0.
        log_one = F.logsigmoid(codes)  # ln p, (B, K)
        log_zero = F.logsigmoid(-codes)  # ln(1 − p), (B, K)
        divergences = math.log(2) + probability * log_one + (1 - probability) * log_zero  # (B, K)
        classification_loss = soft_cross_entropy(self.head(bits), targets)
        divergence_loss = batch_mean(divergences.sum(dim=1), targets)
        return classification_loss + self.divergence * divergence_loss


class SDHCLoss(HashLoss):
    """Supervised deep hashing with a classifier: cross-entropy, quantization, variance and independence of the bits.

    With u = tanh z: CE(head(u)) + λ₀ · mean (|u| − 1)² − λ₁ · ½ tr(UᵀU)/B + λ₂ · mean (UᵀU/B − I)². The paper asks the
    rows of the hash layer's weights to be orthogonal; a loss sees no weights here, so ours asks that of the bits.

    "Deep Hashing for Compact Binary Codes Learning", Erin Liong et al., CVPR 2015; with a classifier in the supplement
    of OrthoHash, Hoe et al., NeurIPS 2021, whose λ these are.

    Args:
        centroids: (C, K), of which the shape counts.
        quantization: λ₀, from 0 up.
        variance: λ₁, from 0 up.
        independence: λ₂, from 0 up.
    """

    batch_norm = False
    SEARCH: ClassVar = {
        "quantization": (1e-5, 1.0, "log"),
        "variance": (1e-5, 1.0, "log"),
        "independence": (1e-5, 1.0, "log"),
    }

    def __init__(
        self,
        centroids: Tensor,
        quantization: float = 1e-3,
        variance: float = 1e-3,
        independence: float = 1e-3,
    ) -> None:
        super().__init__(centroids)
        self.quantization = not_negative("quantization", quantization)
        self.variance = not_negative("variance", variance)
        self.independence = not_negative("independence", independence)
        self.head = linear_head(centroids)

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of codes (B, K) float and targets (B, C) multi-hot, a scalar."""
        targets = self.checked_targets(codes, targets)
        values = codes.tanh() * labelled(targets)[:, None]  # u, (B, K)
        products = values.T @ values / len(values)  # UᵀU/B, (K, K)
        identity = torch.eye(len(products)).to(products)  # (K, K)

        classification_loss = soft_cross_entropy(self.head(values), targets)
        quantization_loss = distance_to_signs(values, targets)
        half_variance = products.trace() / 2
        independence_loss = (products - identity).square().mean()
        return (
            classification_loss
            + self.quantization * quantization_loss
            - self.variance * half_variance
            + self.independence * independence_loss
        )


def linear_head(centroids: Tensor, bias: bool = True) -> nn.Linear:
    """A linear layer from K bits to C classes, of the shape and dtype of centroids (C, K); trained with the model."""
    classes, bits = centroids.shape
    return nn.Linear(bits, classes, bias, dtype=centroids.dtype)


def signs(codes: Tensor) -> Tensor:
    """±1 in the dtype of codes (B, K); the sign of 0 is +1, as in `binarize`."""
    return torch.where(codes >= 0, 1.0, -1.0).to(codes.dtype)


def straight_through(values: Tensor, source: Tensor) -> Tensor:
    """The values (B, K), whose gradient goes to the source (B, K) unchanged."""
    return source + (values - source).detach()

"""Losses that read the class off the codes with a linear head, and use no centroids."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from relahash_nb.losses.common import (
    HeadLoss,
    check_not_negative,
    gap,
    labelled,
    mean_of_rows,
    signs,
    soft_cross_entropy,
)


class CrossEntropyLoss(HeadLoss):
    """Cross-entropy of a linear head on the codes: a classifier whose last layer but one is read by its sign.

    Several labels share the target mass equally. The model's batch norm puts each bit's threshold at its mean, which
    alone makes a fair hash of it ("CE+BN" in the supplement of OrthoHash, Hoe et al., NeurIPS 2021).

    Args:
        centroids: (C, K); only their shape counts.

    Example:
        >>> loss = CrossEntropyLoss(torch.ones(10, 64))
        >>> sorted(loss.state_dict())
        ['centroids', 'head.bias', 'head.weight']
    """

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        return soft_cross_entropy(self.head(codes), targets)


class PlainCrossEntropyLoss(CrossEntropyLoss):
    """The same with a model that has no batch norm: nothing puts the threshold of a bit between its values."""

    batch_norm = False


class GreedyHashLoss(HeadLoss):
    """Cross-entropy of a linear head on the binary codes; the gradient goes through the sign as if it were not there.

    CE(head(sign z)) + α · mean ||z| − 1|³. Several labels share the target mass equally; the paper has one.

    "Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN", Su et al., NeurIPS 2018.

    Args:
        centroids: (C, K); only their shape counts.
        quantization: α, from 0 up. The paper has .1 on CIFAR-10 and 1 on ImageNet100.

    Raises:
        ValueError: `centroids` is no matrix, or α is out of range.

    Example:
        >>> loss, targets = GreedyHashLoss(torch.ones(2, 4), quantization=0.0), torch.eye(2)
        >>> bool(loss(torch.full((2, 4), 0.1), targets) == loss(torch.full((2, 4), 7.0), targets))
        True
    """

    def __init__(self, centroids: Tensor, quantization: float = 0.1) -> None:
        super().__init__(centroids)
        check_not_negative(quantization=quantization)
        self.quantization = quantization

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        binary = codes + (signs(codes) - codes).detach()  # (B, K) ±1, with the gradient of the codes
        return soft_cross_entropy(self.head(binary), targets) + self.quantization * mean_of_rows(
            gap(codes) ** 3, targets
        )


class JMLHLoss(HeadLoss):
    """Just maximizing the likelihood: cross-entropy of a linear head on bits drawn by their probabilities.

    With p = σ(z), a bit is 1 where p exceeds a draw from [0, 1), in evaluation mode ½; the gradient goes through p.
    CE(head(bits)) + λ · KL(p ‖ ½), summed over the bits. Several labels share the target mass equally.

    "Embarrassingly Simple Binary Representation Learning", Shen et al., ICCV Workshops 2019, arXiv 1908.09573.

    Args:
        centroids: (C, K); only their shape counts.
        divergence: λ, from 0 up.

    Raises:
        ValueError: `centroids` is no matrix, or λ is out of range.

    Example:
        Bits that are as likely 0 as 1 have no divergence, and those that are sure have ln 2 each.

        >>> loss, targets = JMLHLoss(torch.ones(2, 4), divergence=1.0).eval(), torch.ones(1, 2)
        >>> _ = [torch.nn.init.zeros_(parameter) for parameter in loss.parameters()]
        >>> [round(loss(torch.full((1, 4), z), targets).item(), 4) for z in (0.0, 50.0)]  # ln 2, and 4 ln 2 more
        [0.6931, 3.4657]
    """

    def __init__(self, centroids: Tensor, divergence: float = 0.1) -> None:
        super().__init__(centroids)
        check_not_negative(divergence=divergence)
        self.divergence = divergence

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says. It draws from torch's own generator."""
        targets = self.check(codes, targets)
        probability = codes.sigmoid()  # (B, K)
        threshold = torch.rand_like(codes) if self.training else 0.5
        bits = probability + ((probability > threshold).to(codes.dtype) - probability).detach()  # (B, K) 0 or 1
        # p ln 2p + (1 − p) ln 2(1 − p); ln p as a log-sigmoid is finite where p is rounded to 0.
        one, zero = functional.logsigmoid(codes), functional.logsigmoid(-codes)  # (B, K)
        divergence = (math.log(2) + probability * one + (1 - probability) * zero).sum(dim=1)  # (B,)
        return soft_cross_entropy(self.head(bits), targets) + self.divergence * (divergence * labelled(targets)).mean()


class SDHCLoss(HeadLoss):
    """Supervised deep hashing with a classifier: cross-entropy, quantization, variance and independence of the bits.

    With u = tanh z: CE(head(u)) + λ₀ · mean (|u| − 1)² − λ₁ · ½ tr(UᵀU)/B + λ₂ · mean (UᵀU/B − I)². Several labels
    share the target mass equally. The paper asks the rows of the hash layer's weights to be orthogonal, so that bits
    do not repeat one another; a loss sees no weights here, so ours asks that of the bits.

    "Deep Hashing for Compact Binary Codes Learning", Erin Liong et al., CVPR 2015; with a classifier in the supplement
    of OrthoHash, Hoe et al., NeurIPS 2021, whose λ these are.

    Args:
        centroids: (C, K); only their shape counts.
        quantization: λ₀, from 0 up.
        variance: λ₁, from 0 up.
        independence: λ₂, from 0 up.

    Raises:
        ValueError: `centroids` is no matrix, or a λ is out of range.

    Example:
        >>> loss = SDHCLoss(torch.ones(2, 4), quantization=1.0, variance=0.0, independence=0.0)
        >>> _ = [torch.nn.init.zeros_(parameter) for parameter in loss.parameters()]
        >>> round(loss(torch.zeros(1, 4), torch.ones(1, 2)).item(), 4)  # ln 2, and 1 for bits at 0
        1.6931
    """

    def __init__(
        self, centroids: Tensor, quantization: float = 1e-3, variance: float = 1e-3, independence: float = 1e-3
    ) -> None:
        super().__init__(centroids)
        check_not_negative(quantization=quantization, variance=variance, independence=independence)
        self.quantization, self.variance, self.independence = quantization, variance, independence

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        values = codes.tanh() * labelled(targets)[:, None]  # (B, K)
        products = values.T @ values / len(values)  # (K, K)
        apart = (products - torch.eye(len(products)).to(products)).square().mean()
        return (
            soft_cross_entropy(self.head(values), targets)
            + self.quantization * mean_of_rows(gap(values).square(), targets)
            - self.variance * products.trace() / 2
            + self.independence * apart
        )

"""Losses that read the class off the codes with a linear head; of the centroids (C, K) only the shape counts."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from relahash_nb.losses.common import HashLoss, labelled, mean_of_rows, quantization_term, soft_cross_entropy


class HeadLoss(HashLoss):
    """A loss with a linear layer from codes to classes, trained and saved with it; labels share the mass equally."""

    def __init__(self, centroids: Tensor, bias: bool = True, **not_negative: float) -> None:
        super().__init__(centroids, **not_negative)
        classes, bits = centroids.shape
        self.head = nn.Linear(bits, classes, bias, dtype=centroids.dtype)


class CrossEntropyLoss(HeadLoss):
    """Cross-entropy of a linear head on the codes: a classifier whose last layer but one is read by its sign.

    The model's batch norm puts each bit's threshold at its mean, which alone makes a fair hash of it ("CE+BN" in the
    supplement of OrthoHash, Hoe et al., NeurIPS 2021).

    Example:
        >>> sorted(CrossEntropyLoss(torch.ones(10, 64)).state_dict())
        ['centroids', 'head.bias', 'head.weight']
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__(centroids)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        return soft_cross_entropy(self.head(codes), targets)


class PlainCrossEntropyLoss(CrossEntropyLoss):
    """Cross-entropy of a linear head, without batch norm: nothing puts the threshold of a bit between its values."""

    batch_norm = False


class GreedyHashLoss(HeadLoss):
    """Cross-entropy of a linear head on the binary codes; the gradient goes through the sign as if it were not there.

    CE(head(sign z)) + α · mean ||z| − 1|³. The head has no bias, as in the authors' code.

    "Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN", Su et al., NeurIPS 2018.

    Args:
        quantization: α, from 0 up. The paper has .1 on CIFAR-10 and 1 on ImageNet100.

    Example:
        >>> loss, targets = GreedyHashLoss(torch.ones(2, 4), quantization=0.0), torch.eye(2)
        >>> bool(loss(torch.full((2, 4), 0.1), targets) == loss(torch.full((2, 4), 7.0), targets))
        True
    """

    batch_norm = False
    SEARCH: ClassVar = {"quantization": (1e-3, 10.0, "log")}

    def __init__(self, centroids: Tensor, quantization: float = 0.1) -> None:
        super().__init__(centroids, bias=False, quantization=quantization)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        signs = torch.where(codes >= 0, 1.0, -1.0).to(codes.dtype)  # sign(0) is +1, as in `binarize`
        binary = codes + (signs - codes).detach()  # (B, K) ±1, with the gradient of the codes
        far = quantization_term(codes, targets, power=3)
        return soft_cross_entropy(self.head(binary), targets) + self.quantization * far


class BiHalfLoss(HeadLoss):
    """Cross-entropy of a linear head on bits of which each is +1 for half of the batch; in evaluation mode on signs.

    The gradient goes through the half-and-half bits b as if they were the codes z, plus γ (z − b)/(B K), which draws
    the two together. The paper's own loss is unsupervised; here its layer stands below a classifier.

    "Deep Unsupervised Image Hashing by Maximizing Bit Entropy", Li and van Gemert, AAAI 2021, arXiv 2012.12334.

    Args:
        gamma: γ, from 0 up; 6 in the authors' code.

    Example:
        >>> loss, codes = BiHalfLoss(torch.ones(2, 1)), torch.tensor([[1.0], [2], [3], [9]])
        >>> loss.bits(codes, targets=torch.ones(4, 2)).T  # the upper half
        tensor([[-1., -1.,  1.,  1.]])
    """

    batch_norm = False
    SEARCH: ClassVar = {"gamma": (0.1, 100.0, "log")}

    def __init__(self, centroids: Tensor, gamma: float = 6.0) -> None:
        super().__init__(centroids, gamma=gamma)

    def bits(self, codes: Tensor, targets: Tensor) -> Tensor:
        """(B, K) ±1: +1 above each bit's lower median of the labelled rows; in evaluation mode the sign."""
        if not self.training:
            return torch.where(codes >= 0, 1.0, -1.0).to(codes.dtype)
        counted = codes.where(labelled(targets)[:, None] > 0, math.nan)
        return torch.where(codes > counted.nanmedian(dim=0).values, 1.0, -1.0).to(codes.dtype)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        bits = self.bits(codes.detach(), targets)  # (B, K)
        binary = codes + (bits - codes).detach()  # (B, K) ±1, with the gradient of the codes
        pull = self.gamma * mean_of_rows((codes - bits).square() / 2, targets)
        return soft_cross_entropy(self.head(binary), targets) + pull - pull.detach()  # a gradient and no value


class JMLHLoss(HeadLoss):
    """Just maximizing the likelihood: cross-entropy of a linear head on bits drawn by their probabilities.

    With p = σ(z), a bit is 1 where p exceeds a draw from [0, 1), in evaluation mode ½; the gradient goes through p.
    CE(head(bits)) + λ · KL(p ‖ ½), summed over the bits.

    "Embarrassingly Simple Binary Representation Learning", Shen et al., ICCV Workshops 2019, arXiv 1908.09573.

    Args:
        divergence: λ, from 0 up.

    Example:
        >>> loss, targets = JMLHLoss(torch.ones(2, 4), divergence=1.0).eval(), torch.ones(1, 2)
        >>> _ = [torch.nn.init.zeros_(parameter) for parameter in loss.parameters()]
        >>> [round(loss(torch.full((1, 4), z), targets).item(), 4) for z in (0.0, 50.0)]  # ln 2, and 4 ln 2 more
        [0.6931, 3.4657]
    """

    batch_norm = False
    SEARCH: ClassVar = {"divergence": (1e-3, 1.0, "log")}

    def __init__(self, centroids: Tensor, divergence: float = 0.1) -> None:
        super().__init__(centroids, divergence=divergence)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        probability = codes.sigmoid()  # (B, K)
        threshold = torch.rand_like(codes) if self.training else 0.5
        bits = probability + ((probability > threshold).to(codes.dtype) - probability).detach()  # (B, K) 0 or 1
        # p ln 2p + (1 − p) ln 2(1 − p); ln p as a log-sigmoid is finite where p is rounded to 0.
        one, zero = F.logsigmoid(codes), F.logsigmoid(-codes)  # (B, K)
        divergence = (math.log(2) + probability * one + (1 - probability) * zero).sum(dim=1)  # (B,)
        return soft_cross_entropy(self.head(bits), targets) + self.divergence * (divergence * labelled(targets)).mean()


class SDHCLoss(HeadLoss):
    """Supervised deep hashing with a classifier: cross-entropy, quantization, variance and independence of the bits.

    With u = tanh z: CE(head(u)) + λ₀ · mean (|u| − 1)² − λ₁ · ½ tr(UᵀU)/B + λ₂ · mean (UᵀU/B − I)². The paper asks the
    rows of the hash layer's weights to be orthogonal; a loss sees no weights here, so ours asks that of the bits.

    "Deep Hashing for Compact Binary Codes Learning", Erin Liong et al., CVPR 2015; with a classifier in the supplement
    of OrthoHash, Hoe et al., NeurIPS 2021, whose λ these are.

    Args:
        quantization: λ₀, from 0 up.
        variance: λ₁, from 0 up.
        independence: λ₂, from 0 up.

    Example:
        >>> loss = SDHCLoss(torch.ones(2, 4), quantization=1.0, variance=0.0, independence=0.0)
        >>> _ = [torch.nn.init.zeros_(parameter) for parameter in loss.parameters()]
        >>> round(loss(torch.zeros(1, 4), torch.ones(1, 2)).item(), 4)  # ln 2, and 1 for bits at 0
        1.6931
    """

    batch_norm = False
    SEARCH: ClassVar = dict.fromkeys(("quantization", "variance", "independence"), (1e-4, 1.0, "log"))

    def __init__(
        self, centroids: Tensor, quantization: float = 1e-3, variance: float = 1e-3, independence: float = 1e-3
    ) -> None:
        super().__init__(centroids, quantization=quantization, variance=variance, independence=independence)

    def _loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        values = codes.tanh() * labelled(targets)[:, None]  # (B, K)
        products = values.T @ values / len(values)  # (K, K)
        return (
            soft_cross_entropy(self.head(values), targets)
            + self.quantization * quantization_term(values, targets)
            - self.variance * products.trace() / 2
            + self.independence * (products - torch.eye(len(products)).to(products)).square().mean()
        )

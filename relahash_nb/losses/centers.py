"""CSQ and DPN: each item is drawn to one centroid, bit by bit."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from relahash_nb.losses.common import HashLoss, check_not_negative, gap, labelled, mean_of_rows


class CSQLoss(HashLoss):
    """Binary cross-entropy between each bit and that of the item's own centroid, and a term for quantization.

    With u = tanh z: the mean over batch and bits of the cross-entropy between ½(u + 1) and ½(c + 1), plus
    λ · mean (|u| − 1)². Several labels: the majority of their centroids, bit by bit, ties from one fixed vector.

    "Central Similarity Quantization for Efficient Image and Video Retrieval", Yuan et al., CVPR 2020, arXiv 1908.00347.

    Args:
        centroids: (C, K) ±1.
        quantization: λ, from 0 up. The paper's code has .05 with ResNet-50 and 1e-3 or 1e-4 with AlexNet.

    Raises:
        ValueError: `centroids` is no matrix, or λ is out of range.

    Example:
        Codes of zeros are as far from one side as from the other: ln 2, and λ.

        >>> import torch
        >>> round(CSQLoss(torch.ones(1, 4))(torch.zeros(1, 4), torch.ones(1, 1)).item(), 4)
        0.6941
    """

    def __init__(self, centroids: Tensor, quantization: float = 1e-3) -> None:
        super().__init__(centroids)
        check_not_negative(quantization=quantization)
        self.quantization = quantization

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        # ½(tanh z + 1) is the sigmoid of 2z, and the cross-entropy of a sigmoid is a softplus: no logarithm of 0.
        entropy = functional.softplus(-2 * codes * self.own_centroids(targets))  # (B, K)
        return mean_of_rows(entropy + self.quantization * gap(codes.tanh()).square(), targets)


class DPNLoss(HashLoss):
    """Deep polarized network: each bit is pushed past a margin on the side of the item's own centroid.

    The mean over the batch of Σ_k max(0, m − z_k c_k). Several labels: the majority of their centroids, as for CSQ.
    At m = 1 the loss is an upper bound of the Hamming distance to the centroid.

    "Deep Polarized Network for Supervised Learning of Accurate Binary Hashing Codes", Fan et al., IJCAI 2020,
    doi 10.24963/ijcai.2020/115.

    Args:
        centroids: (C, K) ±1.
        margin: m, from 0 up.

    Raises:
        ValueError: `centroids` is no matrix, or m is out of range.

    Example:
        Bits of 0.5 on the right side, the last on the wrong one: 3 · 0.5 + 1.5.

        >>> import torch
        >>> DPNLoss(torch.tensor([[1.0, 1, 1, -1]]))(torch.full((1, 4), 0.5), torch.ones(1, 1))
        tensor(3.)
    """

    def __init__(self, centroids: Tensor, margin: float = 1.0) -> None:
        super().__init__(centroids)
        check_not_negative(margin=margin)
        self.margin = margin

    def forward(self, codes: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, from 0 up; arguments as `HashLoss` says."""
        targets = self.check(codes, targets)
        missing = (self.margin - codes * self.own_centroids(targets)).relu()  # (B, K)
        return (missing.sum(dim=1) * labelled(targets)).mean()

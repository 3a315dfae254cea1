"""How low RelaHash's loss can go: closed forms for one-hot targets and any centroids."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from relahash_nb.metrics import quantization_error


def similarity_bound(batch_size: int) -> float:
    """Largest mean, over a batch, of each item's relative similarity to the centroid of its class: 1/√B.

    By Cauchy–Schwarz, since ‖Ẑ‖_F = 1. It is met where Z − μ is proportional to the items' own centroids, which is
    possible if their entries sum to zero over the batch.

    Args:
        batch_size: B, from 1 up.
    """
    return 1 / math.sqrt(batch_size)


def ideal_codes(centroids: Tensor, targets: Tensor) -> Tensor:
    """The direction in which each item gains most: its own centroid, less the mean of the other centroids.

    Codes proportional to it have the largest possible mean advantage of a batch, `largest_advantage`, if its entries
    sum to zero. So the centroids decide the quantization error at which the loss ends: it is zero if the mean of the
    others is proportional to the own centroid, as for a simplex or for pairs ±h.

    Args:
        centroids: (C, K), of ±1.
        targets: (N, C), one-hot, of any dtype.

    Returns:
        (N, K) of the centroids' dtype: G, with the centroids scaled to length 1.

    Raises:
        ValueError: A row of the targets is not one-hot.
    """
    own = targets.to(centroids.dtype)
    if not (own.sum(1) == 1).all() or not (own.amax(1) == 1).all():
        raise ValueError("targets: rows with none or several labels given; allowed: one label in each row")
    scaled = normalize(centroids)  # Ĥ
    others = max(len(centroids) - 1, 1)
    mean_of_others = (1 - own) @ scaled / others  # (N, K)
    return own @ scaled - mean_of_others


def ideal_error(centroids: Tensor) -> float:
    """The quantization error of `ideal_codes`, every class as likely: where codes that are free to move end.

    Args:
        centroids: (C, K), of ±1.

    Example:
        >>> ideal_error(torch.tensor([[1.0, 1, -1, -1], [-1, -1, 1, 1]]))
        0.0
    """
    return quantization_error(ideal_codes(centroids, torch.eye(len(centroids))))


def largest_advantage(centroids: Tensor, targets: Tensor, batch_size: int | None = None) -> float:
    """Largest mean of a batch's advantages: the similarity to the own centroid, less the mean of those to the others.

    It is ‖G‖_F / B with G of `ideal_codes`, by Cauchy–Schwarz.

    Args:
        centroids: (C, K), of ±1.
        targets: (N, C), one-hot: of one batch, or of the images that batches are drawn from.
        batch_size: B, from 1 up; None: the targets are one batch.

    Raises:
        ValueError: As for `ideal_codes`.
    """
    mean_square = ideal_codes(centroids, targets).square().sum(1).mean().item()
    return math.sqrt(mean_square / (batch_size or len(targets)))


def lowest_loss(centroids: Tensor, targets: Tensor, beta: float, margin: float, batch_size: int | None = None) -> float:
    """A value that RelaHash's loss cannot go below: ln(1 + (C − 1) e^{β (m − a)}) with a of `largest_advantage`.

    By Jensen's inequality, twice: over the other classes of an item, and over the items. Codes of `ideal_codes` reach
    it if all advantages are equal, as they are for orthogonal centroids.

    Args:
        centroids: (C, K), of ±1.
        targets: (N, C), one-hot: of one batch; or of the images that batches are drawn from, and then the value bounds
            the mean over the batches.
        beta: β, above 0.
        margin: m, from 0 up.
        batch_size: B, from 1 up; None: the targets are one batch.

    Raises:
        ValueError: As for `ideal_codes`.

    Example:
        >>> import torch
        >>> from relahash_nb.centroids import make_centroids
        >>> for method in ("hadamard", "max_hamming"):
        ...     print(f"{lowest_loss(make_centroids(10, 64, method), torch.eye(10), 50, 0.5, batch_size=16):.2f}")
        14.02
        13.31
    """
    classes = len(centroids)
    if classes == 1:
        return 0.0
    advantage = largest_advantage(centroids, targets, batch_size)
    exponent = beta * (margin - advantage) + math.log(classes - 1)
    # ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|), which does not overflow.
    return max(exponent, 0) + math.log1p(math.exp(-abs(exponent)))

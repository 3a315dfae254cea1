"""RelaHash's loss in closed form: the value at perfect codes, and the lowest value."""

import math


def similarity_bound(batch_size: int) -> float:
    """Largest mean, over a batch, of each item's relative similarity to the centroid of its class: 1/√B.

    By Cauchy–Schwarz. Codes reach it where Z − μ is proportional to the items' centroids: all |z − μ| are equal, and
    there is no quantization error.

    Args:
        batch_size: B, from 1 up.
    """
    return 1 / math.sqrt(batch_size)


def perfect_loss(classes: int, batch_size: int, beta: float, margin: float) -> float:
    """Loss of perfect codes, each at its centroid, for orthogonal centroids: ln(1 + (C − 1) e^{β (m − 1/√B)}).

    Args:
        classes: C, from 1 up.
        batch_size: B, from 1 up.
        beta: β, above 0.
        margin: m, from 0 up.

    Example:
        >>> round(perfect_loss(10, 16, beta=50, margin=0.5), 2), round(perfect_loss(10, 16, beta=8, margin=0.5), 2)
        (14.7, 4.21)
    """
    return loss_at(similarity_bound(batch_size), classes, beta, margin)


def lowest_loss(classes: int, batch_size: int, beta: float, margin: float) -> float:
    """Infimum of the loss over all codes, for orthogonal centroids: ln(1 + (C − 1) e^{β (m − √(C/(C − 1))/√B)}).

    Codes reach it at z ∝ h − mean of the other centroids, where h is the centroid of the item's class: its similarity
    exceeds the others by more than 1/√B, at the price of a quantization error.

    Args:
        classes: C, from 2 up.
        batch_size: B, from 1 up.
        beta: β, above 0.
        margin: m, from 0 up.

    Example:
        >>> round(lowest_loss(10, 16, beta=50, margin=0.5), 2), round(lowest_loss(10, 16, beta=8, margin=0.5), 2)
        (14.02, 4.11)
    """
    advantage = math.sqrt(classes / (classes - 1)) * similarity_bound(batch_size)
    return loss_at(advantage, classes, beta, margin)


def loss_at(advantage: float, classes: int, beta: float, margin: float) -> float:
    """ln(1 + (C − 1) e^{β (m − a)}): the loss where an item's similarity to its centroid exceeds all others by a."""
    if classes == 1:
        return 0.0
    exponent = beta * (margin - advantage) + math.log(classes - 1)
    # ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|), which does not overflow.
    return max(exponent, 0) + math.log1p(math.exp(-abs(exponent)))

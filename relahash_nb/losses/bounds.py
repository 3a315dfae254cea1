"""RelaHash's loss in closed form: where it ends, and why it is never satisfied."""

import math


def similarity_bound(batch_size: int) -> float:
    """Largest mean, over a batch, of the relative similarity to the own centroid: 1/√B, by Cauchy–Schwarz.

    It is met where Z − μ is proportional to the items' own centroids: all |z − μ| equal, no quantization error.

    Example:
        >>> similarity_bound(16)
        0.25
    """
    return 1 / math.sqrt(batch_size)


def perfect_loss(classes: int, batch_size: int, beta: float, margin: float) -> float:
    """Loss of perfect codes: every item at its own one of orthogonal centroids, ln(1 + (C − 1) e^{β (m − 1/√B)}).

    Of C ≥ 1 classes and B ≥ 1 items in a batch.

    Example:
        >>> round(perfect_loss(10, 16, beta=50, margin=0.5), 2), round(perfect_loss(10, 16, beta=8, margin=0.5), 2)
        (14.7, 4.21)
    """
    return _loss(classes, beta, margin, similarity_bound(batch_size))


def lowest_loss(classes: int, batch_size: int, beta: float, margin: float) -> float:
    """Infimum of the loss over all codes, for orthogonal centroids: ln(1 + (C − 1) e^{β (m − √(C/(C − 1))/√B)}).

    Pushing away from the other centroids, z ∝ c_y − mean of the others, tells the own class apart by more than 1/√B, at
    the price of a quantization error. C ≥ 2.

    Example:
        >>> round(lowest_loss(10, 16, beta=50, margin=0.5), 2), round(lowest_loss(10, 16, beta=8, margin=0.5), 2)
        (14.02, 4.11)
    """
    return _loss(classes, beta, margin, math.sqrt(classes / (classes - 1)) * similarity_bound(batch_size))


def _loss(classes: int, beta: float, margin: float, advantage: float) -> float:
    """Cross-entropy where the own similarity exceeds every other by `advantage`; large exponents do not overflow."""
    exponent = beta * (margin - advantage) + math.log(classes - 1) if classes > 1 else -math.inf
    return max(exponent, 0) + math.log1p(math.exp(-abs(exponent)))

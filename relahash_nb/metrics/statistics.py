"""What codes look like: how far they are from binary, how well each bit is used, how classes lie apart.

All functions raise a ValueError for codes that `binarize` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from relahash_nb.metrics.codes import (
    as_array,
    check_codes,
    check_integer,
    check_name,
    check_same_width,
    distance_histograms,
    pack,
    sign_bits,
)

_ERRORS = {
    "cosine": lambda z: 1 - _cosine(z).mean(),
    "l1": lambda z: np.abs(np.abs(z) - 1).mean(),
    "l2": lambda z: np.square(np.abs(z) - 1).mean(),
}


def quantization_error(codes, kind: str = "cosine", centred: bool = False) -> float:
    """How far codes are from their own signs.

    Args:
        codes: (N, K) floating point, before the sign.
        kind: with b = sign z, "cosine" is the mean over the items of 1 - cos(z, b), 0 to 1, and knows no scale;
            "l1" is the mean over all entries of |z - b|, "l2" that of (z - b)².
        centred: measure z - μ instead of z, where μ is the mean of all N·K entries.

    Returns:
        The error, 0 or more.

    Raises:
        ValueError: an unknown kind, or codes that `binarize` refuses.

    Example:
        >>> codes = np.array([[3.0, -1.0], [1.0, -1.0]])
        >>> [round(quantization_error(codes, kind), 4) for kind in ("cosine", "l1", "l2")]
        [0.0528, 0.5, 1.0]
    """
    check_name("kind", kind, _ERRORS)
    return float(_ERRORS[kind](_real(codes, centred)))


def code_cosine(codes, centred: bool = False) -> np.ndarray:
    """Cosine between each item's code and its sign.

    Args:
        codes: (N, K) floating point, before the sign.
        centred: measure z - μ instead of z, where μ is the mean of all N·K entries.

    Returns:
        (N,) float64, 0 to 1; 1 where all entries are equally large. A code of zeros has 0.

    Example:
        >>> print(code_cosine(np.array([[3.0, -4.0], [2.0, 2.0]])).round(4))
        [0.9899 1.    ]
    """
    return _cosine(_real(codes, centred))


def bit_balance(codes) -> np.ndarray:
    """Mean of each bit over the items.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        (K,) float64, -1 to 1; 0 is balanced.

    Example:
        >>> print(bit_balance(np.array([[1, 1], [1, -1]])))
        [1. 0.]
    """
    return 2 * sign_bits(codes).mean(0) - 1


def bit_entropy(codes) -> np.ndarray:
    """Entropy of each bit.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        (K,) float64 in bits, 0 (constant) to 1 (balanced).

    Example:
        >>> print(bit_entropy(np.array([[1, 1], [1, -1], [1, -1], [1, -1]])).round(4))
        [0.     0.8113]
    """
    ones = sign_bits(codes).mean(0)
    share = np.stack([ones, 1 - ones])  # (2, K)
    return (share * np.log2(1 / np.where(share > 0, share, 1))).sum(0)


def bit_correlation(codes) -> np.ndarray:
    """Pearson correlation of each pair of bits.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        (K, K) float64, -1 to 1. A constant bit has correlation 0 with every other, and 1 with itself.

    Example:
        >>> print(bit_correlation(np.array([[1, -1, 1], [-1, 1, 1]])))
        [[ 1. -1.  0.]
         [-1.  1.  0.]
         [ 0.  0.  1.]]
    """
    signs = 2.0 * sign_bits(codes) - 1  # (N, K)
    signs -= signs.mean(0)
    norms = np.sqrt(np.square(signs).sum(0))  # (K,)
    norms[norms == 0] = np.inf
    correlation = signs.T @ signs / np.outer(norms, norms)
    np.fill_diagonal(correlation, 1)
    return correlation


def constant_bits(codes) -> np.ndarray:
    """Indices of the bits that are the same in all items.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        Sorted integers, 0 to K - 1.

    Example:
        >>> print(constant_bits(np.array([[1, -1, 1], [-1, -1, 1]])))
        [1 2]
    """
    bits = sign_bits(codes)
    return np.flatnonzero((bits == bits[0]).all(0))


def duplicate_bits(codes) -> np.ndarray:
    """Indices of the bits that repeat an earlier bit, or its opposite, in all items.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        Sorted integers, 1 to K - 1; K less their number is the number of different bits.

    Example:
        >>> print(duplicate_bits(np.array([[1, -1, 1], [-1, 1, 1]])))
        [1]
    """
    bits = sign_bits(codes)
    columns = np.packbits(bits ^ bits[0], axis=0).T  # (K, ⌈N/8⌉), a bit and its opposite alike
    _, first = np.unique(columns, axis=0, return_index=True)
    return np.setdiff1d(np.arange(len(columns)), first)


def distinct_codes(codes) -> int:
    """Count the different binary codes.

    Args:
        codes: (N, K); the sign counts.

    Returns:
        1 to N.

    Example:
        >>> distinct_codes(np.array([[1, -1], [2, -3], [1, 1]]))
        2
    """
    return len(np.unique(pack(codes), axis=0))


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """Hamming distances within and between classes.

    Attributes:
        intra: (K + 1,) int64, pairs of items that share a label, at distance 0 to K.
        inter: (K + 1,) int64, pairs that share none.
    """

    intra: np.ndarray = field(repr=False)
    inter: np.ndarray = field(repr=False)

    @property
    def mean_intra(self) -> float:
        """Mean distance of two items that share a label; NaN without such a pair."""
        return _histogram_mean(self.intra)

    @property
    def mean_inter(self) -> float:
        """Mean distance of two items that share none; NaN without such a pair."""
        return _histogram_mean(self.inter)

    @property
    def separation(self) -> float:
        """`mean_inter` - `mean_intra`, in bits: the larger, the farther apart the classes."""
        return self.mean_inter - self.mean_intra

    @property
    def overlap(self) -> float:
        """Area that the two distributions of distances have in common, 0 to 1; NaN where one has no pair."""
        if not self.intra.any() or not self.inter.any():
            return np.nan
        return float(np.minimum(self.intra / self.intra.sum(), self.inter / self.inter.sum()).sum())


def class_distances(codes, targets) -> ClassDistances:
    """Hamming distances of all pairs of items, apart by whether they share a label.

    Args:
        codes: (N, K); the sign counts.
        targets: (N, C) multi-hot of any dtype.

    Returns:
        Histograms over the N (N - 1) / 2 pairs, their means and the separation of the means.

    Raises:
        ValueError: codes that `binarize` refuses, or targets that do not match.

    Example:
        >>> distances = class_distances(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]]), np.eye(2)[[0, 0, 1]])
        >>> distances.mean_intra, distances.mean_inter, distances.separation
        (1.0, 2.5, 1.5)
    """
    intra, total = distance_histograms(codes, codes, targets, targets, self_matches=np.arange(len(codes)))
    return ClassDistances(intra.sum(0) // 2, (total - intra).sum(0) // 2)  # each pair was counted from both ends


def centroid_distances(codes, targets, centroids) -> np.ndarray:
    """Hamming distance of each item to the centroid of its class, or the mean to those of its classes.

    Args:
        codes: (N, K); the sign counts.
        targets: (N, C) multi-hot of any dtype.
        centroids: (C, K), likewise.

    Returns:
        (N,) float64, 0 to K; NaN for an item without a label.

    Raises:
        ValueError: codes that `binarize` refuses, or shapes that do not match.

    Example:
        >>> print(centroid_distances(np.array([[1, 1, -1]]), np.array([[0, 1]]), np.array([[1, 1, 1], [-1, -1, 1]])))
        [3.]
    """
    check_same_width("codes and centroids", codes, centroids)
    signs, labels = 2.0 * sign_bits(codes) - 1, (as_array(targets) != 0).astype(np.float64)
    if labels.shape != (len(signs), len(centroids)):
        raise ValueError(f"targets have shape {labels.shape}; allowed: {(len(signs), len(centroids))}")
    own = labels @ (2.0 * sign_bits(centroids) - 1)  # (N, K), the sum of the item's centroids
    count = np.where(labels.any(1), labels.sum(1), np.nan)  # (N,)
    return (signs.shape[1] - (signs * own).sum(1) / count) / 2


def _real(codes, centred: bool) -> np.ndarray:
    codes = as_array(codes)
    check_codes(codes)
    codes = codes.astype(np.float64)
    return codes - codes.mean() if centred else codes


def _cosine(codes: np.ndarray) -> np.ndarray:
    length = np.sqrt(codes.shape[1] * np.square(codes).sum(1))  # ‖z‖ ‖sign z‖
    return np.abs(codes).sum(1) / np.where(length > 0, length, 1)


def _histogram_mean(counts: np.ndarray) -> float:
    return float(counts @ np.arange(len(counts)) / counts.sum()) if counts.any() else np.nan


def bit_histograms(codes, bins: int = 60, limit: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Density of each bit's codes before the sign, in units of the mean size of all entries.

    Losses leave codes at different scales, which the sign does not see; in this unit binary codes are at -1 and +1.

    Args:
        codes: (N, K) floating point, before the sign.
        bins: of equal width, at least 1; an even number keeps 0 at an edge.
        limit: the histogram's range is -limit to limit, above 0; what lies outside is counted in the outermost bins.

    Returns:
        Densities (K, bins) float64, each row with area 1, and the edges (bins + 1,).

    Raises:
        ValueError: codes that `binarize` refuses, bins below 1.

    Example:
        >>> density, edges = bit_histograms(np.array([[3.0, -1.0], [1.0, -3.0]]), bins=4, limit=2.0)
        >>> print(density, edges)
        [[0.  0.  0.5 0.5]
         [0.5 0.5 0.  0. ]] [-2. -1.  0.  1.  2.]
    """
    check_codes(codes)
    check_integer("bins", bins, least=1)
    codes = as_array(codes).astype(np.float64)
    size = np.abs(codes).mean() or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    inside = (codes / size).clip(-limit, limit)
    counts = np.stack([np.histogram(bit, edges)[0] for bit in inside.T])  # (K, bins)
    return counts / (len(codes) * (edges[1] - edges[0])), edges


def principal_components(codes, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal component analysis of codes: the directions in which they vary most.

    Args:
        codes: (N, K) floating point, before the sign, or -1 and +1.
        dimensions: of the map, 1 to K.

    Returns:
        `mean` (K,), so that a point is `(code - mean) @ directions.T`; `directions` (dimensions, K), orthonormal, each
        with its largest entry positive; and the share of the variance along each, (dimensions,).

    Raises:
        ValueError: codes that `binarize` refuses, dimensions below 1 or above K.

    Example:
        >>> codes = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 3.0]])
        >>> mean, directions, share = principal_components(codes, dimensions=1)
        >>> print(mean, directions, share)
        [1. 1.] [[0. 1.]] [1.]
    """
    check_codes(codes)
    check_integer("dimensions", dimensions, least=1)
    codes = as_array(codes).astype(np.float64)
    if dimensions > codes.shape[1]:
        raise ValueError(f"dimensions is {dimensions}; allowed: 1 to {codes.shape[1]}")
    mean = codes.mean(0)
    variances, directions = np.linalg.eigh(np.cov(codes.T, bias=True).reshape(codes.shape[1], -1))  # rising
    directions = directions.T[::-1][:dimensions]  # (dimensions, K)
    largest = np.abs(directions).argmax(1)
    directions = directions * np.sign(directions[np.arange(dimensions), largest])[:, None] + 0.0  # no -0
    return mean, directions, variances[::-1][:dimensions] / (variances.sum() or 1.0)

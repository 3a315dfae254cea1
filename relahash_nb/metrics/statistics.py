"""Statistics of codes: how far they are from binary, how well each bit is used, how far apart classes lie.

`codes` are (N, K): floating point before the sign where their size counts, else anything that `binarize` takes; what
it refuses is a ValueError.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import entr

from relahash_nb.metrics.checks import check_width
from relahash_nb.metrics.codes import as_array, as_codes, hamming_distances, pack, sign_bits
from relahash_nb.metrics.histograms import distance_histograms


def quantization_error(codes, centred: bool = False) -> float:
    """How far codes before the sign are from their signs: the mean over the items of 1 - cos(z, sign z).

    Args:
        codes: (N, K) before the sign; their scale does not count.
        centred: measure z - μ, where μ is the mean of all N·K entries.

    Returns:
        0 to 1; 0 where all entries have one size.

    Example:
        >>> round(quantization_error(np.array([[3.0, -1.0], [1.0, -1.0]])), 4)
        0.0528
    """
    codes = as_codes(codes).astype(np.float64)
    if centred:
        codes = codes - codes.mean()
    return float(1 - cosine_to_sign(codes).mean())


def code_cosine(codes) -> np.ndarray:
    """Cosine between each item's code before the sign and its sign: (N,) float64, 0 (a code of zeros) to 1."""
    return cosine_to_sign(as_codes(codes).astype(np.float64))


def cosine_to_sign(codes):
    """Cosine between codes and their signs, for tensors and arrays alike.

    Args:
        codes: (N, K) tensor or array of float32 or more.

    Returns:
        (N,) of the same library, 0 (a code of zeros) to 1.
    """
    length = (codes.shape[1] * (codes * codes).sum(1)) ** 0.5  # ‖z‖ ‖sign z‖
    return abs(codes).sum(1) / length.clip(1e-30)


def bit_balance(codes) -> np.ndarray:
    """Mean of each bit over the items: (K,) float64, -1 to 1; 0 is balanced."""
    return 2 * sign_bits(codes).mean(0) - 1


def bit_entropy(codes) -> np.ndarray:
    """Entropy of each bit: (K,) float64 in bits, 0 (constant) to 1 (balanced).

    Example:
        >>> print(bit_entropy(np.array([[1, 1], [1, -1], [1, -1], [1, -1]])).round(4))
        [0.     0.8113]
    """
    ones = sign_bits(codes).mean(0)
    return (entr(ones) + entr(1 - ones)) / np.log(2)


def bit_correlation(codes) -> np.ndarray:
    """Pearson correlation of each pair of bits: (K, K) float64, -1 to 1.

    A constant bit has correlation 0 with every other, and 1 with itself.

    Example:
        >>> print(bit_correlation(np.array([[1, -1, 1], [-1, 1, 1]])))
        [[ 1. -1.  0.]
         [-1.  1.  0.]
         [ 0.  0.  1.]]
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # of bits without variance
        correlation = np.nan_to_num(np.atleast_2d(np.corrcoef(sign_bits(codes), rowvar=False)))
    np.fill_diagonal(correlation, 1)
    return correlation


def constant_bits(codes) -> np.ndarray:
    """Sorted indices, 0 to K - 1, of the bits that are the same in all items."""
    return _redundant_bits(codes)[0]


def duplicate_bits(codes) -> np.ndarray:
    """Sorted indices, 1 to K - 1, of the bits that repeat an earlier bit, or its opposite, in all items.

    K less their number is the number of different bits.

    Example:
        >>> print(duplicate_bits(np.array([[1, -1, 1], [-1, 1, 1]])))
        [1]
    """
    return _redundant_bits(codes)[1]


def distinct_codes(codes) -> int:
    """Count the different binary codes: 1 to N."""
    return len(np.unique(pack(codes), axis=0))


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """Hamming distances within and between classes."""

    intra: np.ndarray = field(repr=False)  # (K + 1,) int64, pairs of items that share a label, at distance 0 to K
    inter: np.ndarray = field(repr=False)  # (K + 1,) int64, pairs of items that share no label

    @property
    def mean_intra(self) -> float:
        """Mean distance in bits of two items that share a label; NaN without such a pair."""
        return _histogram_mean(self.intra)

    @property
    def mean_inter(self) -> float:
        """Mean distance in bits of two items that share no label; NaN without such a pair."""
        return _histogram_mean(self.inter)

    @property
    def overlap(self) -> float:
        """Area that the two distributions of distances have in common, 0 to 1; NaN where one has no pair."""
        if not self.intra.any() or not self.inter.any():
            return np.nan
        intra_share = self.intra / self.intra.sum()
        inter_share = self.inter / self.inter.sum()
        return float(np.minimum(intra_share, inter_share).sum())


def class_distances(codes, targets) -> ClassDistances:
    """Count the N (N - 1) / 2 pairs of items by Hamming distance: those that share a label, and the others.

    Args:
        codes: (N, K).
        targets: (N, C) multi-hot.

    Example:
        >>> distances = class_distances(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]]), np.eye(2)[[0, 0, 1]])
        >>> distances.mean_intra, distances.mean_inter
        (1.0, 2.5)
    """
    itself = np.arange(len(codes))
    intra, total = distance_histograms(codes, codes, targets, targets, self_matches=itself)
    inter = total - intra
    return ClassDistances(intra.sum(0) // 2, inter.sum(0) // 2)  # each pair was counted from both ends


def centroid_distances(codes, targets, centroids) -> np.ndarray:
    """Hamming distance of each item to the centroid of its class, or the mean to those of its classes.

    Args:
        codes: (N, K).
        targets: (N, C) multi-hot.
        centroids: (C, K).

    Returns:
        (N,) float64, 0 to K; NaN for an item without a label.

    Raises:
        ValueError: the targets have another shape.
    """
    labels = _labels(targets, len(codes), len(centroids))  # (N, C)
    distances = hamming_distances(codes, centroids)  # (N, C)
    label_counts = np.where(labels.any(1), labels.sum(1), np.nan)
    return (distances * labels).sum(1) / label_counts


def nearest_centroids(codes, centroids):
    """The centroid nearest to each code before the sign: of the largest inner product, for tensors and arrays alike.

    Centroids of ±1 have one length, so it is the nearest by cosine and by Euclidean distance too. By Hamming distance
    it may be another one, since the sign forgets how sure each bit is.

    Args:
        codes: (N, K) before the sign.
        centroids: (C, K) ±1, of the same dtype.

    Returns:
        (N,) integers of the same library, 0 to C - 1; of several that are nearest, the first.
    """
    return (codes @ centroids.T).argmax(1)


def centroid_accuracy(codes, targets, centroids) -> float:
    """Share of the items whose nearest centroid, as `nearest_centroids` has it, is of a class of theirs.

    Args:
        codes: (N, K) before the sign.
        targets: (N, C) multi-hot; an item without a label counts as wrong.
        centroids: (C, K) ±1.

    Returns:
        0 to 1.

    Raises:
        ValueError: the codes have another width than the centroids, or the targets another shape.

    Example:
        >>> centroids = np.array([[1, 1, 1], [-1, -1, 1]])
        >>> centroid_accuracy(np.array([[0.2, 3.0, 1.0], [0.1, 0.2, -1.0]]), np.eye(2), centroids)
        0.5
    """
    check_width("codes and centroids", codes, centroids)
    labels = _labels(targets, len(codes), len(centroids))  # (N, C)
    nearest = nearest_centroids(as_codes(codes).astype(np.float64), as_codes(centroids).astype(np.float64))
    return float(labels[np.arange(len(labels)), nearest].mean())


def bit_histograms(codes, bins: int = 60, limit: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Density of each bit's codes before the sign.

    Losses leave codes at different scales, which the sign does not see. So the unit is the mean size of all entries:
    binary codes are at -1 and +1. What lies beyond ±limit is counted in the outermost bins.

    Args:
        codes: (N, K) before the sign.
        bins: number of bins.
        limit: end of the last bin, in mean sizes.

    Returns:
        The density (K, bins) float64, each row with area 1, and the edges of the bins (bins + 1,).

    Example:
        >>> density, edges = bit_histograms(np.array([[3.0, -1.0], [1.0, -3.0]]), bins=4, limit=2.0)
        >>> print(density, edges)
        [[0.  0.  0.5 0.5]
         [0.5 0.5 0.  0. ]] [-2. -1.  0.  1.  2.]
    """
    codes = as_codes(codes).astype(np.float64)
    edges = np.linspace(-limit, limit, bins + 1)
    mean_size = np.abs(codes).mean() or 1.0  # codes of zeros stay as they are
    scaled = (codes / mean_size).clip(-limit, limit)
    densities = [np.histogram(bit, edges, density=True)[0] for bit in scaled.T]
    return np.stack(densities), edges


def principal_components(codes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two directions in which codes (N, K) before the sign vary most.

    Returns:
        The mean code (K,), so that a point is `(code - mean) @ directions.T`; the directions (2, K), orthonormal, each
        with its largest entry positive; and the share of the variance along each, (2,).

    Example:
        >>> mean, directions, share = principal_components(np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 3.0]]))
        >>> print(mean, directions, share)
        [1. 1.] [[0. 1.]
         [1. 0.]] [1. 0.]
    """
    codes = as_codes(codes).astype(np.float64)
    variances, columns = np.linalg.eigh(np.cov(codes.T, bias=True))  # from the smallest variance to the largest
    directions = columns.T[:-3:-1]  # (2, K), the largest variance first
    total_variance = variances.sum() or 1.0
    share = variances[:-3:-1] / total_variance
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)  # (2, 1)
    return codes.mean(0), directions * np.sign(largest) + 0.0, share


def _labels(targets, items: int, classes: int) -> np.ndarray:
    """Which item has which class: (N, C) booleans of targets (N, C) multi-hot; a ValueError for another shape."""
    labels = as_array(targets) != 0
    if labels.shape != (items, classes):
        raise ValueError(f"targets have shape {labels.shape}; allowed: {(items, classes)}")
    return labels


def _redundant_bits(codes) -> tuple[np.ndarray, np.ndarray]:
    from relahash_nb.centroids import redundant_bits  # loads torch, which arrays do without

    return redundant_bits(sign_bits(codes))


def _histogram_mean(counts: np.ndarray) -> float:
    """Mean distance of a histogram (K + 1,); NaN where nothing was counted."""
    if not counts.any():
        return np.nan
    return float(counts @ np.arange(len(counts)) / counts.sum())

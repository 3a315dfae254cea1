"""How codes before the sign are spread: bit by bit, and in the two directions in which they differ most."""

from __future__ import annotations

import numpy as np

from relahash_nb.metrics.arguments import as_array, check_codes, check_integer


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

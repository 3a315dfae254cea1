"""Rankings by distances that are no counts of bits: each different distance is a level, whose items are tied.

Distances are float64. Two items with the same code are at the same distance to the last digit, wherever they stand.
"""

from collections.abc import Iterator

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_name, check_width
from relahash_nb.metrics.codes import as_array, as_codes, binarize, hamming_distances

DISTANCES = ("hamming", "asymmetric", "cosine")

_PAIRS_AT_A_TIME = 1 << 20  # of a query and an item, so that the intermediate tables stay small


def code_distances(query_codes, database_codes, distance: str = "hamming") -> np.ndarray:
    """Distance of each query to each database item; only the order within a query's row has a meaning.

    Args:
        query_codes: (Q, K) floating point or signed integers, a tensor on any device or a NumPy array.
        database_codes: (D, K), likewise.
        distance: "hamming": the bits that differ, 0 to K. "asymmetric": −z·b, the query's codes z before the sign
            against the item's bits b, ±1. "cosine": −z·w/‖w‖ of both codes before the sign, which orders the items as
            their angle to the query does; codes w of zeros count as at a right angle.

    Returns:
        (Q, D) int32 for "hamming", else float64.

    Raises:
        ValueError: a name that is not allowed, widths that differ, or codes that are not finite.

    Example:
        >>> database = np.array([[1, 1], [1, -1]])
        >>> print(code_distances(np.array([[0.5, 2.0]]), database, "asymmetric"))
        [[-2.5  1.5]]
    """
    check_name("distance", distance, DISTANCES)
    if distance == "hamming":
        return hamming_distances(query_codes, database_codes)
    check_width("codes", query_codes, database_codes)
    items, places = distinct_items(database_codes, distance)
    return _products(query_codes, items)[:, places]


def distinct_items(database_codes, distance: str) -> tuple[np.ndarray, np.ndarray]:
    """What the database's codes (D, K) are compared by, each different one once.

    A matrix product may round equal columns differently, so equal items share one column.

    Returns:
        (U, K) float64: bits ±1 for "asymmetric", codes of length 1 for "cosine"; and (D,) the row of each item.
    """
    codes = binarize(database_codes) if distance == "asymmetric" else _finite_codes(database_codes)
    codes = np.ascontiguousarray(codes + 0.0)  # no -0.0, which has other bytes than 0.0
    rows = codes.view(np.dtype((np.void, codes.itemsize * codes.shape[1])))[:, 0]  # a row's bytes as one value
    _, first, places = np.unique(rows, return_index=True, return_inverse=True)
    items = codes[first].astype(np.float64)
    if distance == "cosine":
        norms = np.linalg.norm(items, axis=1, keepdims=True)
        items /= np.where(norms > 0, norms, 1)
    return items, places


def _products(query_codes, items: np.ndarray) -> np.ndarray:
    return -_finite_codes(query_codes).astype(np.float64) @ items.T  # (Q, U)


def _finite_codes(values) -> np.ndarray:
    codes = as_codes(values)
    if not np.isfinite(codes).all():
        raise ValueError("codes hold infinite numbers; allowed: finite ones")
    return codes


def relevance(query_targets, database_targets) -> np.ndarray:
    """Whether each query (Q, C) and each item (D, C), both multi-hot, share a label: (Q, D) bool."""
    check_width("targets", query_targets, database_targets)
    query_labels = (as_array(query_targets) != 0).astype(np.float32)
    item_labels = (as_array(database_targets) != 0).astype(np.float32)
    return query_labels @ item_labels.T > 0


def distance_levels(distances, relevant, ranks: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Count the relevant items and all items at each different distance of each query.

    Args:
        distances: (Q, D) numbers; an item at an infinite distance is left out of the ranking.
        relevant: (Q, D) bool.
        ranks: only the levels that hold the first so many ranks are told apart, at least 1; None: all.

    Returns:
        The relevant items and all items, each (Q, L) int64, the nearest level first; empty levels follow the last one
        of a query, and the last column has all farther items together.

    Raises:
        ValueError: the shapes differ, the distances hold NaN, or `ranks` is below 1.

    Example:
        >>> hits, total = distance_levels([[0.2, 0.1, 0.2, 7.0]], [[True, False, False, True]], ranks=2)
        >>> print(hits, total)
        [[0 1 1]] [[1 2 1]]
    """
    distances, relevant = checked_pairs(distances, relevant)
    check_integer("ranks", 1 if ranks is None else ranks, least=1)
    items = distances.shape[1]
    count = items if ranks is None else min(ranks, items)
    listed = np.isfinite(distances)  # (Q, D)
    relevant = relevant & listed

    nearest = _nearest_items(distances, count)  # (Q, R)
    sorted_distances = np.take_along_axis(distances, nearest, axis=1)
    level = np.zeros(nearest.shape, int)  # (Q, R), from 0
    level[:, 1:] = np.cumsum(sorted_distances[:, 1:] > sorted_distances[:, :-1], axis=1)
    columns = level[:, -1].max() + 2
    total = _count(level, np.take_along_axis(listed, nearest, axis=1), columns)
    hits = _count(level, np.take_along_axis(relevant, nearest, axis=1), columns)

    # The last level may have more items than are among the first; all that are left are farther.
    at_last = distances == sorted_distances[:, -1:]  # (Q, D)
    for counts, counted in ((total, listed), (hits, relevant)):
        last = level[:, -1:]
        np.put_along_axis(counts, last, (at_last & counted).sum(axis=1, keepdims=True), axis=1)
        counts[:, -1] = counted.sum(axis=1) - counts[:, :-1].sum(axis=1)
    return hits, total


def checked_pairs(distances, relevant) -> tuple[np.ndarray, np.ndarray]:
    """Distances (Q, D) and relevance (Q, D) as arrays; a ValueError if they do not fit, or distances hold NaN."""
    distances = as_array(distances)
    relevant = as_array(relevant).astype(bool)
    if distances.ndim != 2 or 0 in distances.shape or distances.shape != relevant.shape:
        shapes = f"{distances.shape} and {relevant.shape}"
        raise ValueError(f"distances and relevant have shapes {shapes}; allowed: both (Q, D), Q and D at least 1")
    if (distances != distances).any():
        raise ValueError("distances hold NaN; allowed: numbers")
    return distances, relevant


def _nearest_items(distances: np.ndarray, count: int) -> np.ndarray:
    """The nearest `count` items of each query, sorted by their distance: (Q, count)."""
    if count == distances.shape[1]:
        return np.argsort(distances, axis=1)
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1)
    return np.take_along_axis(nearest, order, axis=1)


def _count(level: np.ndarray, counted: np.ndarray, columns: int) -> np.ndarray:
    """Count the items (Q, R) of each level: (Q, columns) int64."""
    queries = len(level)
    place = level + np.arange(queries)[:, None] * columns
    return np.bincount(place[counted], minlength=queries * columns).reshape(queries, columns)


def level_blocks(
    query_codes, database_codes, query_targets, database_targets, distance: str, self_matches, ranks: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `distance_levels` of some queries after others; arguments as for `retrieval_scores`, checked before."""
    items, places = distinct_items(database_codes, distance)
    queries = as_array(query_codes)
    labels = as_array(query_targets)
    for rows in row_blocks(len(queries), len(places)):
        distances = _products(queries[rows], items)[:, places]  # (q, D)
        if self_matches is not None:
            own = self_matches[rows]
            has_own = np.flatnonzero(own >= 0)
            distances[has_own, own[has_own]] = np.inf
        yield distance_levels(distances, relevance(labels[rows], database_targets), ranks)


def row_blocks(queries: int, items: int) -> Iterator[slice]:
    """Yield slices of queries whose distances to all items are held at a time."""
    step = max(1, _PAIRS_AT_A_TIME // items)
    for start in range(0, queries, step):
        yield slice(start, start + step)

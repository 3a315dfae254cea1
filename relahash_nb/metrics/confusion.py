"""Which classes a search brings in for which."""

from __future__ import annotations

import numpy as np

from relahash_nb.metrics.arguments import as_array, check_integer
from relahash_nb.metrics.codes import hamming_distances
from relahash_nb.metrics.histograms import distance_histograms

_QUERIES_AT_A_TIME = 128


def retrieval_confusion(query_codes, database_codes, query_targets, database_targets, top_k: int = 100) -> np.ndarray:
    """Share of each class among the nearest items of the queries of each class, as a mean over all orders of ties.

    Args:
        query_codes: (Q, K) floating point or -1 and +1; the sign counts.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype. A query, or an item, of several classes is shared equally among
            them; one without a class counts for none.
        database_targets: (D, C), likewise.
        top_k: nearest items that are looked at, at least 1; more than D: all.

    Returns:
        (C, C) float64: a row for the queries' class, a column for the items'. A row sums to 1 where all items have a
        class; the row of a class without a query is NaN.

    Raises:
        ValueError: shapes that do not match, codes that `binarize` refuses, `top_k` below 1.

    Example:
        The nearest two: one item of the query's class at distance 0, and one of the two at distance 1.

        >>> database = np.array([[1, 1], [1, -1], [-1, 1]])
        >>> retrieval_confusion(np.array([[1, 1]]), database, np.array([[1, 0]]), np.eye(2)[[0, 0, 1]], top_k=2)[0]
        array([0.75, 0.25])
    """
    check_integer("top_k", top_k, least=1)
    _, total = distance_histograms(query_codes, database_codes, query_targets, database_targets)  # (Q, K + 1)
    top_k = min(top_k, len(database_codes))
    nearer = np.cumsum(total, axis=1) - total  # (Q, K + 1), items before those at each distance
    chance = np.clip(top_k - nearer, 0, total) / np.maximum(total, 1) / top_k  # (Q, K + 1), of an item to be among them
    queries, items = _shares(query_targets), _shares(database_targets)  # (Q, C), (D, C)
    codes = as_array(query_codes)
    confusion = np.zeros((queries.shape[1], items.shape[1]))
    for start in range(0, len(codes), _QUERIES_AT_A_TIME):
        rows = slice(start, start + _QUERIES_AT_A_TIME)
        distances = np.asarray(hamming_distances(codes[rows], as_array(database_codes)))  # (q, D)
        confusion += queries[rows].T @ (np.take_along_axis(chance[rows], distances, axis=1) @ items)
    count = queries.sum(0)[:, None]
    return np.divide(confusion, count, out=np.full_like(confusion, np.nan), where=count > 0)


def _shares(targets) -> np.ndarray:
    labels = (as_array(targets) != 0).astype(np.float64)
    return labels / np.maximum(labels.sum(1, keepdims=True), 1)

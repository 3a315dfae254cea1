"""Retrieval scores of binary codes, from histograms of Hamming distances; see `ties` for how ties are treated."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from relahash_nb.metrics import checks
from relahash_nb.metrics.codes import as_array, distance_histograms, hamming_distances
from relahash_nb.metrics.ties import average_precision

EMPTY_BALLS = {"zero": 0.0, "skip": np.nan}  # what a query counts as that has no item so near

_QUERIES_AT_A_TIME = 1024  # scored together, so that the intermediate tables stay small


def retrieval_scores(
    query_codes,
    database_codes,
    query_targets,
    database_targets,
    top_k: int | None = None,
    denominator: str = "retrieved",
    *,
    self_matches=None,
) -> RetrievalScores:
    """Rank the database by Hamming distance to each query, and score the rankings.

    Args:
        query_codes: (Q, K) floating point or -1 and +1, a tensor on any device or a NumPy array; the sign counts.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype; a value other than 0 is a label.
        database_targets: (D, C), likewise. An item is relevant when it shares a label with the query.
        top_k: ranks that average precision counts, at least 1; None or more than D: all.
        denominator: "retrieved" divides the sum of precisions by the relevant items within `top_k`, as published
            hashing code does; "relevant" by the smaller of `top_k` and all relevant items.
        self_matches: (Q,) integers, the index in the database of each query's own item, -1 for none; that item
            is left out of the ranking. None: no query is in the database.

    Raises:
        ValueError: a name that is not allowed, `top_k` below 1, or what `distance_histograms` refuses.

    Example:
        Of two items at distance 0 one is relevant, so average precision is 1 or 1/2:

        >>> codes, targets = np.array([[1, 1], [1, 1], [1, -1]]), np.eye(2)[[0, 1, 1]]
        >>> scores = retrieval_scores(codes[:1], codes, targets[:1], targets)
        >>> scores.mean_average_precision, scores.best, scores.worst
        (0.75, 1.0, 0.5)
    """
    histograms = distance_histograms(
        query_codes, database_codes, query_targets, database_targets, self_matches=self_matches
    )
    starts = range(0, len(query_codes), _QUERIES_AT_A_TIME)
    blocks = [[counts[start : start + _QUERIES_AT_A_TIME] for counts in histograms] for start in starts]
    scores = np.hstack([average_precision(*block, top_k, denominator) for block in blocks])  # (3, Q)
    return RetrievalScores(*map(_mean, scores), scores[0], *histograms)


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """Scores of Q queries; its methods compute more from the stored histograms, when they are called.

    What a method returns is a mean over the queries, 0 to 1; where it depends on the order of tied items, it is the
    exact expectation over all orders. A query without a relevant item counts as 0. Ranks and radii may be an integer,
    which gives a float, or a sequence, which gives an array; others are a ValueError.

    Example:
        >>> codes, targets = np.array([[1, 1], [1, 1], [1, -1]]), np.eye(2)[[0, 1, 0]]
        >>> scores = retrieval_scores(codes[:1], codes, targets[:1], targets)
        >>> scores.precision_at(1), scores.precision_within(0), scores.recall_within(0)
        (0.5, 0.5, 0.5)
    """

    mean_average_precision: float  # 0 to 1, the expectation over all orders of tied items
    best: float  # the highest mean average precision of any order
    worst: float  # the lowest
    average_precision: np.ndarray = field(repr=False)  # (Q,) float64, likewise an expectation
    relevant: np.ndarray = field(repr=False)  # (Q, K + 1) int64, relevant items at Hamming distance 0 to K
    total: np.ndarray = field(repr=False)  # (Q, K + 1) int64, all items there

    def precision_at(self, n):
        """Relevant share of the first n ≥ 1 ranks; where the ranking is shorter, all of it counts."""
        checks.integer("n", n, least=1)
        # Between two distances the expected number of relevant items grows in a straight line.
        seen, hits = (np.pad(np.cumsum(counts, 1), ((0, 0), (1, 0))) for counts in (self.total, self.relevant))
        found = np.stack([np.interp(np.atleast_1d(n), *curve) for curve in zip(seen, hits, strict=True)])  # (Q, n)
        return _mean(found / np.minimum(n, seen[:, -1:]).clip(1), n)

    def precision_within(self, radius=2, empty_ball: str = "zero"):
        """Relevant share of the items at most `radius` ≥ 0 bits away: precision of a hash table look-up.

        A query without any item so near counts as 0, or with `empty_ball` "skip" not at all; NaN if all are skipped.
        """
        checks.name("empty_ball", empty_ball, EMPTY_BALLS)
        found, items = self._within(self.relevant, radius), self._within(self.total, radius)
        return _mean(np.where(items > 0, found / items.clip(1), EMPTY_BALLS[empty_ball]), radius)

    def recall_within(self, radius=2):
        """Share of the relevant items that are at most `radius` ≥ 0 bits away; 0 for a query without any."""
        goal = self.relevant.sum(1)[:, None]  # (Q, 1)
        return _mean(self._within(self.relevant, radius) / goal.clip(1), radius)

    def _within(self, counts: np.ndarray, radius) -> np.ndarray:
        checks.integer("radius", radius, least=0)
        return np.cumsum(counts, 1)[:, np.minimum(np.atleast_1d(radius), counts.shape[1] - 1)]


def retrieval_confusion(query_codes, database_codes, query_targets, database_targets, top_k: int = 100) -> np.ndarray:
    """Share of each class among the nearest items of the queries of each class, as a mean over all orders of ties.

    Arguments are as for `retrieval_scores`; a query, or an item, of several classes is shared equally among them.
    (C, C) float64: a row for the queries' class, a column for the items'. A row sums to 1 where all items have a class;
    the row of a class without a query is NaN.

    Example:
        >>> database = np.array([[1, 1], [1, -1], [-1, 1]])
        >>> retrieval_confusion(np.array([[1, 1]]), database, np.array([[1, 0]]), np.eye(2)[[0, 0, 1]], top_k=2)[0]
        array([0.75, 0.25])
    """
    checks.integer("top_k", top_k, least=1)
    _, total = distance_histograms(query_codes, database_codes, query_targets, database_targets)  # (Q, K + 1)
    top_k = min(top_k, len(database_codes))
    nearer = np.cumsum(total, axis=1) - total  # (Q, K + 1), items before those at each distance
    chance = np.clip(top_k - nearer, 0, total) / np.maximum(total, 1) / top_k  # (Q, K + 1), of an item to be among them
    queries, items = _shares(query_targets), _shares(database_targets)  # (Q, C), (D, C)
    codes, database = as_array(query_codes), as_array(database_codes)
    confusion = np.zeros((queries.shape[1], items.shape[1]))
    for start in range(0, len(codes), 128):
        rows = slice(start, start + 128)
        distances = hamming_distances(codes[rows], database)  # (q, D)
        confusion += queries[rows].T @ (np.take_along_axis(chance[rows], distances, axis=1) @ items)
    count = queries.sum(0)[:, None]
    return confusion / np.where(count > 0, count, np.nan)


def _shares(targets) -> np.ndarray:
    labels = (as_array(targets) != 0).astype(np.float64)
    return labels / np.maximum(labels.sum(1, keepdims=True), 1)


def _mean(values: np.ndarray, like=0):
    """Mean over the queries that are not NaN: a float where `like` is a number, else an array."""
    counted = ~np.isnan(values)
    mean = np.where(counted, values, 0).sum(0) / np.where(counted.any(0), counted.sum(0), np.nan)
    return mean if np.ndim(like) else mean.item()

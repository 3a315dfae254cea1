"""Retrieval scores of binary codes: one call, one object, every number the papers report.

The scores follow from histograms of Hamming distances; see `ties` for how ties are treated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from relahash_nb.metrics.arguments import check_integer, check_name
from relahash_nb.metrics.histograms import BLOCK_SIZE, Pairs
from relahash_nb.metrics.ties import DENOMINATORS, average_precision

TIES = ("expected", "best", "worst", "index")
UNDEFINED = {"zero": 0.0, "one": 1.0, "skip": np.nan}  # what a query counts as where a score is 0/0
GAINS = {"exponential": lambda shared: 2.0**shared - 1, "linear": lambda shared: 1.0 * shared}

_QUERIES_AT_A_TIME = 1024  # scored together, so that the intermediate tables stay small


def retrieval_scores(
    query_codes,
    database_codes,
    query_targets,
    database_targets,
    top_k: int | None = None,
    ties: str = "expected",
    denominator: str = "retrieved",
    *,
    without_relevant: str = "zero",
    self_matches=None,
    block_size: int = BLOCK_SIZE,
) -> RetrievalScores:
    """Rank the database by Hamming distance to each query, and score the rankings.

    Memory beside the arguments: the packed codes and targets, one histogram a query, and `block_size`.

    Args:
        query_codes: (Q, K) floating point or -1 and +1, a tensor on any device or a NumPy array; the sign counts.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype; a value other than 0 is a label.
        database_targets: (D, C), likewise. An item is relevant when it shares a label with the query.
        top_k: ranks that average precision counts, at least 1; None or more than D: all.
        ties: order of the items at one distance: "expected" (the exact mean over all orders), "best" or "worst"
            (the orders with the highest and the lowest average precision), or "index" (as in the database).
        denominator: "retrieved" divides the sum of precisions by the relevant items within `top_k`, as published
            hashing code does; "relevant" by the smaller of `top_k` and all relevant items.
        without_relevant: what a query without any relevant item counts as: "zero", "one", or "skip" (its
            average precision is NaN, and means are over the other queries). A query with relevant items of which
            none is within `top_k` always has average precision 0.
        self_matches: (Q,) integers, the index in the database of each query's own item, -1 for none; that item
            is left out of the ranking. None: no query is in the database.
        block_size: database items compared at a time, at least 1.

    Returns:
        The scores, as NumPy arrays and floats.

    Raises:
        ValueError: a name that is not allowed, `top_k` below 1, shapes that do not match, codes that `binarize`
            refuses, targets with NaN, a self match outside the database.

    Example:
        Of two items at distance 0 one is relevant, so average precision is 1 or 1/2:

        >>> scores = retrieval_scores(
        ...     np.array([[1, 1]]), np.array([[1, 1], [1, 1], [1, -1]]), np.array([[1, 0]]), np.eye(2)[[0, 1, 1]]
        ... )
        >>> scores.mean_average_precision, scores.best, scores.worst
        (0.75, 1.0, 0.5)
    """
    check_integer("top_k", 1 if top_k is None else top_k, least=1)
    check_name("ties", ties, TIES)
    check_name("denominator", denominator, DENOMINATORS)
    check_name("without_relevant", without_relevant, UNDEFINED)
    pairs = Pairs.of(query_codes, database_codes, query_targets, database_targets, self_matches, block_size)
    counts = pairs.count(grades=1)  # (Q, 2, K + 1)
    relevant, total = counts[:, 1], counts.sum(1)  # (Q, K + 1)
    blocks = [slice(start, start + _QUERIES_AT_A_TIME) for start in range(0, len(total), _QUERIES_AT_A_TIME)]
    scores = [average_precision(relevant[rows], total[rows], top_k, denominator) for rows in blocks]
    orders = dict(zip(TIES, np.hstack(scores), strict=False))  # each (Q,)
    if ties == "index":
        orders["index"] = _index_order(pairs, top_k, denominator)
    for order in orders.values():
        order[relevant.sum(1) == 0] = UNDEFINED[without_relevant]
    return RetrievalScores(
        mean_average_precision=_mean(orders[ties]),
        best=_mean(orders["best"]),
        worst=_mean(orders["worst"]),
        top_k=top_k,
        ties=ties,
        denominator=denominator,
        without_relevant=without_relevant,
        average_precision=orders[ties],
        relevant=relevant,
        total=total,
        pairs=pairs,
    )


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """Scores of Q queries; its methods compute more from the stored histograms, when they are called.

    What a method returns is a mean over the queries, and exact whatever `ties` is: where a score depends on the
    order of tied items it is the expectation over all orders. Ranks and radii may be an integer, which gives a
    float, or a sequence of them, which gives an array.

    Attributes:
        mean_average_precision: float, 0 to 1, for the order of ties in `ties`.
        best: highest mean average precision of any order of tied items.
        worst: lowest.
        top_k: as given to `retrieval_scores`, like `ties`, `denominator` and `without_relevant`.
        average_precision: (Q,) float64, for the order of ties in `ties`.
        relevant: (Q, K + 1) int64, relevant items at Hamming distance 0 to K from each query.
        total: (Q, K + 1) int64, all items there.
        pairs: the packed codes and targets, for scores that need finer counts.

    Example:
        At distance 0 one item of two is relevant, at distance 1 the only one:

        >>> scores = retrieval_scores(
        ...     np.array([[1, 1]]), np.array([[1, 1], [1, 1], [1, -1]]), np.array([[1, 0]]), np.eye(2)[[0, 1, 0]]
        ... )
        >>> scores.precision_at(1), scores.recall_at(1), scores.precision_within(0), scores.recall_within(0)
        (0.5, 0.25, 0.5, 0.5)
        >>> precision, recall = scores.precision_recall_curve()
        >>> print(precision.round(4), recall)
        [0.5    0.6667 0.6667] [0.5 1.  1. ]
        >>> round(scores.ndcg_at(3), 4)
        0.8066
    """

    mean_average_precision: float
    best: float
    worst: float
    top_k: int | None
    ties: str
    denominator: str
    without_relevant: str
    average_precision: np.ndarray = field(repr=False)
    relevant: np.ndarray = field(repr=False)
    total: np.ndarray = field(repr=False)
    pairs: Pairs = field(repr=False)

    def precision_at(self, n):
        """Relevant share of the first n ranks.

        Args:
            n: ranks, at least 1; where the ranking is shorter, all of it counts.

        Returns:
            0 to 1. A query without relevant items has 0.

        Raises:
            ValueError: n below 1 or not an integer.
        """
        ranks = np.minimum(n, self.total.sum(1)[:, None])  # (Q, n)
        return _mean(self._hits_at(n) / ranks.clip(1), n)

    def recall_at(self, n):
        """Share of the relevant items that are within the first n ranks.

        Args:
            n: ranks, at least 1.

        Returns:
            0 to 1. A query without relevant items counts as `without_relevant` says.

        Raises:
            ValueError: n below 1 or not an integer.
        """
        return self._recall(self._hits_at(n), n)

    def precision_within(self, radius=2, empty_ball: str = "zero"):
        """Relevant share of the items at most `radius` bits away: precision of a hash table look-up.

        Args:
            radius: 0 or more bits.
            empty_ball: what a query without any item so near counts as: "zero", "one" or "skip".

        Returns:
            0 to 1; NaN where all queries are skipped.

        Raises:
            ValueError: a radius below 0 or not an integer, or another name.
        """
        check_name("empty_ball", empty_ball, UNDEFINED)
        found, items = self._within(self.relevant, radius), self._within(self.total, radius)
        return _mean(np.where(items > 0, found / items.clip(1), UNDEFINED[empty_ball]), radius)

    def recall_within(self, radius=2):
        """Share of the relevant items that are at most `radius` bits away.

        Args:
            radius: 0 or more bits.

        Returns:
            0 to 1. A query without relevant items counts as `without_relevant` says.

        Raises:
            ValueError: a radius below 0 or not an integer.
        """
        return self._recall(self._within(self.relevant, radius), radius)

    def precision_recall_curve(self, empty_ball: str = "zero"):
        """Precision and recall within each Hamming radius.

        Args:
            empty_ball: as `precision_within`; "skip" keeps empty balls from bending the curve at small radii.

        Returns:
            Precision and recall, each (K + 1,), for radius 0 to K.

        Raises:
            ValueError: another name.
        """
        radii = np.arange(self.total.shape[1])
        return self.precision_within(radii, empty_ball), self.recall_within(radii)

    def ndcg_at(self, n: int, gains: str = "exponential") -> float:
        """Normalized discounted cumulative gain of the first n ranks: relevance in grades, for several labels.

        An item gains by the labels it shares with the query, over log2(1 + rank); the sum is divided by that of
        the ideal ranking. Tie-aware as in McSherry & Najork (2008). Counts the database once more.

        Args:
            n: ranks, at least 1.
            gains: gain of s shared labels: "exponential", 2**s - 1 (as hashing papers have it), or "linear", s.

        Returns:
            0 to 1. A query without relevant items counts as `without_relevant` says.

        Raises:
            ValueError: n below 1 or not an integer, or another name.
        """
        check_integer("n", n, least=1)
        check_name("gains", gains, GAINS)
        counts = self.pairs.count(grades=self.pairs.most_labels())  # (Q, G + 1, K + 1)
        gain = GAINS[gains](np.arange(counts.shape[1]))  # (G + 1,)
        ranked = _discounted(np.einsum("g,qgk->qk", gain, counts), counts.sum(1), n)  # (Q,)
        graded = counts.sum(2)[:, ::-1]  # (Q, G + 1), most shared labels first
        ideal = _discounted(gain[::-1] * graded, graded, n)  # (Q,)
        return _mean(np.where(ideal > 0, ranked / np.where(ideal > 0, ideal, 1), UNDEFINED[self.without_relevant]))

    def _hits_at(self, n) -> np.ndarray:
        check_integer("n", n, least=1)
        # Between two distances the expected number of relevant items grows in a straight line.
        ranks, hits = (np.pad(np.cumsum(counts, 1), ((0, 0), (1, 0))) for counts in (self.total, self.relevant))
        return np.stack([np.interp(np.atleast_1d(n), *curve) for curve in zip(ranks, hits, strict=True)])

    def _within(self, counts: np.ndarray, radius) -> np.ndarray:
        check_integer("radius", radius, least=0)
        return np.cumsum(counts, 1)[:, np.minimum(np.atleast_1d(radius), counts.shape[1] - 1)]

    def _recall(self, found: np.ndarray, like):
        goal = self.relevant.sum(1)[:, None]
        return _mean(np.where(goal > 0, found / goal.clip(1), UNDEFINED[self.without_relevant]), like)


def _index_order(pairs: Pairs, top_k: int | None, denominator: str) -> np.ndarray:
    """Average precision (Q,) with tied items in the order of the database: the one case that needs a sort."""
    scores = np.empty(len(pairs.query_codes))
    for query in range(len(scores)):
        distances, relevant = pairs.row(query)  # (D,), (D,)
        ranked = relevant[np.argsort(distances, kind="stable")[:top_k]]
        precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
        goal = ranked.sum() if denominator == "retrieved" else min(len(ranked), relevant.sum())
        scores[query] = precision[ranked].sum() / max(goal, 1)
    return scores


def _discounted(gain: np.ndarray, items: np.ndarray, n: int) -> np.ndarray:
    """Expected gain (Q,) of the first n ranks over log2(1 + rank), from the gain and the items (Q, L) of each level."""
    stop = np.cumsum(items, 1)
    discount = np.cumsum(np.pad(1 / np.log2(np.arange(2, min(n, stop.max()) + 2)), (1, 0)))
    spread = discount[np.minimum(stop, n)] - discount[np.minimum(stop - items, n)]
    return (gain / items.clip(1) * spread).sum(1)


def _mean(values: np.ndarray, like=0):
    """Mean over the queries that are not NaN: a float where `like` is a number, else an array."""
    counted = ~np.isnan(values)
    mean = np.where(counted, values, 0).sum(0) / np.where(counted.any(0), counted.sum(0), np.nan)
    return mean if np.ndim(like) else mean.item()

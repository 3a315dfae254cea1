"""Retrieval scores of codes, from the counts of items at each distance; see `ties` for how ties are treated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_name
from relahash_nb.metrics.codes import as_array, hamming_distances
from relahash_nb.metrics.histograms import check_arrays, distance_histograms
from relahash_nb.metrics.levels import DISTANCES, checked_pairs, distance_levels, level_blocks, row_blocks
from relahash_nb.metrics.ties import average_precision

EMPTY_BALLS = {"zero": 0.0, "skip": np.nan}  # the precision of a query that has no item within the radius

KEPT_LEVELS = 1000  # of a ranking by other distances than Hamming's, where nearly every item is a level of its own

_QUERIES_AT_A_TIME = 1024  # scored together, so that the intermediate tables stay small
_CONFUSION_QUERIES = 128  # likewise, where all distances are held


def retrieval_scores(  # noqa: PLR0913  # four arrays, and by name how they are ranked and counted
    query_codes,
    database_codes,
    query_targets,
    database_targets,
    top_k: int | None = None,
    denominator: str = "retrieved",
    *,
    self_matches=None,
    distance: str = "hamming",
) -> RetrievalScores:
    """Rank the database by the distance to each query, and score the rankings.

    Args:
        query_codes: (Q, K) floating point or -1 and +1, a tensor on any device or a NumPy array.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype; a value other than 0 is a label.
        database_targets: (D, C), likewise. An item is relevant when it shares a label with the query.
        top_k: ranks that average precision counts, at least 1; None or more than D: all.
        denominator: "retrieved" divides the sum of precisions by the relevant items within `top_k`, as published
            hashing code does; "relevant" by the smaller of `top_k` and all relevant items.
        self_matches: (Q,) integers, the index in the database of each query's own item, -1 for none; that item
            is left out of the ranking. None: no query is in the database.
        distance: "hamming" between the signs of both; "asymmetric" between the query's codes before the sign and the
            database's bits, −z·b, which costs no byte more in the database; "cosine" between both before the sign.
            Items at the same distance are tied, whichever it is.

    Raises:
        ValueError: a name that is not allowed, `top_k` below 1, or what `distance_histograms` refuses; for the other
            distances also codes that are not finite.

    Example:
        Of two items at distance 0 one is relevant, so average precision is 1 or 1/2. The first bit of the third item
        is the one that the query is less sure of:

        >>> codes, targets = np.array([[0.2, 3], [1, 1], [-1, 1]]), np.eye(2)[[0, 1, 1]]
        >>> scores = retrieval_scores(codes[:1], codes, targets[:1], targets)
        >>> scores.mean_average_precision, scores.best, scores.worst
        (0.75, 1.0, 0.5)
        >>> retrieval_scores(codes[:1], codes, targets[:1], targets, distance="cosine").mean_average_precision
        1.0
    """
    check_name("distance", distance, DISTANCES)
    arrays = (query_codes, database_codes, query_targets, database_targets)
    blocks: Iterable[tuple[np.ndarray, np.ndarray]]
    if distance == "hamming":
        blocks = _cut_into_blocks(*distance_histograms(*arrays, self_matches=self_matches))
    else:
        matches = check_arrays(*arrays, self_matches=self_matches)
        blocks = level_blocks(*arrays, distance, matches, _ranks_to_tell_apart(top_k))
    return _score_blocks(blocks, top_k, denominator, distance)


def distance_scores(distances, relevant, top_k: int | None = None, denominator: str = "retrieved") -> RetrievalScores:
    """Score rankings by distances that are given, such as those of another library's index.

    Args:
        distances: (Q, D) numbers, of which equal ones are tied; an item at an infinite distance is left out.
        relevant: (Q, D) bool.
        top_k: as for `retrieval_scores`.
        denominator: as for `retrieval_scores`.

    Raises:
        ValueError: the shapes differ, the distances hold NaN, or what `retrieval_scores` refuses.

    Example:
        >>> distance_scores([[0.2, 0.1, 0.2]], [[True, False, False]]).mean_average_precision  # rank 2 or 3
        0.41666666666666663
    """
    distances, relevant = checked_pairs(distances, relevant)
    ranks = _ranks_to_tell_apart(top_k)
    blocks = (distance_levels(distances[rows], relevant[rows], ranks) for rows in row_blocks(*distances.shape))
    return _score_blocks(blocks, top_k, denominator, "given")


def _ranks_to_tell_apart(top_k: int | None) -> int | None:
    check_integer("top_k", 1 if top_k is None else top_k, least=1)
    return None if top_k is None else max(top_k, KEPT_LEVELS)


def _cut_into_blocks(relevant: np.ndarray, total: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(relevant), _QUERIES_AT_A_TIME):
        rows = slice(start, start + _QUERIES_AT_A_TIME)
        yield relevant[rows], total[rows]


def _score_blocks(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]], top_k: int | None, denominator: str, distance: str
) -> RetrievalScores:
    """Score the queries of all blocks; each has the relevant items and all items at each distance, (q, L)."""
    scored = []
    kept = []
    for relevant, total in blocks:
        scored.append(average_precision(relevant, total, top_k, denominator))
        kept.append((relevant, total) if distance == "hamming" else (_first_levels(relevant), _first_levels(total)))
    expected, best, worst = np.hstack(scored)  # (Q,) each
    return RetrievalScores(
        mean_average_precision=_mean(expected).item(),
        best=_mean(best).item(),
        worst=_mean(worst).item(),
        average_precision=expected,
        relevant=_stack([relevant for relevant, _ in kept]),
        total=_stack([total for _, total in kept]),
        distance=distance,
    )


def _first_levels(counts: np.ndarray) -> np.ndarray:
    """The counts (q, L) of the nearest levels, and of all farther ones together."""
    return np.column_stack([counts[:, :KEPT_LEVELS], counts[:, KEPT_LEVELS:].sum(axis=1)])


def _stack(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks (q, L) one below the other; the narrower ones get empty levels at the end."""
    width = max(block.shape[1] for block in blocks)
    return np.concatenate([np.pad(block, ((0, 0), (0, width - block.shape[1]))) for block in blocks])


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
    # (Q, K + 1) int64, relevant items at Hamming distance 0 to K; of other rankings (Q, L), those at the nearest
    # different distances, at most `KEPT_LEVELS`, and in the last column all farther ones
    relevant: np.ndarray = field(repr=False)
    total: np.ndarray = field(repr=False)  # likewise, all items
    distance: str = "hamming"  # what was ranked by, one of `DISTANCES` or "given"

    def precision_at(self, n):
        """Relevant share of the first n ≥ 1 ranks; where the ranking is shorter, all of it counts.

        By another distance than Hamming's, n is at most `KEPT_LEVELS`.
        """
        return _as_asked(_mean(self.precision_of_queries(n)), n)

    def precision_of_queries(self, n) -> np.ndarray:
        """Likewise, of each query: (Q, 1), or (Q, N) for a sequence of N ranks."""
        check_integer("n", n, least=1)
        if self.distance != "hamming" and np.max(n) > KEPT_LEVELS:
            raise ValueError(f"n is {n!r}; allowed for the distance {self.distance}: 1 to {KEPT_LEVELS}")
        ranks = np.atleast_1d(n)
        # Between two distances the expected number of relevant items grows in a straight line.
        seen = _counts_from_zero(self.total)
        hits = _counts_from_zero(self.relevant)
        found = [np.interp(ranks, *curve) for curve in zip(seen, hits, strict=True)]
        counted_ranks = np.minimum(ranks, seen[:, -1:]).clip(1)  # (Q, N)
        return np.stack(found) / counted_ranks

    def precision_within(self, radius=2, empty_ball: str = "zero"):
        """Relevant share of the items at most `radius` ≥ 0 bits away: precision of a hash table look-up.

        A query without any item so near counts as 0, or with `empty_ball` "skip" not at all; NaN if all are skipped.
        """
        check_name("empty_ball", empty_ball, EMPTY_BALLS)
        self._check_has_bits()
        found = _counts_within(self.relevant, radius)
        items = _counts_within(self.total, radius)
        precision = np.where(items > 0, found / items.clip(1), EMPTY_BALLS[empty_ball])  # (Q, radii)
        return _as_asked(_mean(precision), radius)

    def recall_within(self, radius=2):
        """Share of the relevant items that are at most `radius` ≥ 0 bits away; 0 for a query without any."""
        self._check_has_bits()
        all_relevant = self.relevant.sum(1)[:, None]  # (Q, 1)
        recall = _counts_within(self.relevant, radius) / all_relevant.clip(1)  # (Q, radii)
        return _as_asked(_mean(recall), radius)

    def _check_has_bits(self) -> None:
        if self.distance != "hamming":
            raise ValueError(f"distance is {self.distance!r}; allowed for a radius in bits: hamming")


def _counts_from_zero(counts: np.ndarray) -> np.ndarray:
    """Items before each distance, and all at the end: (Q, K + 2)."""
    return np.pad(np.cumsum(counts, 1), ((0, 0), (1, 0)))


def _counts_within(counts: np.ndarray, radius) -> np.ndarray:
    """Items at most as far away as each radius: (Q, radii)."""
    check_integer("radius", radius, least=0)
    largest = counts.shape[1] - 1
    return np.cumsum(counts, 1)[:, np.minimum(np.atleast_1d(radius), largest)]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the queries, the first axis, of those that are not NaN; NaN where all are."""
    counted = ~np.isnan(values)
    number = np.where(counted.any(0), counted.sum(0), np.nan)
    return np.where(counted, values, 0).sum(0) / number


def _as_asked(means: np.ndarray, asked):
    """Return a float where one number was asked for, else the array."""
    return means if np.ndim(asked) else means.item()


def retrieval_confusion(query_codes, database_codes, query_targets, database_targets, top_k: int = 100) -> np.ndarray:
    """Share of each class among the nearest items of the queries of each class, as a mean over all orders of ties.

    Args:
        query_codes: (Q, K); this and the next three are as for `retrieval_scores`.
        database_codes: (D, K).
        query_targets: (Q, C). A query of several classes is shared equally among them.
        database_targets: (D, C). So is an item.
        top_k: the nearest items that count, at least 1.

    Returns:
        (C, C) float64: a row for the queries' class, a column for the items'. A row sums to 1 where all items have a
        class; the row of a class without a query is NaN.

    Raises:
        ValueError: `top_k` is below 1, or what `distance_histograms` refuses.

    Example:
        >>> database = np.array([[1, 1], [1, -1], [-1, 1]])
        >>> retrieval_confusion(np.array([[1, 1]]), database, np.array([[1, 0]]), np.eye(2)[[0, 0, 1]], top_k=2)[0]
        array([0.75, 0.25])
    """
    check_integer("top_k", top_k, least=1)
    _, total = distance_histograms(query_codes, database_codes, query_targets, database_targets)  # (Q, K + 1)
    top_k = min(top_k, len(database_codes))
    nearer = np.cumsum(total, axis=1) - total  # (Q, K + 1), items before those at each distance
    slots = np.clip(top_k - nearer, 0, total)  # (Q, K + 1), ranks that the items at each distance share
    weight = slots / np.maximum(total, 1) / top_k  # (Q, K + 1), what one item adds to its class

    query_shares = _class_shares(query_targets)  # (Q, C)
    item_shares = _class_shares(database_targets)  # (D, C)
    codes = as_array(query_codes)
    database = as_array(database_codes)
    confusion = np.zeros((query_shares.shape[1], item_shares.shape[1]))
    for start in range(0, len(codes), _CONFUSION_QUERIES):
        rows = slice(start, start + _CONFUSION_QUERIES)
        distances = hamming_distances(codes[rows], database)  # (q, D)
        item_weights = np.take_along_axis(weight[rows], distances, axis=1)  # (q, D)
        confusion += query_shares[rows].T @ (item_weights @ item_shares)
    queries_of_class = query_shares.sum(0)[:, None]
    return confusion / np.where(queries_of_class > 0, queries_of_class, np.nan)


def _class_shares(targets) -> np.ndarray:
    """Share each item equally among its classes: (N, C) float64."""
    labels = (as_array(targets) != 0).astype(np.float64)
    return labels / np.maximum(labels.sum(1, keepdims=True), 1)

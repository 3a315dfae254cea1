"""Average precision from histograms of Hamming distances, exact over all orders of tied items.

The items at one distance are tied, and a ranking may list them in any order. With n items at a distance, r of them
relevant, and N items of which R are relevant nearer than that, the precision at the relevant items of that distance
adds up to a closed form (McSherry & Najork, "Computing information retrieval performance measures efficiently in
the presence of tied scores", ECIR 2008). Only where `top_k` cuts through a distance and the sum is divided by the
relevant items that were retrieved does the number of these, j, matter: it is hypergeometric.
"""

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_name, check_width
from relahash_nb.metrics.codes import as_array

DENOMINATORS = ("retrieved", "relevant")

_EXACT = 256  # harmonic numbers up to this one come from a table, larger ones from their asymptotic series
_HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _EXACT + 1))])


def average_precision(
    relevant, total, top_k: int | None = None, denominator: str = "retrieved"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision of each query over all orders of tied items; 0 for a query without a relevant item.

    Args:
        relevant: (Q, K + 1) integers, the relevant items at Hamming distance 0 to K.
        total: (Q, K + 1) integers, all items at each distance.
        top_k: as for `retrieval_scores`.
        denominator: as for `retrieval_scores`.

    Returns:
        The expected, the best and the worst average precision, each (Q,) float64.

    Raises:
        ValueError: the shapes differ, `denominator` is not allowed, or `top_k` is below 1.

    Example:
        One relevant item of two at distance 0 is ranked first or second:

        >>> print(*average_precision(np.array([[1, 0]]), np.array([[2, 0]])))
        [0.75] [1.] [0.5]
    """
    check_width("relevant and total", relevant, total)
    check_name("denominator", denominator, DENOMINATORS)
    check_integer("top_k", 1 if top_k is None else top_k, least=1)
    relevant = as_array(relevant)
    total = as_array(total)
    seen = np.cumsum(total, 1)  # (Q, K + 1), items up to each distance
    hits = np.cumsum(relevant, 1)  # (Q, K + 1), relevant ones of them
    nearer = seen - total  # (Q, K + 1), items before each distance
    nearer_hits = hits - relevant
    depth = seen[:, -1] if top_k is None else np.minimum(top_k, seen[:, -1])  # (Q,) ranks that count
    reachable = np.minimum(depth, hits[:, -1])  # (Q,) relevant items that these ranks can hold

    cut = (seen >= depth[:, None]).argmax(1)  # (Q,) the last distance that is ranked, often not whole
    whole = np.arange(seen.shape[1]) < cut[:, None]  # (Q, K + 1)
    adds = whole & (relevant > 0)  # the others add nothing, and real distances have a thousand of them
    rank = _take(nearer, cut)
    found = _take(nearer_hits, cut)
    items = _take(total, cut)
    candidates = _take(relevant, cut)  # relevant items at the cut
    slots = depth - rank  # ranks that the items at the cut share
    least = np.maximum(0, slots - (items - candidates))  # relevant items that find a slot in any order
    most = np.minimum(slots, candidates)

    def scorer(order):
        """Return average precision as a function of the relevant items that find a slot at the cut."""
        precisions = np.zeros(seen.shape)  # their sum at each distance
        precisions[adds] = order(nearer[adds], nearer_hits[adds], total[adds], relevant[adds])
        whole_sum = precisions.sum(1)

        def score(admitted):
            divisor = found + admitted if denominator == "retrieved" else reachable
            return (whole_sum + order(rank, found, slots, admitted)) / np.maximum(divisor, 1)

        return score

    expected = _hypergeometric_mean(scorer(_shuffled), items, candidates, slots)
    # Each further item in front adds more precision than the last, so the highest mean is at an end ...
    first = scorer(_relevant_first)
    best = np.maximum(first(least), first(most))
    # ... and one more item at the back adds to a convex sum, so the lowest mean has a single valley.
    last = scorer(_relevant_last)
    worst = last(_valley(last, least, most))
    return np.clip(expected, worst, best), best, worst  # rounding may have crossed them


def _take(values, columns):
    """Take one column of each row: (Q, K + 1) and (Q,) give (Q,)."""
    return np.take_along_axis(values, columns[:, None], 1)[:, 0]


# Sum of the precision at each relevant item among `items` tied ones, `relevant` of them relevant, that follow `rank`
# items with `hits` relevant: its mean over all orders, and in the best and the worst order.


def _shuffled(rank, hits, items, relevant):
    reciprocals = _reciprocals(rank, items)
    others = (relevant - 1) / np.maximum(items - 1, 1)  # chance that another item is relevant too
    return relevant / np.maximum(items, 1) * ((hits + 1) * reciprocals + others * (items - (rank + 1) * reciprocals))


def _relevant_first(rank, hits, items, relevant):
    return relevant - (rank - hits) * _reciprocals(rank, relevant)


def _relevant_last(rank, hits, items, relevant):
    return _relevant_first(rank + items - relevant, hits, relevant, relevant)


def _reciprocals(rank, count):
    """1/(rank + 1) + … + 1/(rank + count), to the last digit even for the millionth rank."""
    end = rank + count
    head = _HARMONIC[np.minimum(end, _EXACT)] - _HARMONIC[np.minimum(rank, _EXACT)]
    start_half = np.maximum(rank, _EXACT) + 0.5
    end_half = np.maximum(end, _EXACT) + 0.5
    tail = np.log1p((end_half - start_half) / start_half)
    return head + tail + _harmonic_series(end_half) - _harmonic_series(start_half)


def _harmonic_series(x):
    """Return the harmonic number of n less log(n + ½) and Euler's constant, for x = n + ½."""
    return (1 / 24 - 7 / 960 / (x * x)) / (x * x)


def _hypergeometric_mean(score, items, candidates, slots):
    """Mean of score(j) when `slots` of `items` are drawn and j of the `candidates` are among them."""
    spare = items - candidates - slots

    def more(j):
        """Return the probability of j + 1 over that of j."""
        return (candidates - j) * (slots - j) / ((j + 1) * (spare + j + 1))

    def fewer(j):
        """Return the probability of j - 1 over that of j."""
        return j * (spare + j) / ((candidates - j + 1) * (slots - j + 1))

    mode = (slots + 1) * (candidates + 1) // (items + 2)
    mean = score(mode)
    weights = 1.0
    for step, ratio in ((1, more), (-1, fewer)):  # outwards from the likeliest j, until nothing is left to add
        j = mode
        weight = ratio(j)
        while weight.max(initial=0) > 1e-20:
            j = j + step
            mean = mean + weight * score(j)
            weights = weights + weight
            weight = weight * ratio(j)
    return mean / weights


def _valley(score, low, high):
    """Find the j from `low` to `high` at which a score that falls, then rises, is lowest."""
    while (low < high).any():
        middle = (low + high) // 2
        rises = score(middle + 1) >= score(middle)
        low = np.where(rises, low, np.minimum(middle + 1, high))
        high = np.where(rises, middle, high)
    return low

"""Average precision from histograms of Hamming distances, exact over all orders of tied items.

The items at one distance are tied, and a ranking may list them in any order. With n items at a distance, r of them
relevant, and N items of which R are relevant nearer than that, the precision at the relevant items of that distance
adds up to a closed form (McSherry & Najork, "Computing information retrieval performance measures efficiently in
the presence of tied scores", ECIR 2008). Only where `top_k` cuts through a distance and the sum is divided by the
relevant items that were retrieved does the number of these, j, matter: it is hypergeometric.
"""

import numpy as np

from relahash_nb.metrics import checks
from relahash_nb.metrics.codes import as_array

DENOMINATORS = ("retrieved", "relevant")

_EXACT = 256  # harmonic numbers up to this one come from a table, larger ones from their asymptotic series
_HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _EXACT + 1))])


def average_precision(relevant, total, top_k: int | None = None, denominator: str = "retrieved"):
    """Average precision of each query: expected, best and worst over all orders of tied items, each (Q,) float64.

    `relevant` and `total` (Q, K + 1) count the relevant items and all items at Hamming distance 0 to K; `top_k` and
    `denominator` are as for `retrieval_scores`. A query without a relevant item has 0.

    Example:
        One relevant item of two at distance 0 is ranked first or second:

        >>> print(*average_precision(np.array([[1, 0]]), np.array([[2, 0]])))
        [0.75] [1.] [0.5]
    """
    checks.width("relevant and total", relevant, total)
    checks.name("denominator", denominator, DENOMINATORS)
    checks.integer("top_k", 1 if top_k is None else top_k, least=1)
    relevant, total = as_array(relevant), as_array(total)
    seen, hits = np.cumsum(total, 1), np.cumsum(relevant, 1)  # (Q, K + 1), this distance included
    depth = seen[:, -1] if top_k is None else np.minimum(top_k, seen[:, -1])  # (Q,)
    goal = np.minimum(depth, hits[:, -1])  # (Q,)
    cut = (seen >= depth[:, None]).argmax(1)  # (Q,) the last distance that is ranked, often not whole
    whole = np.arange(seen.shape[1]) < cut[:, None]  # (Q, K + 1)
    levels = seen - total, hits - relevant, total, relevant  # nearer items, of them relevant; items here, relevant
    rank, found, items, wanted = (np.take_along_axis(level, cut[:, None], 1)[:, 0] for level in levels)  # (Q,)
    slots = depth - rank
    least, most = np.maximum(0, slots - (items - wanted)), np.minimum(slots, wanted)

    def scorer(order):
        """AP as a function of the relevant items that find a slot at the cut."""
        whole_sum = np.where(whole, order(*levels), 0).sum(1)
        divisor = lambda admitted: np.maximum(found + admitted if denominator == "retrieved" else goal, 1)
        return lambda admitted: (whole_sum + order(rank, found, slots, admitted)) / divisor(admitted)

    expected = _hypergeometric_mean(scorer(_shuffled), items, wanted, slots)
    # Each further item in front adds more precision than the last, so the highest mean is at an end ...
    first = scorer(_relevant_first)
    best = np.maximum(first(least), first(most))
    # ... and one more item at the back adds to a convex sum, so the lowest mean has a single valley.
    last = scorer(_relevant_last)
    worst = last(_valley(last, least, most))
    return np.clip(expected, worst, best), best, worst  # rounding may have crossed them


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
    rank, end = np.maximum(rank, _EXACT) + 0.5, np.maximum(end, _EXACT) + 0.5
    # The harmonic number of n less log(n + ½) and Euler's constant, for x = n + ½:
    series = lambda x: (1 / 24 - 7 / 960 / (x * x)) / (x * x)
    return head + np.log1p((end - rank) / rank) + series(end) - series(rank)


def _hypergeometric_mean(score, items, wanted, slots):
    """Mean of score(j) when `slots` of `items` are drawn and j of the `wanted` ones are among them."""
    spare = items - wanted - slots
    more = lambda j: (wanted - j) * (slots - j) / ((j + 1) * (spare + j + 1))  # chance of j + 1 over that of j
    fewer = lambda j: j * (spare + j) / ((wanted - j + 1) * (slots - j + 1))  # chance of j - 1 over that of j
    mode = (slots + 1) * (wanted + 1) // (items + 2)
    mean, weights = score(mode), 1.0
    for step, ratio in ((1, more), (-1, fewer)):  # outwards from the likeliest j, until nothing is left to add
        j, weight = mode, 1.0
        while (weight := weight * ratio(j)).max(initial=0) > 1e-20:
            j = j + step
            mean, weights = mean + weight * score(j), weights + weight
    return mean / weights


def _valley(score, low, high):
    """The j from `low` to `high` at which a score that falls, then rises, is lowest."""
    while (low < high).any():
        middle = (low + high) // 2
        rises = score(middle + 1) >= score(middle)
        low, high = np.where(rises, low, np.minimum(middle + 1, high)), np.where(rises, middle, high)
    return low

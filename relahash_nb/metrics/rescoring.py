"""Two steps of a search: the first R items by one distance, such as Hamming's, put in order by another one."""

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_width
from relahash_nb.metrics.levels import checked_pairs, row_blocks


def rescored_precision(distances, second_distances, relevant, first: int = 100, n: int = 10) -> np.ndarray:
    """Relevant share of the first n ranks when the first R items by one distance are put in order by another.

    Where ties cross rank R, it is the exact expectation over all orders of tied items: with m items at the distance of
    rank R, of which s find a place, each set of s of the m is equally likely. Items whose second distance is equal
    stay in the order of the database.

    Args:
        distances: (Q, D), by which the first items are found, such as Hamming distances.
        second_distances: (Q, D), by which they are put in order, such as `code_distances(…, "cosine")` of features.
        relevant: (Q, D) bool.
        first: R, at least 1; more than D: all items.
        n: ranks that count, 1 to R; where the database has fewer items, all of them count.

    Returns:
        (Q,) float64, 0 to 1.

    Raises:
        ValueError: the shapes differ, a distance is NaN, or n is not from 1 to R.

    Example:
        One of the two items at distance 1 is found, each as likely as the other; both have the best second distance:

        >>> rescored_precision([[0, 1, 1]], [[0.5, 0.1, 0.2]], [[False, True, False]], first=2, n=1)
        array([0.5])
    """
    check_integer("first", first, least=1)
    check_integer("n", n, least=1)
    if n > first:
        raise ValueError(f"n is {n}; allowed: 1 to {first}, the items that are put in order")
    distances, relevant = checked_pairs(distances, relevant)
    second_distances, _ = checked_pairs(second_distances, relevant)
    check_width("distances", distances, second_distances)
    first = min(first, distances.shape[1])
    n = min(n, first)
    blocks = []
    for rows in row_blocks(*distances.shape):
        blocks.append(_expected_hits(distances[rows], second_distances[rows], relevant[rows], first, n))
    return np.concatenate(blocks) / n


def _expected_hits(distances, second_distances, relevant, first: int, n: int) -> np.ndarray:
    """Expected relevant items among the first n: (q,) float64.

    The items are passed in their new order. One at the cut is among the first R with the probability open places /
    items at the cut that are not passed yet, which depends on how many of them were taken so far: a state for each.
    """
    cut = np.partition(distances, first - 1, axis=1)[:, first - 1 : first]  # (q, 1) the distance of rank R
    is_nearer = distances < cut  # (q, D), certain to be found
    at_cut = distances == cut
    open_places = first - is_nearer.sum(axis=1)  # (q,)
    left = at_cut.sum(axis=1)  # (q,) items at the cut that are not passed yet
    order = np.argsort(np.where(is_nearer | at_cut, second_distances, np.inf), axis=1, kind="stable")  # (q, D)

    queries = len(distances)
    taken = np.arange(n + 1)  # items that are taken before an item is passed
    chance = np.zeros((queries, n + 1))  # of each state; those that have n items are done
    chance[:, 0] = 1
    passed_nearer = np.zeros(queries, int)
    hits = np.zeros(queries)
    rows = np.arange(queries)
    for item in order.T:  # (q,) the next item of each query
        cut_item = at_cut[rows, item]  # (q,)
        nearer_item = is_nearer[rows, item]
        taken_at_cut = taken - passed_nearer[:, None]  # (q, n + 1)
        share = (open_places[:, None] - taken_at_cut).clip(0) / left.clip(1)[:, None]
        accept = np.where(cut_item[:, None], share.clip(0, 1), nearer_item[:, None])[:, :-1]  # (q, n)
        accepted = chance[:, :-1] * accept  # (q, n)
        hits += accepted.sum(axis=1) * relevant[rows, item]
        chance[:, :-1] -= accepted
        chance[:, 1:] += accepted
        passed_nearer += nearer_item
        left -= cut_item
        if chance[:, -1].min() > 1 - 1e-12:
            break
    return hits

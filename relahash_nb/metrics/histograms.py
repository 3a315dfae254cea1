"""Histograms of Hamming distances: how many items, and how many relevant ones, lie at each distance from a query.

Scores that know about ties need no more: within one distance every order is equally likely, so nothing is sorted.
"""

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_width
from relahash_nb.metrics.codes import as_array, pack

BLOCK_ITEMS = 16_384  # codes and labels of so many items stay in a core's cache while all queries pass over them

# From so many pairs of a query and an item on, the compiled kernel counts. A new process pays 1.4 s of processor time
# to import numba and to compile; after that the kernel takes .6 ns for a pair, and NumPy 3.5. Small studies, whose
# every run is a new process, stay below; CIFAR-10 (59 million pairs), where a run takes minutes and more, is above.
KERNEL_PAIRS = 50_000_000


def distance_histograms(
    query_codes, database_codes, query_targets, database_targets, *, self_matches=None
) -> tuple[np.ndarray, np.ndarray]:
    """Count the relevant items and all items at each Hamming distance from each query.

    Args:
        query_codes: (Q, K); this and the other arguments are as for `retrieval_scores`.
        database_codes: (D, K).
        query_targets: (Q, C).
        database_targets: (D, C).
        self_matches: (Q,) integers or None.

    Returns:
        The relevant items and all items, each (Q, K + 1) int64, at distance 0 to K.

    Raises:
        ValueError: shapes do not match, targets hold NaN, or a self match is not in the database.

    Example:
        >>> codes, targets = np.array([[1, 1], [1, -1], [-1, 1]]), np.eye(2)[[0, 0, 1]]
        >>> relevant, total = distance_histograms(np.array([[1, 1]]), codes, np.array([[1, 0]]), targets)
        >>> print(relevant, total)
        [[1 1 0]] [[1 2 0]]
    """
    self_matches = check_arrays(query_codes, database_codes, query_targets, database_targets, self_matches=self_matches)
    codes = to_words(pack(query_codes))  # (Q, W) uint64
    labels = _label_words(query_targets)  # (Q, L) uint64
    items = np.ascontiguousarray(to_words(pack(database_codes)).T)  # (W, D), an item in one column
    item_labels = np.ascontiguousarray(_label_words(database_targets).T)  # (L, D)
    bits = np.shape(query_codes)[1]

    if len(codes) * items.shape[1] < KERNEL_PAIRS:
        counts = _count_pairs(codes, labels, items, item_labels, bits)
    else:
        from relahash_nb.metrics.kernel import count_pairs  # numba is slow to import and to compile

        counts = count_pairs(codes, labels, items, item_labels, bits, BLOCK_ITEMS)
    if self_matches is not None:
        _leave_out(self_matches, counts, codes, labels, items, item_labels)
    return counts[:, 1], counts.sum(1)


def check_arrays(query_codes, database_codes, query_targets, database_targets, *, self_matches) -> np.ndarray | None:
    """Raise a ValueError unless shapes fit and targets are numbers; return the self matches as an array, or None."""
    check_width("codes", query_codes, database_codes)
    check_width("targets", query_targets, database_targets)
    _check_rows("query", query_codes, query_targets)
    _check_rows("database", database_codes, database_targets)
    if self_matches is None:
        return None
    return _checked_matches(self_matches, len(query_codes), len(database_codes))


def to_words(packed: np.ndarray) -> np.ndarray:
    """Widen packed bits (N, bytes) uint8 to (N, W) uint64 words; bytes that are added are zero."""
    missing_bytes = -packed.shape[1] % 8
    return np.pad(packed, ((0, 0), (0, missing_bytes))).view(np.uint64)


def _label_words(targets) -> np.ndarray:
    """Pack targets (N, C) to words (N, L) uint64, one bit for each class."""
    return to_words(np.packbits(as_array(targets) != 0, axis=1))


def _check_rows(name: str, codes, targets) -> None:
    if 0 in np.shape(codes) or len(codes) != len(targets):
        shapes = f"{tuple(np.shape(codes))} and {tuple(np.shape(targets))}"
        allowed = "(N, K) and (N, C) with N and K at least 1"
        raise ValueError(f"{name} codes and targets have shapes {shapes}; allowed: {allowed}")
    labels = as_array(targets)
    if (labels != labels).any():
        raise ValueError("targets hold NaN; allowed: numbers")


def _checked_matches(self_matches, queries: int, items: int) -> np.ndarray:
    matches = as_array(self_matches)
    check_integer("self_matches", matches, least=-1)
    if matches.shape != (queries,) or matches.max() >= items:
        allowed = f"({queries},) integers from -1 (none) to {items - 1}"
        raise ValueError(f"self_matches have shape {matches.shape} and reach {matches.max()}; allowed: {allowed}")
    return matches


def _count_pairs(codes, labels, items, item_labels, bits: int) -> np.ndarray:
    """Count the irrelevant and the relevant items at each distance: (Q, 2, K + 1) int64.

    Args:
        codes: (Q, W) uint64 words of the queries' bits.
        labels: (Q, L) uint64 words of the queries' classes.
        items: (W, D) uint64 words of the database's bits.
        item_labels: (L, D) uint64 words of the database's classes.
        bits: K.
    """
    bins = bits + 1
    distance_type = np.uint16 if 2 * bins <= 1 << 16 else np.uint32  # narrow numbers are faster
    counts = np.zeros((len(codes), 2 * bins), np.int64)
    for start in range(0, items.shape[1], BLOCK_ITEMS):
        block = slice(start, start + BLOCK_ITEMS)
        for query in range(len(codes)):
            different = codes[query, :, None] ^ items[:, block]  # (W, block)
            distances = np.bitwise_count(different).sum(0, dtype=distance_type)  # (block,)
            used = np.flatnonzero(labels[query])  # of a thousand classes, few words hold a label
            relevant = (labels[query, used, None] & item_labels[used, block]).any(0)  # (block,)
            bin_of_item = distances + relevant * distance_type(bins)
            counts[query] += np.bincount(bin_of_item, minlength=2 * bins)
    return counts.reshape(-1, 2, bins)


def _leave_out(self_matches, counts, codes, labels, items, item_labels) -> None:
    """Take each query's own item out of its counts (Q, 2, K + 1)."""
    queries = np.flatnonzero(self_matches >= 0)
    matches = self_matches[queries]
    distances = np.bitwise_count(codes[queries].T ^ items[:, matches]).sum(0, dtype=np.int64)
    relevant = (labels[queries].T & item_labels[:, matches]).any(0)
    counts[queries, relevant.astype(int), distances] -= 1

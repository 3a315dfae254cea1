"""How many items, and how many relevant ones, lie at each Hamming distance from each query.

Tie-aware scores need no more than these histograms: within one distance every order is equally likely, so nothing
is sorted. They are counted block by block, and memory does not grow with queries times items.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numba.extending import intrinsic

from relahash_nb.metrics.arguments import as_array, check_integer, check_numbers, check_same_width
from relahash_nb.metrics.codes import pack, to_words

BLOCK_SIZE = 16_384  # codes and labels of so many items stay in a core's cache while all queries pass over them


def distance_histograms(
    query_codes,
    database_codes,
    query_targets,
    database_targets,
    *,
    self_matches=None,
    block_size: int = BLOCK_SIZE,
) -> tuple[np.ndarray, np.ndarray]:
    """Count relevant and all database items at each Hamming distance from each query.

    Args:
        query_codes: (Q, K) floating point or -1 and +1; the sign counts.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype; a value other than 0 is a label.
        database_targets: (D, C), likewise. An item is relevant when it shares a label with the query.
        self_matches: (Q,) integers, the index in the database of each query's own item, -1 for none; that item
            is not counted. None: no query is in the database.
        block_size: database items compared at a time, at least 1.

    Returns:
        `relevant` and `total`, each (Q, K + 1) int64: the items at distance 0 to K.

    Raises:
        ValueError: shapes that do not match, codes that `binarize` refuses, targets with NaN, a self match
            outside the database.

    Example:
        >>> relevant, total = distance_histograms(
        ...     np.array([[1, 1]]), np.array([[1, 1], [1, -1], [-1, 1]]), np.array([[1, 0]]), np.eye(2)[[0, 0, 1]]
        ... )
        >>> print(relevant, total)
        [[1 1 0]] [[1 2 0]]
    """
    pairs = Pairs.of(query_codes, database_codes, query_targets, database_targets, self_matches, block_size)
    counts = pairs.count(grades=1)  # (Q, 2, K + 1)
    return counts[:, 1], counts.sum(1)


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Queries and a database, packed: small enough to keep, and all it takes to count again in finer grades."""

    bits: int
    query_codes: np.ndarray  # (Q, W) uint64
    database_codes: np.ndarray  # (W, D) uint64
    query_labels: np.ndarray  # (Q, L) uint64
    database_labels: np.ndarray  # (L, D) uint64
    self_matches: np.ndarray  # (Q,) int64
    block_size: int

    @classmethod
    def of(cls, query_codes, database_codes, query_targets, database_targets, self_matches, block_size) -> Pairs:
        """Check and pack the arguments of `distance_histograms`."""
        check_integer("block_size", block_size, least=1)
        check_same_width("codes", query_codes, database_codes)
        check_same_width("targets", query_targets, database_targets)
        for name, codes, targets in (
            ("query", query_codes, query_targets),
            ("database", database_codes, database_targets),
        ):
            shape, labels = np.shape(codes), np.shape(targets)
            if 0 in shape or shape[0] != labels[0]:
                raise ValueError(
                    f"{name} codes and targets have shapes {tuple(shape)} and {tuple(labels)}; "
                    "allowed: (N, K) and (N, C) with N and K at least 1"
                )
        return cls(
            bits=np.shape(query_codes)[1],
            query_codes=to_words(pack(query_codes)),
            database_codes=np.ascontiguousarray(to_words(pack(database_codes)).T),
            query_labels=to_words(_pack_labels(query_targets)),
            database_labels=np.ascontiguousarray(to_words(_pack_labels(database_targets)).T),
            self_matches=_own_items(self_matches, len(query_codes), len(database_codes)),
            block_size=block_size,
        )

    def count(self, grades: int) -> np.ndarray:
        """Count items by shared labels and by distance: (Q, grades + 1, K + 1) int64.

        Items that share `grades` labels or more are counted together.
        """
        counts = np.zeros((len(self.query_codes), grades + 1, self.bits + 1), np.int64)
        # Narrow numbers let a core compare more items at a time.
        scratch = np.dtype(np.uint16 if counts[0].size <= 1 << 16 else np.uint32)
        threads = numba.config.NUMBA_NUM_THREADS
        parts = (np.array_split(rows, threads) for rows in (self.query_codes, self.query_labels, counts))

        def count_part(codes: np.ndarray, labels: np.ndarray, part: np.ndarray) -> None:
            """Counts for some of the queries, in buffers of this thread."""
            buffers = np.empty((2, self.block_size), scratch)
            _count(codes, self.database_codes, labels, self.database_labels, buffers, part)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(count_part, *parts))
        self._uncount_own_items(counts)
        return counts

    def row(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances (D,) and the relevance (D,) of one query's items, its own left out."""
        distances = _distances(self.query_codes[query, :, None], self.database_codes)
        relevant = (self.query_labels[query, :, None] & self.database_labels).any(0)
        own = self.self_matches[query]
        return (distances, relevant) if own < 0 else (np.delete(distances, own), np.delete(relevant, own))

    def most_labels(self) -> int:
        """Return the largest number of labels that a query has, at least 1."""
        return max(1, int(np.bitwise_count(self.query_labels).sum(1, dtype=np.int64).max()))

    def _uncount_own_items(self, counts: np.ndarray) -> None:
        rows = np.flatnonzero(self.self_matches >= 0)
        own = self.self_matches[rows]
        distances = _distances(self.query_codes[rows].T, self.database_codes[:, own])
        shared = np.bitwise_count(self.query_labels[rows].T & self.database_labels[:, own]).sum(0, dtype=np.int64)
        counts[rows, np.minimum(shared, counts.shape[1] - 1), distances] -= 1


def _pack_labels(targets) -> np.ndarray:
    targets = as_array(targets)
    check_numbers("targets", targets)
    return np.packbits(targets != 0, axis=1)


def _own_items(self_matches, queries: int, items: int) -> np.ndarray:
    if self_matches is None:
        return np.full(queries, -1)
    self_matches = as_array(self_matches)
    check_integer("self_matches", self_matches, least=-1)
    if self_matches.shape != (queries,) or self_matches.max() >= items:
        raise ValueError(
            f"self_matches have shape {self_matches.shape} and reach {self_matches.max()}; "
            f"allowed: ({queries},) integers from -1 (none) to {items - 1}"
        )
    return self_matches.astype(np.int64)


def _distances(words: np.ndarray, others: np.ndarray) -> np.ndarray:
    narrow = np.min_scalar_type(64 * len(words))  # 8 or 16 bits, which NumPy sorts fastest
    return np.bitwise_count(words ^ others).sum(0, dtype=narrow)


@intrinsic
def _popcount(_, word):
    return word(word), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


# Not cached on disk: it compiles in about a second, and a cache fails where an installation is read-only.
@numba.njit(nogil=True)
def _count(query_codes, database_codes, query_labels, database_labels, buffers, counts):
    grades, bins, block_size = counts.shape[1] - 1, counts.shape[2], buffers.shape[1]
    most, step = buffers.dtype.type(grades), buffers.dtype.type(bins)  # of the buffers' type, so that no item widens
    # Neighbours often fall into one bin, and a core waits for its own last write: four tallies take turns.
    tallies = np.zeros((4, (grades + 1) * bins), np.int32)
    for start in range(0, database_codes.shape[1], block_size):
        stop = min(start + block_size, database_codes.shape[1])
        key, shared = buffers[0, : stop - start], buffers[1, : stop - start]
        for query in range(len(query_codes)):
            key[:] = 0
            for word in range(query_codes.shape[1]):
                code, items = query_codes[query, word], database_codes[word, start:stop]
                for item in range(len(items)):
                    key[item] += _popcount(code ^ items[item])
            shared[:] = 0
            for word in range(query_labels.shape[1]):
                labels, items = query_labels[query, word], database_labels[word, start:stop]
                if labels:  # so that one label among thousands of classes costs one word
                    for item in range(len(items)):
                        shared[item] += _popcount(labels & items[item])
            for item in range(len(key)):
                key[item] += step * min(shared[item], most)
            for item in range(len(key)):
                tallies[item & 3, key[item]] += 1
            for bin in range(tallies.shape[1]):
                for turn in range(4):
                    counts[query, bin // bins, bin % bins] += tallies[turn, bin]
            tallies[:] = 0

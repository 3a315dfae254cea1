"""Binary codes: the sign, the packed form, and Hamming distances, each or counted.

Tie-aware scores need no more than the number of items, and of relevant ones, at each Hamming distance: within one
distance every order is equally likely, so nothing is sorted. A ValueError says what is wrong with codes.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np

from relahash_nb.metrics import checks

BLOCK_ITEMS = 16_384  # codes and labels of so many items stay in a core's cache while all queries pass over them


def as_codes(values) -> np.ndarray:
    """Codes as a NumPy array (N, K) of numbers that have a sign."""
    codes = as_array(values)
    if codes.ndim != 2:
        raise ValueError(f"codes have shape {codes.shape}; allowed: (N, K)")
    if codes.dtype.kind in "bu":
        raise ValueError(f"codes are {codes.dtype}; allowed: floating point or signed integers, such as ±1")
    if (codes != codes).any():
        raise ValueError("codes hold NaN; allowed: numbers")
    return codes


def sign_bits(codes) -> np.ndarray:
    """(N, K) booleans, true where `binarize` gives +1."""
    return as_codes(codes) >= 0


def binarize(codes) -> np.ndarray:
    """Take the sign of codes (N, K), floating point or signed integers: (N, K) float32 of -1 and +1, which 0 gives.

    NaN, other shapes, and booleans or unsigned integers (bits of 0 and 1 have no sign) are a ValueError.

    Example:
        >>> print(binarize(np.array([[0.3, 0.0, -2.0]])))
        [[ 1.  1. -1.]]
    """
    return 2 * sign_bits(codes).astype(np.float32) - 1


def pack(codes) -> np.ndarray:
    """Pack the signs of codes (N, K), eight to a byte, for storage and search: (N, ⌈K/8⌉) uint8, spare bits 0.

    Example:
        >>> print(pack(np.array([[1.0, -1, -1, -1, -1, -1, -1, 1, 1]])))
        [[129 128]]
    """
    return np.packbits(sign_bits(codes), axis=1)


def unpack(packed, bits: int) -> np.ndarray:
    """Undo `pack`: (N, K) float32 of -1 and +1, for K ≥ 1 bits; another width or dtype is a ValueError.

    Example:
        >>> print(unpack(np.array([[129, 128]], dtype=np.uint8), bits=9))
        [[ 1. -1. -1. -1. -1. -1. -1.  1.  1.]]
    """
    packed = as_array(packed)
    checks.integer("bits", bits, least=1)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-bits // 8):
        raise ValueError(f"packed codes are {packed.dtype} {packed.shape}; allowed: uint8 (N, {-(-bits // 8)})")
    return 2 * np.unpackbits(packed, axis=1, count=bits).astype(np.float32) - 1


def hamming_distances(query_codes, database_codes) -> np.ndarray:
    """Count the bits in which each query (Q, K) differs from each database item (D, K): (Q, D) int32, 0 to K.

    Example:
        >>> print(hamming_distances(np.array([[1, 1, -1]]), np.array([[1, 1, -1], [-1, 1, 1]])))
        [[0 2]]
    """
    checks.width("codes", query_codes, database_codes)
    agreeing = binarize(query_codes) @ binarize(database_codes).T  # (Q, D), less those that differ; exact in float32
    return ((np.shape(query_codes)[1] - agreeing) / 2).astype(np.int32)


def to_words(packed: np.ndarray) -> np.ndarray:
    """Widen (N, bytes) uint8 to (N, W) uint64 words, the spare bytes zero."""
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def distance_histograms(query_codes, database_codes, query_targets, database_targets, *, self_matches=None):
    """Count relevant and all database items at each Hamming distance from each query: two (Q, K + 1) int64.

    Arguments are as for `retrieval_scores`; shapes that do not match, targets with NaN and a self match outside the
    database are a ValueError.

    Example:
        >>> relevant, total = distance_histograms(
        ...     np.array([[1, 1]]), np.array([[1, 1], [1, -1], [-1, 1]]), np.array([[1, 0]]), np.eye(2)[[0, 0, 1]]
        ... )
        >>> print(relevant, total)
        [[1 1 0]] [[1 2 0]]
    """
    checks.width("codes", query_codes, database_codes)
    checks.width("targets", query_targets, database_targets)
    sides = (("query", query_codes, query_targets), ("database", database_codes, database_targets))
    for name, codes, targets in sides:
        if 0 in np.shape(codes) or len(codes) != len(targets):
            shapes = f"{tuple(np.shape(codes))} and {tuple(np.shape(targets))}"
            allowed = "(N, K) and (N, C) with N and K at least 1"
            raise ValueError(f"{name} codes and targets have shapes {shapes}; allowed: {allowed}")
    own = np.full(len(query_codes), -1) if self_matches is None else as_array(self_matches)  # (Q,)
    checks.integer("self_matches", own, least=-1)
    if own.shape != (len(query_codes),) or own.max() >= len(database_codes):
        allowed = f"allowed: ({len(query_codes)},) integers from -1 (none) to {len(database_codes) - 1}"
        raise ValueError(f"self_matches have shape {own.shape} and reach {own.max()}; {allowed}")
    queries, labels = to_words(pack(query_codes)), _label_words(query_targets)  # (Q, W), (Q, L) uint64
    items = np.ascontiguousarray(to_words(pack(database_codes)).T)  # (W, D), an item in one column
    item_labels = np.ascontiguousarray(_label_words(database_targets).T)  # (L, D)
    counts = np.zeros((len(queries), 2, np.shape(query_codes)[1] + 1), np.int64)  # irrelevant and relevant items
    # Narrow numbers let a core compare more items at a time.
    narrow = np.uint16 if counts[0].size <= 1 << 16 else np.uint32
    threads = numba.config.NUMBA_NUM_THREADS
    parts = (np.array_split(rows, threads) for rows in (queries, labels, counts))
    buffers = np.empty((threads, 2, BLOCK_ITEMS), narrow)
    with ThreadPoolExecutor(threads) as pool:  # each thread counts for some of the queries
        list(pool.map(partial(_count, items, item_labels), *parts, buffers))
    rows = np.flatnonzero(own >= 0)
    distances = np.bitwise_count(queries[rows].T ^ items[:, own[rows]]).sum(0, dtype=np.int64)
    relevant = (labels[rows].T & item_labels[:, own[rows]]).any(0)
    counts[rows, relevant.astype(int), distances] -= 1
    return counts[:, 1], counts.sum(1)


def _label_words(targets) -> np.ndarray:
    targets = as_array(targets)
    if (targets != targets).any():
        raise ValueError("targets hold NaN; allowed: numbers")
    return to_words(np.packbits(targets != 0, axis=1))


@numba.njit
def _popcount(word):
    """Number of ones; numba has none of its own, and its compiler makes one instruction of this."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


# Not cached on disk: it compiles in about a second, and a cache fails where an installation is read-only.
@numba.njit(nogil=True)
def _count(database_codes, database_labels, query_codes, query_labels, counts, buffers):
    bins, block_items = counts.shape[2], buffers.shape[1]
    one, step = buffers.dtype.type(1), buffers.dtype.type(bins)  # of the buffers' type, so that no item widens
    # Neighbours often fall into one bin, and a core waits for its own last write: four tallies take turns.
    tallies = np.zeros((4, 2 * bins), np.int32)
    for start in range(0, database_codes.shape[1], block_items):
        stop = min(start + block_items, database_codes.shape[1])
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
                key[item] += step * min(shared[item], one)
            for item in range(len(key)):
                tallies[item & 3, key[item]] += 1
            for bin in range(2 * bins):
                for turn in range(4):
                    counts[query, bin // bins, bin % bins] += tallies[turn, bin]
            tallies[:] = 0


def as_array(values) -> np.ndarray:
    """Return a tensor, an array or a list as a NumPy array; torch's half precisions become float32."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() and values.itemsize < 4 else values).numpy()

"""Binary codes: the sign, the packed form, Hamming distances, and the search that counts them.

Tie-aware scores need no more than the number of items, and of relevant ones, at each Hamming distance: within one
distance every order is equally likely, so nothing is sorted. All functions here raise a ValueError for codes that
`binarize` refuses.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

BLOCK_ITEMS = 16_384  # codes and labels of so many items stay in a core's cache while all queries pass over them
BLOCK_PAIRS = 1 << 20  # distances that `hamming_distances` computes at a time


def binarize(codes):
    """Take the sign of codes; the sign of 0 is +1.

    Args:
        codes: (N, K) floating point or signed integers, a PyTorch tensor or a NumPy array.

    Returns:
        (N, K) of -1 and +1, in the library, on the device and of the dtype of `codes`.

    Raises:
        ValueError: codes that are not (N, K), hold NaN, or are boolean or unsigned (bits of 0 and 1 have no sign).

    Example:
        >>> print(binarize(np.array([[0.3, 0.0, -2.0]])))
        [[ 1.  1. -1.]]
    """
    if not hasattr(codes, "detach"):
        codes = np.asarray(codes)
    check_codes(codes)
    signs = 2 * (codes >= 0) - 1
    return signs.astype(codes.dtype) if isinstance(codes, np.ndarray) else signs.to(codes.dtype)


def sign_bits(codes) -> np.ndarray:
    """Return (N, K) booleans, true where `binarize` gives +1."""
    codes = as_array(codes)
    check_codes(codes)
    return codes >= 0


def pack(codes) -> np.ndarray:
    """Pack the signs of codes, eight to a byte: the form that is stored and searched.

    Args:
        codes: (N, K) floating point or -1 and +1, as `binarize` takes them.

    Returns:
        (N, ⌈K/8⌉) uint8 NumPy array; the first bit is the highest of the first byte, spare bits are 0.

    Example:
        >>> print(pack(np.array([[1.0, -1, -1, -1, -1, -1, -1, 1, 1]])))
        [[129 128]]
    """
    return np.packbits(sign_bits(codes), axis=1)


def unpack(packed, bits: int) -> np.ndarray:
    """Undo `pack`.

    Args:
        packed: (N, ⌈K/8⌉) uint8.
        bits: K, the length of a code, at least 1.

    Returns:
        (N, K) float32 of -1 and +1.

    Raises:
        ValueError: packed codes of another dtype, or whose width does not fit `bits`.

    Example:
        >>> print(unpack(np.array([[129, 128]], dtype=np.uint8), bits=9))
        [[ 1. -1. -1. -1. -1. -1. -1.  1.  1.]]
    """
    packed = as_array(packed)
    check_integer("bits", bits, least=1)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-bits // 8):
        raise ValueError(f"packed codes are {packed.dtype} {packed.shape}; allowed: uint8 (N, {-(-bits // 8)})")
    return 2 * np.unpackbits(packed, axis=1, count=bits).astype(np.float32) - 1


def hamming_distances(query_codes, database_codes):
    """Count the bits in which each query differs from each database item.

    Beside the result it takes memory for a million distances, or for one query's where these are more.

    Args:
        query_codes: (Q, K) floating point or -1 and +1, as `binarize` takes them.
        database_codes: (D, K), likewise.

    Returns:
        (Q, D) int32, 0 to K, in the library and on the device of `query_codes`.

    Raises:
        ValueError: as `binarize`, or codes of different lengths.

    Example:
        >>> print(hamming_distances(np.array([[1, 1, -1]]), np.array([[1, 1, -1], [-1, 1, 1]])))
        [[0 2]]
    """
    check_same_width("codes", query_codes, database_codes)
    queries, database = to_words(pack(query_codes)), to_words(pack(database_codes))  # (Q, W), (D, W)
    distances = np.zeros((len(queries), len(database)), np.int32)
    step = max(1, BLOCK_PAIRS // max(1, len(database)))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        for word in range(queries.shape[1]):
            distances[rows] += np.bitwise_count(queries[rows, None, word] ^ database[None, :, word])
    if not hasattr(query_codes, "detach"):
        return distances
    import torch  # whoever has a tensor has loaded it; arrays do without

    return torch.from_numpy(distances).to(query_codes.device)


def to_words(packed: np.ndarray) -> np.ndarray:
    """Widen (N, bytes) uint8 to (N, W) uint64 words, the spare bytes zero."""
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def distance_histograms(
    query_codes,
    database_codes,
    query_targets,
    database_targets,
    *,
    self_matches=None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count relevant and all database items at each Hamming distance from each query.

    Args:
        query_codes: (Q, K) floating point or -1 and +1; the sign counts.
        database_codes: (D, K), likewise.
        query_targets: (Q, C) multi-hot of any dtype; a value other than 0 is a label.
        database_targets: (D, C), likewise. An item is relevant when it shares a label with the query.
        self_matches: (Q,) integers, the index in the database of each query's own item, -1 for none; that item
            is not counted. None: no query is in the database.

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
    return PackedSearch.of(query_codes, database_codes, query_targets, database_targets, self_matches).count()


@dataclass(frozen=True, eq=False, repr=False)
class PackedSearch:
    """Queries and a database as 64-bit words, an item's words in one column."""

    bits: int
    query_codes: np.ndarray  # (Q, W) uint64
    database_codes: np.ndarray  # (W, D) uint64
    query_labels: np.ndarray  # (Q, L) uint64
    database_labels: np.ndarray  # (L, D) uint64
    self_matches: np.ndarray  # (Q,) int64, -1 for none

    @classmethod
    def of(cls, query_codes, database_codes, query_targets, database_targets, self_matches=None) -> PackedSearch:
        """Check and pack the arguments of `distance_histograms`."""
        check_same_width("codes", query_codes, database_codes)
        check_same_width("targets", query_targets, database_targets)
        sides = (("query", query_codes, query_targets), ("database", database_codes, database_targets))
        for name, codes, targets in sides:
            shape, labels = tuple(np.shape(codes)), tuple(np.shape(targets))
            if 0 in shape or shape[0] != labels[0]:
                allowed = "allowed: (N, K) and (N, C) with N and K at least 1"
                raise ValueError(f"{name} codes and targets have shapes {shape} and {labels}; {allowed}")
        queries, items = len(query_codes), len(database_codes)
        own = np.full(queries, -1) if self_matches is None else as_array(self_matches)
        check_integer("self_matches", own, least=-1)
        if own.shape != (queries,) or own.max() >= items:
            allowed = f"allowed: ({queries},) integers from -1 (none) to {items - 1}"
            raise ValueError(f"self_matches have shape {own.shape} and reach {own.max()}; {allowed}")
        return cls(
            bits=np.shape(query_codes)[1],
            query_codes=to_words(pack(query_codes)),
            database_codes=np.ascontiguousarray(to_words(pack(database_codes)).T),
            query_labels=to_words(_pack_labels(query_targets)),
            database_labels=np.ascontiguousarray(to_words(_pack_labels(database_targets)).T),
            self_matches=own.astype(np.int64),
        )

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Count relevant and all items at each distance: two (Q, K + 1) int64."""
        counts = np.zeros((len(self.query_codes), 2, self.bits + 1), np.int64)  # irrelevant and relevant items
        # Narrow numbers let a core compare more items at a time.
        narrow = np.dtype(np.uint16 if counts[0].size <= 1 << 16 else np.uint32)
        threads = numba.config.NUMBA_NUM_THREADS
        parts = (np.array_split(rows, threads) for rows in (self.query_codes, self.query_labels, counts))

        def count_part(codes: np.ndarray, labels: np.ndarray, part: np.ndarray) -> None:
            """Counts for some of the queries, in buffers of this thread."""
            buffers = np.empty((2, BLOCK_ITEMS), narrow)
            _count(codes, self.database_codes, labels, self.database_labels, buffers, part)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(count_part, *parts))
        rows = np.flatnonzero(self.self_matches >= 0)
        own = self.self_matches[rows]
        distances = _distances(self.query_codes[rows].T, self.database_codes[:, own])
        relevant = (self.query_labels[rows].T & self.database_labels[:, own]).any(0)
        counts[rows, relevant.astype(int), distances] -= 1
        return counts[:, 1], counts.sum(1)

    def row(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances (D,) and the relevance (D,) of one query's items, its own left out."""
        distances = _distances(self.query_codes[query, :, None], self.database_codes)
        relevant = (self.query_labels[query, :, None] & self.database_labels).any(0)
        own = self.self_matches[query]
        return (distances, relevant) if own < 0 else (np.delete(distances, own), np.delete(relevant, own))


def _pack_labels(targets) -> np.ndarray:
    targets = as_array(targets)
    check_numbers("targets", targets)
    return np.packbits(targets != 0, axis=1)


def _distances(words: np.ndarray, others: np.ndarray) -> np.ndarray:
    narrow = np.min_scalar_type(64 * len(words))  # 8 or 16 bits, which NumPy sorts fastest
    return np.bitwise_count(words ^ others).sum(0, dtype=narrow)


@numba.njit
def _popcount(word):
    """Number of ones; numba has none of its own, and its compiler makes one instruction of this."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


# Not cached on disk: it compiles in about a second, and a cache fails where an installation is read-only.
@numba.njit(nogil=True)
def _count(query_codes, database_codes, query_labels, database_labels, buffers, counts):
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


def check_codes(codes) -> None:
    """Raise a ValueError unless codes are a matrix of numbers that have a sign."""
    if len(np.shape(codes)) != 2:
        raise ValueError(f"codes have shape {tuple(np.shape(codes))}; allowed: (N, K)")
    if str(codes.dtype).removeprefix("torch.").startswith(("bool", "uint")):
        raise ValueError(f"codes are {codes.dtype}; allowed: floating point or signed integers, such as ±1")
    check_numbers("codes", codes)


def check_numbers(name: str, values) -> None:
    """Raise a ValueError if there is a NaN."""
    if (values != values).any():
        raise ValueError(f"{name} hold NaN; allowed: numbers")


def check_same_width(name: str, first, second) -> None:
    """Raise a ValueError unless both are matrices of equally many columns."""
    shapes = tuple(np.shape(first)), tuple(np.shape(second))
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"{name} have shapes {shapes[0]} and {shapes[1]}; allowed: matrices of one width")


def check_name(name: str, value, allowed) -> None:
    """Raise a ValueError unless the value is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def check_integer(name: str, value, least: int) -> None:
    """Raise a ValueError unless the value, or each of them, is an integer that is large enough."""
    values = np.asarray(value)
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < least:
        raise ValueError(f"{name} is {value!r}; allowed: integers ≥ {least}")

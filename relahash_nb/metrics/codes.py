"""Binary codes: the sign, the packed form, and Hamming distances."""

from __future__ import annotations

import numpy as np

from relahash_nb.metrics.arguments import as_array, check_codes, check_integer, check_same_width

_BLOCK_PAIRS = 1 << 20  # distances that `hamming_distances` computes at a time


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

    Raises:
        ValueError: as `binarize`.

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
    step = max(1, _BLOCK_PAIRS // max(1, len(database)))
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

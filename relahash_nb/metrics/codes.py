"""Binary codes: their sign, their packed form, and the Hamming distances between them.

Codes that have no sign (NaN, booleans, unsigned integers) or another shape than (N, K) are a ValueError.
"""

import numpy as np

from relahash_nb.metrics.checks import check_integer, check_width


def as_array(values) -> np.ndarray:
    """Return a tensor, an array or a list as a NumPy array; float16 and bfloat16 tensors become float32."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    if tensor.is_floating_point() and tensor.itemsize < 4:
        tensor = tensor.float()
    return tensor.numpy()


def as_codes(values) -> np.ndarray:
    """Return codes as a NumPy array (N, K) of floating point or signed integers, without NaN."""
    codes = as_array(values)
    if codes.ndim != 2:
        raise ValueError(f"codes have shape {codes.shape}; allowed: (N, K)")
    if codes.dtype.kind in "bu":
        raise ValueError(f"codes are {codes.dtype}; allowed: floating point or signed integers, such as ±1")
    if (codes != codes).any():
        raise ValueError("codes hold NaN; allowed: numbers")
    return codes


def sign_bits(codes) -> np.ndarray:
    """Return (N, K) booleans: true where `binarize` gives +1."""
    return as_codes(codes) >= 0


def binarize(codes) -> np.ndarray:
    """Take the sign of codes; the sign of 0 is +1.

    Args:
        codes: (N, K) floating point or signed integers, a tensor on any device or a NumPy array.

    Returns:
        (N, K) float32 of -1 and +1.

    Raises:
        ValueError: the codes have another shape or dtype, or hold NaN.

    Example:
        >>> print(binarize(np.array([[0.3, 0.0, -2.0]])))
        [[ 1.  1. -1.]]
    """
    return 2 * sign_bits(codes).astype(np.float32) - 1


def pack(codes) -> np.ndarray:
    """Pack the signs of codes (N, K), eight to a byte, for storage and search: (N, ⌈K/8⌉) uint8, unused bits 0.

    Example:
        >>> print(pack(np.array([[1.0, -1, -1, -1, -1, -1, -1, 1, 1]])))
        [[129 128]]
    """
    return np.packbits(sign_bits(codes), axis=1)


def unpack(packed, bits: int) -> np.ndarray:
    """Undo `pack`: return (N, K) float32 of -1 and +1.

    Args:
        packed: (N, ⌈K/8⌉) uint8.
        bits: K, at least 1.

    Raises:
        ValueError: the packed codes have another width or dtype.
    """
    packed = as_array(packed)
    check_integer("bits", bits, least=1)
    width = -(-bits // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        raise ValueError(f"packed codes are {packed.dtype} {packed.shape}; allowed: uint8 (N, {width})")
    return 2 * np.unpackbits(packed, axis=1, count=bits).astype(np.float32) - 1


def hamming_distances(query_codes, database_codes) -> np.ndarray:
    """Count the bits in which each query (Q, K) differs from each database item (D, K): (Q, D) int32, 0 to K.

    Example:
        >>> print(hamming_distances(np.array([[1, 1, -1]]), np.array([[1, 1, -1], [-1, 1, 1]])))
        [[0 2]]
    """
    check_width("codes", query_codes, database_codes)
    bits = np.shape(query_codes)[1]
    # The product of ±1 codes is the number of equal bits less the number of different bits; exact in float32.
    products = binarize(query_codes) @ binarize(database_codes).T  # (Q, D)
    return ((bits - products) / 2).astype(np.int32)

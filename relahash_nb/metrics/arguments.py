"""What the metrics accept: tensors or arrays in, and errors that print the value and what is allowed."""

from __future__ import annotations

import numpy as np


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

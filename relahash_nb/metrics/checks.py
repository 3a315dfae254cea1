"""What is wrong with arguments, in one line."""

import numpy as np


def width(name: str, first, second) -> None:
    """Raise a ValueError unless both are matrices of equally many columns."""
    one, other = tuple(np.shape(first)), tuple(np.shape(second))
    if len(one) != 2 or len(other) != 2 or one[1] != other[1]:
        raise ValueError(f"{name} have shapes {one} and {other}; allowed: matrices of one width")


def name(name: str, value, allowed) -> None:
    """Raise a ValueError unless the value is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def integer(name: str, value, least: int) -> None:
    """Raise a ValueError unless the value, or each of them, is an integer that is large enough."""
    values = np.asarray(value)
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < least:
        raise ValueError(f"{name} is {value!r}; allowed: integers ≥ {least}")

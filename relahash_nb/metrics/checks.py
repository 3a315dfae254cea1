"""Checks of arguments: each raises a ValueError of one line that names the argument, its value and what is allowed."""

from collections.abc import Iterable

import numpy as np


def check_width(name: str, first, second) -> None:
    """Raise a ValueError unless both arguments are matrices with the same number of columns."""
    first_shape = tuple(np.shape(first))
    second_shape = tuple(np.shape(second))
    if len(first_shape) != 2 or len(second_shape) != 2 or first_shape[1] != second_shape[1]:
        raise ValueError(f"{name} have shapes {first_shape} and {second_shape}; allowed: matrices of one width")


def check_name(argument: str, value: str, allowed: Iterable[str]) -> None:
    """Raise a ValueError unless the value is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{argument} is {value!r}; allowed: {', '.join(allowed)}")


def check_integer(name: str, value, least: int) -> None:
    """Raise a ValueError unless the value, or each entry of an array, is an integer of at least `least`."""
    values = np.asarray(value)
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < least:
        raise ValueError(f"{name} is {value!r}; allowed: integers ≥ {least}")

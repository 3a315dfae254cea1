"""`codes.npz`: what is in it, and how any such file from elsewhere is read or refused."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from relahash_nb.config import RunConfig
from relahash_nb.results.report import Report

BIT_ORDER = "big"  # NumPy's: the first bit is the highest of its byte
INDEX = "iu"
# The kinds of dtype, by NumPy's letters, and the axes of each array. The same axis is equally long everywhere.
ARRAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "query_codes": ("u", ("query", "bytes of a code")),
    "query_targets": ("u", ("query", "bytes of the classes")),
    "query_ids": ("iuUS", ("query",)),
    "database_codes": ("u", ("database", "bytes of a code")),
    "database_targets": ("u", ("database", "bytes of the classes")),
    "database_ids": ("iuUS", ("database",)),
    "centroids": ("i", ("classes", "bits")),
    "query_raw": ("f", ("query", "bits")),
    "sample_raw": ("f", ("sample", "bits")),
    "sample_rows": (INDEX, ("sample",)),
    "thumbnails": ("u", ("thumbnails", "channels", "height", "width")),
    "shown_queries": (INDEX, ("shown",)),
    "query_thumbnails": (INDEX, ("shown",)),
    "nearest": (INDEX, ("shown", "nearest")),
    "nearest_thumbnails": (INDEX, ("shown", "nearest")),
}
# What the numbers in an array are rows of.
ROWS_OF = {
    "sample_rows": "database",
    "shown_queries": "query",
    "query_thumbnails": "thumbnails",
    "nearest": "database",
    "nearest_thumbnails": "thumbnails",
}


def read_arrays(path: Path, report: Report) -> dict[str, np.ndarray]:
    """The arrays of a run's `codes.npz`, those of `ARRAYS` and any more; see `saving.collect_arrays`.

    Args:
        path: The file.
        report: The run's `run.json`, which says how many items, bits and classes there are.

    Raises:
        ValueError: An array is missing, has another dtype or shape, or holds what cannot be.
        OSError, zipfile.BadZipFile, …: The file is damaged; `runs.named` has the list.
    """
    lengths = axis_lengths(report)
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        for name in ARRAYS:
            if f"{name}.npy" not in names:
                raise ValueError(f"{name}: missing")
            dtype, shape = read_header(file, name)  # before an array takes the memory that its header asks for
            check_array(name, dtype, shape, lengths)
    with np.load(path, allow_pickle=False) as arrays_in_file:
        arrays = dict(arrays_in_file)
    check_values(arrays, lengths)
    return arrays


def axis_lengths(report: Report) -> dict[str, int]:
    """The lengths of the axes that a run's report knows; `check_array` adds the others."""
    bits = RunConfig.from_saved(report.config).bits
    classes = len(report.data.class_names)
    return {
        "query": report.data.query,
        "database": report.data.database,
        "bits": bits,
        "bytes of a code": -(-bits // 8),
        "classes": classes,
        "bytes of the classes": -(-classes // 8),
    }


def read_header(file: zipfile.ZipFile, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype and the shape of an array, without its numbers."""
    with file.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return dtype, shape


def check_array(name: str, dtype: np.dtype, shape: tuple[int, ...], lengths: dict[str, int]) -> None:
    """Refuses an array of another dtype or shape than `ARRAYS` says, with a ValueError; new axes go into `lengths`."""
    kinds, axes = ARRAYS[name]
    if dtype.kind not in kinds:
        raise ValueError(f"{name}: is {dtype}")
    if len(shape) != len(axes):
        raise ValueError(f"{name}: has shape {shape}; expected ({', '.join(axes)})")
    for axis, length in zip(axes, shape, strict=True):
        expected = lengths.setdefault(axis, length)
        if length != expected:
            raise ValueError(f"{name}: has shape {shape}; expected {expected} for {axis}")


def check_values(arrays: Mapping[str, np.ndarray], lengths: Mapping[str, int]) -> None:
    """Refuses numbers that cannot be, with a ValueError: NaN, a row that is not there, bits in another order."""
    for name in ("query_raw", "sample_raw"):
        if np.isnan(arrays[name]).any():
            raise ValueError(f"{name}: holds NaN")
    if not np.isin(arrays["centroids"], (-1, 1)).all():
        raise ValueError("centroids: hold other numbers than -1 and 1")
    for name, axis in ROWS_OF.items():
        rows = arrays[name]
        if rows.size and not 0 <= rows.min() <= rows.max() < lengths[axis]:
            raise ValueError(f"{name}: from {rows.min()} to {rows.max()}; expected rows of {lengths[axis]} for {axis}")
    order = arrays.get("bit_order")  # an older file does not say it, and has this one
    if order is not None and str(order) != BIT_ORDER:
        raise ValueError(f"bit_order: {str(order)[:40]!r} given; allowed: {BIT_ORDER}")

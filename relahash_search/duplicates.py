"""Pictures that are there more than once: byte by byte, or nearly."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from relahash_search.index import state_of
from relahash_search.tables import Item, Tables

SHARE = 10  # the default radius is one of so many of the bits
AT_ONCE = 128  # pictures whose neighbours are in memory at a time


class Copy(NamedTuple):
    """A picture of a group.

    Attributes:
        path: The file.
        distance: Bits in which its code differs from that of the group's first.
        size: Bytes.
        width: Pixels; None where it cannot be read.
        height: Pixels; None where it cannot be read.
    """

    path: str
    distance: int
    size: int
    width: int | None
    height: int | None


class Group(NamedTuple):
    """At least two pictures that are the same file, or near the first of them; the largest file is the first."""

    kind: Literal["same file", "near"]
    copies: list[Copy]


class Duplicates(NamedTuple):
    """All groups: those of the same file first, then by the paths of their first pictures.

    Attributes:
        groups: The groups.
        passed_over: Number of pictures that are gone, or have changed since they were indexed. They are in no group.
    """

    groups: list[Group]
    passed_over: int


def default_radius(bits: int) -> int:
    """Bits in which the codes of near-duplicates may differ."""
    return bits // SHARE


def find_duplicates(tables: Tables, radius: int) -> Duplicates:
    """Find pictures that are there more than once.

    A file that has several paths, by links, is there once. A picture is near a group's first one, not near another
    that is near the first: there are no chains. Where it is near two of them, it belongs to the one that has the larger
    file.

    Args:
        tables: Of an index.
        radius: Bits, from 0 up, in which a code may differ from that of the group's first.

    Returns:
        The groups. A file that is there several times stands in a `near` group once.
    """
    everything = tables.items()
    present = [pair for pair in everything if not state_of(pair[0])]
    present.sort(key=lambda pair: (-pair[0].file.size, pair[0].full_path))
    same: dict[str, list[tuple[Item, int]]] = defaultdict(list)
    for item, number in _without_links(present):
        same[item.digest].append((item, number))
    groups = [Group("same file", [_copy(item, 0) for item, _ in pairs]) for pairs in same.values() if len(pairs) > 1]
    firsts = [pairs[0] for pairs in same.values()]
    near = [Group("near", copies) for copies in _near(tables, firsts, radius)]
    by_path = lambda group: group.copies[0].path
    return Duplicates(sorted(groups, key=by_path) + sorted(near, key=by_path), len(everything) - len(present))


def _without_links(pairs: Sequence[tuple[Item, int]]) -> Iterator[tuple[Item, int]]:
    """One path of each file: who deletes the file behind a link loses both."""
    seen = set()
    for item, number in pairs:
        found = Path(item.full_path).stat()
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield item, number


def _near(tables: Tables, pairs: Sequence[tuple[Item, int]], radius: int) -> Iterator[list[Copy]]:
    """Groups of pictures within a radius of their first; `pairs` are in the order in which they may be first."""
    numbers, codes = tables.codes()
    rows = np.searchsorted(numbers, [number for _, number in pairs])  # (N,)
    is_free = np.ones(len(pairs), bool)
    for first, found in _neighbours(codes, rows, is_free, radius):
        members = [(place, distance) for place, distance in found if is_free[place]]
        if not is_free[first] or len(members) == 1:
            continue
        is_free[[place for place, _ in members]] = False
        members.sort(key=lambda member: (member[0] != first, member[1], member[0]))
        yield [_copy(pairs[place][0], distance) for place, distance in members]


def _neighbours(
    codes: np.ndarray, rows: np.ndarray, is_free: np.ndarray, radius: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Pictures that are in no group, each with all pictures within the radius and their distances.

    Args:
        codes: Distinct packed codes (D, ⌈K/8⌉) uint8.
        rows: The row of each picture's code (N,).
        is_free: Whether a picture is in no group yet (N,); whoever takes the answers changes it.
        radius: Bits.
    """
    import faiss

    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    flat.add(codes)
    pictures_of = defaultdict(list)
    for picture, row in enumerate(rows.tolist()):
        pictures_of[row].append(picture)
    for start in range(0, len(rows), AT_ONCE):
        chosen = start + np.flatnonzero(is_free[start : start + AT_ONCE])
        limits, distances, found = flat.range_search(codes[rows[chosen]], radius + 1)
        for picture, begin, end in zip(chosen.tolist(), limits[:-1].tolist(), limits[1:].tolist(), strict=True):
            near = zip(found[begin:end].tolist(), distances[begin:end].astype(int).tolist(), strict=True)
            yield picture, [(other, distance) for row, distance in near for other in pictures_of[row]]


def _copy(item: Item, distance: int) -> Copy:
    width, height = dimensions(item.full_path)
    return Copy(item.full_path, distance, item.file.size, width, height)


def dimensions(path: str) -> tuple[Any, Any]:
    """Width and height of a picture in pixels, which its first bytes tell; None where they do not."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # what a broken file makes Pillow raise is no closed list
        return None, None

"""HashNet's list format: a line an image, `relative/path b1 … bC`, each b 0 or 1; or `relative/path class`."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

LIST_FILES = {"train": "train.txt", "query": "test.txt", "database": "database.txt"}
MOST_CLASSES = 65_536  # a class number above is a slip, and would take the memory of all the classes below it
EXPECTED = "expected a path without blanks and its labels, as in 'cat/1.jpg 1 0'"


def read_list(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads one list file: blanks or tabs, any ends of lines, with or without a byte-order mark.

    Args:
        path: A text file, a line an image: a path relative to the data set's root, then either C labels, each 0 or 1,
            or one class number from 0 up. Blank lines may stand at the end.

    Returns:
        N paths, and labels: (N, C) uint8, or (N,) int64 class numbers.

    Raises:
        ValueError: The file is missing or empty, or a line is wrong: a label is not 0 or 1, there are more or fewer
            than in the first line, or the path leads out of the root. It names the file, the first such line, and how
            many more there are.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     _ = file.write("cat/1.jpg 1 0\\ndog/1.jpg 0 1\\n")
        ...     file.flush()
        ...     read_list(Path(file.name))
        (['cat/1.jpg', 'dog/1.jpg'], array([[1, 0], [0, 1]], dtype=uint8))
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such list; expected {', '.join(LIST_FILES.values())} (test.txt has the queries)")
    paths, labels, faults, width = [], bytearray(), [], None
    for number, line in enumerate(lines_of(path), 1):
        if width is None:
            width = len(line.split()) - 1
        try:
            name, digits = split_line(line, width)
            paths.append(clean_path(name))
            labels += digits
        except ValueError as error:
            faults.append((number, error))
    if width is None:
        raise ValueError(f"{path}: empty; {EXPECTED}")
    if faults:
        (number, error), others = faults[0], [number for number, _ in faults[1:]]
        raise ValueError(f"{path}:{number}: {error}{describe_others(others)}")
    if width == 1:
        return paths, np.array(bytes(labels).split()).astype(np.int64)  # (N,)
    return paths, np.frombuffer(labels, dtype=np.uint8).reshape(len(paths), width) - ord("0")  # (N, C)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, without a byte-order mark and blank lines at the end."""
    with path.open("rb") as file:
        file.seek(len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0)
        blank = 0
        for line in file:
            if line.isspace():
                blank += 1
                continue
            yield from [b""] * blank
            yield line
            blank = 0


def split_line(line: bytes, width: int) -> tuple[bytes, bytes]:
    """Path and labels of a line: `width` digits, or a class number and a blank.

    Raises:
        ValueError: It is not such a line.
    """
    name, *rest = line.split(None, 1) or [b""]
    labels = rest[0].rstrip() if rest else b""
    digits = labels[::2]
    # Nearly every line is a digit, one blank, a digit …; to split it would take ten times as long.
    if 1 < width == len(digits) and not labels[1::2].strip(b" \t") and not digits.strip(b"01"):
        return name, digits
    fields = labels.split()
    texts = [field.decode(errors="replace") for field in fields]
    if not fields:
        raise ValueError(f"{line.decode(errors='replace').strip()!r} given; {EXPECTED}")
    if len(fields) == width == 1:
        if not fields[0].isdigit() or len(fields[0]) > 5 or int(fields[0]) >= MOST_CLASSES:
            raise ValueError(f"class {texts[0]!r} given; allowed: a number from 0 to {MOST_CLASSES - 1}")
        return name, fields[0] + b" "
    wrong = next((text for text in texts if text not in ("0", "1")), None)
    if wrong is not None:
        raise ValueError(f"label {wrong!r} given; allowed: 0 or 1" + ("" if len(wrong) < 5 else f"; {EXPECTED}"))
    if len(fields) != width:
        raise ValueError(f"{len(fields)} labels given; the first line has {width}")
    return name, b"".join(fields)


def clean_path(name: bytes) -> str:
    """A list's path as text, without `.` and doubled slashes.

    Raises:
        ValueError: It leads out of the root, or is not written as paths in lists are.
    """
    try:
        path = name.decode()
    except UnicodeDecodeError:
        raise ValueError(f"path {name.decode(errors='replace')!r} is not UTF-8 text") from None
    if "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} given; expected slashes between folders, as in 'cat/1.jpg'")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
        raise ValueError(f"path {path!r} leads out of the data set's root")
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def describe_others(lines: Sequence[int]) -> str:
    """How many more lines are like one, and the first of them, in brackets.

    Example:
        >>> describe_others([7, 9, 12, 30])
        ' (and 4 more such lines: 7, 9, 12, …)'
    """
    if not lines:
        return ""
    shown = ", ".join(map(str, lines[:3])) + (", …" if len(lines) > 3 else "")
    return f" (and {len(lines):,} more such line{'s' if len(lines) > 1 else ''}: {shown})"

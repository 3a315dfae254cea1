"""HashNet's list format: a line an image, `relative/path b1 … bC`, each b 0 or 1."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np


def read_list(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads one list file.

    Args:
        path: A text file, a line an image: a path relative to the data set's root, then C labels, each 0 or 1.

    Returns:
        N paths, and targets (N, C) uint8.

    Raises:
        ValueError: The file is missing or empty, a label is not 0 or 1, a row has another number of labels than the
            first, or a path leads out of the root; with the file and the line.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     _ = file.write("cat/1.jpg 1 0\\ndog/1.jpg 0 1\\n")
        ...     file.flush()
        ...     read_list(Path(file.name))
        (['cat/1.jpg', 'dog/1.jpg'], array([[1, 0], [0, 1]], dtype=uint8))
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such list; expected train.txt, test.txt (the queries) and database.txt")
    lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    if not lines:
        raise ValueError(f"{path}: empty; expected a line an image, as in 'cat/1.jpg 1 0'")
    rows = [line.split(maxsplit=1) for line in lines]
    number = next((number for number, row in enumerate(rows, 1) if len(row) != 2), None)
    if number is not None:
        raise ValueError(f"{path}:{number}: {lines[number - 1]!r} given; expected a path and its labels")
    paths = [row[0] for row in rows]
    labels = ["".join(row[1].split()) for row in rows]  # single digits, so a row is as long as it has labels
    width = len(labels[0])
    for number, (name, label) in enumerate(zip(paths, labels, strict=True), 1):
        if len(label) != width:
            raise ValueError(f"{path}:{number}: {len(label)} labels given; the first line has {width}")
        if label.strip("01"):
            raise ValueError(f"{path}:{number}: label {label.strip('01')[0]!r} given; allowed: 0 or 1")
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path}:{number}: path {name!r} leads out of the data set's root")
    targets = np.frombuffer("".join(labels).encode(), dtype=np.uint8).reshape(len(labels), width) - ord("0")  # (N, C)
    return paths, targets

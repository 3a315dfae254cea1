"""Data sets in a folder: HashNet's list files, what the published ones hold, and a sub-folder for each class."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets.checks import LIST_FILES, shorten
from relahash_nb.datasets.images import FileImages
from relahash_nb.datasets.splits import Dataset, Finding, Pool, one_hot
from relahash_nb.pictures import decoded_size, scan

MAX_CLASSES = 65_536  # a class number above is a slip, and would take the memory of all the classes below it
EXPECTED = "expected a path without blanks and its labels, as in 'cat/1.jpg 1 0'"
# What published data sets hold: classes, lines of each list, their SHA-256 where known, notes by rule of a finding.
# imagenet100: HashNet's lists without the folder that its paths begin with, as all that came after share them.
# nuswide_21: DeepHash-pytorch's; the sum of its database list is not known. Another split of equal sizes has its name.
# coco: HashNet's, likewise: the database has all queries, and no training image. Another split has the same name.
PUBLISHED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("published.json").read_bytes())


def image_root(config: RunConfig) -> Path:
    """The folder that a config's images lie in; a ValueError says that there is none."""
    if config.root is None or not Path(config.root).is_dir():
        raise ValueError(f"root: {config.root!r} given; {config.dataset} needs the folder that holds the images")
    return Path(config.root)


def lists(config: RunConfig) -> Dataset:
    """A folder in HashNet's list format; a list that cannot be read is among the findings, and its split is empty."""
    root = image_root(config)
    paths, labels, findings = read_lists(root)
    positions, pool_paths = pool_positions(paths)
    classes = next(iter(labels.values())).shape[1] if labels else 0
    targets = np.zeros((len(pool_paths), classes), dtype=np.uint8)  # (M, C)
    for name, rows in labels.items():
        targets[positions[name]] = rows
    for name, rows in labels.items():
        differs = (targets[positions[name]] != rows).any(axis=1)  # (N,)
        lines = (1 + np.flatnonzero(differs)).tolist()
        if lines:
            path = shorten(paths[name][lines[0] - 1])
            place = f"{root / LIST_FILES[name]}:{lines[0]}"
            text = f"{place}: {path} has other labels in another line{describe_others(lines[1:])}"
            findings.append(Finding("labels differ", text))
    class_names: list[str] = []
    if classes:
        class_names, unclear = read_class_names(root, classes)
        findings += unclear
    if config.dataset in PUBLISHED:
        lengths = {name: len(listed) for name, listed in paths.items()}
        findings += check_published(config.dataset, root, lengths, classes)
    data = _from_files(config, pool_paths, torch.from_numpy(targets), class_names, positions)
    return replace(data, listed=True, findings=tuple(findings))


def folder(config: RunConfig) -> Dataset:
    """A folder with a sub-folder for each class.

    The share `holdout` of each class (0.2 by default), at least one image, becomes queries, which are in neither train
    nor database. All other images are both train and database.
    """
    paths_by_class = scan_folder(image_root(config))
    paths = [path for members in paths_by_class.values() for path in members]
    counts = [len(members) for members in paths_by_class.values()]
    labels = np.repeat(np.arange(len(counts)), counts)  # (M,)
    is_query = np.zeros(len(paths), dtype=bool)
    generator = np.random.default_rng(config.split_seed)
    for label, count in enumerate(counts):
        held_out = max(1, round(config.holdout * count))
        held_out = min(held_out, count - 1)
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        is_query[shuffled[:held_out]] = True
    others = np.flatnonzero(~is_query)
    positions = {"train": others, "query": np.flatnonzero(is_query), "database": others}
    return _from_files(config, paths, one_hot(labels), list(paths_by_class), positions)


def pool_positions(paths: Mapping[str, Sequence[str]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Where the images of each list are in the pool, (N,) int64 by split, and the M paths of the pool.

    An image that stands in two lists is kept once. A split without a list is empty.
    """
    position_of: dict[str, int] = {}
    positions = {}
    for name in LIST_FILES:
        listed = paths.get(name, [])
        for path in listed:
            position_of.setdefault(path, len(position_of))
        positions[name] = np.array([position_of[path] for path in listed], dtype=np.int64)
    return positions, list(position_of)


def _from_files(
    config: RunConfig, paths: list[str], targets: Tensor, class_names: list[str], positions: Mapping[str, np.ndarray]
) -> Dataset:
    """Files, kept larger than the model's images where crops are cut out of them."""
    images = FileImages(image_root(config), paths, decoded_size(config.image_size, config.augment))
    pool = Pool(images, targets, np.array(paths, dtype=str), config.image_size)
    return Dataset.from_pool(config.dataset, class_names, pool, positions)


def read_list(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads one list file: N paths, and labels (N, C) uint8 or class numbers (N,) int64.

    Each line has a path relative to the data set's root, then either C labels, each 0 or 1, or one class number from
    0 up, after blanks or tabs. Any ends of lines, a byte-order mark, and blank lines at the end are taken.

    Raises:
        ValueError: The file is missing or empty, or a line is wrong; the first one is named.
    """
    lines = _read_lines(path)
    width = len(lines[0].split()) - 1
    paths = []
    rows = []
    faults = {}
    for number, line in enumerate(lines, start=1):
        try:
            image_path, labels = _parse_line(line, width)
        except ValueError as error:
            faults[number] = str(error)
        else:
            paths.append(image_path)
            rows.append(labels)
    if faults:
        first, *others = faults
        raise ValueError(f"{path}:{first}: {faults[first]}{describe_others(others)}")
    table = np.array(rows)  # (N, C)
    if width == 1:
        return paths, table[:, 0]
    return paths, table


def read_lists(root: Path) -> tuple[dict[str, list[str]], dict[str, np.ndarray], list[Finding]]:
    """Reads the three lists of a folder.

    Returns:
        The paths, and the labels (N, C) uint8, of the lists that can be read and go together, by split; and what is
        wrong with the others.
    """
    paths: dict[str, list[str]] = {}
    labels: dict[str, np.ndarray] = {}
    findings = []
    for name, file in LIST_FILES.items():
        try:
            listed, rows = read_list(root / file)
            _check_columns(root / file, rows, labels)
        except (OSError, ValueError) as error:
            rule = "list" if (root / file).is_file() else "missing list"
            findings.append(Finding(rule, str(error)))
        else:
            paths[name] = listed
            labels[name] = rows
    if any(rows.ndim == 1 for rows in labels.values()):
        classes = 1 + max(int(numbers.max()) for numbers in labels.values())
        labels = {name: one_hot(numbers, classes).numpy() for name, numbers in labels.items()}
    return paths, labels, findings


def read_class_names(root: Path, count: int) -> tuple[list[str], list[Finding]]:
    """From `classes.txt`, a name a line; numbers where there is no such file, or it has another count of names."""
    file = root / "classes.txt"
    numbers = [str(label) for label in range(count)]
    if not file.is_file():
        return numbers, []
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        return numbers, [Finding("list", f"{file}: not UTF-8 text; save it as UTF-8")]
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != count:
        text = f"{file}: {len(names)} names; the lists have {count} classes, which are numbered instead"
        return numbers, [Finding("class names", text)]
    repeated = [shorten(name) for name, times in Counter(names).items() if times > 1]
    if repeated:
        text = f"{file}: {', '.join(repeated[:3])}: more than one line each; the later ones are numbered"
        return names, [Finding("class names", text)]
    return names, []


def check_published(name: str, root: Path, lengths: Mapping[str, int], classes: int) -> list[Finding]:
    """Whether the lists, of so many lines and classes, are the published ones of a data set."""
    published = PUBLISHED[name]
    findings = []
    if lengths and classes != published["classes"]:
        findings.append(Finding("count", f"{root}: {classes} classes; the published lists have {published['classes']}"))
    for part, length in lengths.items():
        file = root / LIST_FILES[part]
        expected_length = published["counts"][part]
        expected_digest = published["sha256"].get(part)
        if length != expected_length:
            text = f"{file}: {length:,} images; the published list has {expected_length:,}"
            findings.append(Finding("count", text))
        elif expected_digest and hashlib.sha256(file.read_bytes()).hexdigest() != expected_digest:
            text = "as many images as in the published list, but its SHA-256 is another; scores may not be comparable"
            findings.append(Finding("unknown list", f"{file}: {text}"))
    return findings


def scan_folder(root: Path) -> dict[str, list[str]]:
    """Paths of the images, two or more, in each sub-folder and those below it; both sorted by name.

    Raises:
        ValueError: A folder cannot be read, there is no sub-folder, or one has fewer than two images.
    """
    expected = "expected a sub-folder a class, each with two or more images"
    found = {}
    try:
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        for name in names:
            found[name] = scan_class(root, name)
    except OSError as error:
        raise ValueError(f"{error.filename}: cannot be read ({error.strerror})") from None
    if not found:
        raise ValueError(f"{root}: no sub-folder; {expected}")
    for name, paths in found.items():
        if len(paths) < 2:
            raise ValueError(f"{root}: {len(paths)} images in sub-folder {shorten(name)}; {expected}")
    return found


def scan_class(root: Path, name: str) -> list[str]:
    """Paths, relative to the root, of the images in the sub-folder of a class; a ValueError if it cannot be read."""
    found = scan(root / name)
    if found.faults:
        raise ValueError(found.faults[0])
    return [f"{name}/{path}" for path in found.files]


def describe_others(lines: Sequence[int]) -> str:
    """How many more lines are like one, and the first of them: ' (and 4 more such lines: 7, 9, 12, …)'."""
    if not lines:
        return ""
    noun = "line" if len(lines) == 1 else "lines"
    shown = ", ".join(map(str, lines[:3]))
    if len(lines) > 3:
        shown += ", …"
    return f" (and {len(lines):,} more such {noun}: {shown})"


def _read_lines(path: Path) -> list[str]:
    """The lines of a list file, one or more; bytes that are not UTF-8 become surrogates, so that they can be named."""
    if not path.is_file():
        raise ValueError(f"{path}: no such list; expected {', '.join(LIST_FILES.values())} (test.txt has the queries)")
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape").rstrip()
    if not text:
        raise ValueError(f"{path}: empty; {EXPECTED}")
    return text.split("\n")  # and not by splitlines, which takes other characters for ends of lines too


def _parse_line(line: str, width: int) -> tuple[str, np.ndarray]:
    """A line's path, and its `width` labels (C,) uint8 or, if that is 1, its class number (1,) int64."""
    image_path, *texts = line.split() or [""]
    if not texts:
        raise ValueError(f"{_quote(line.strip())} given; {EXPECTED}")
    labels = _parse_class(texts[0]) if len(texts) == width == 1 else _parse_labels(texts, width)
    return _clean_path(image_path), labels


def _parse_class(text: str) -> np.ndarray:
    """A class number, (1,) int64."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    if not is_number or int(text) >= MAX_CLASSES:
        raise ValueError(f"class {_quote(text)} given; allowed: a number from 0 to {MAX_CLASSES - 1}")
    return np.array([int(text)])


def _parse_labels(texts: list[str], width: int) -> np.ndarray:
    """Labels, each 0 or 1, (C,) uint8."""
    if not {"0", "1"}.issuperset(texts):
        wrong = next(text for text in texts if text not in ("0", "1"))
        hint = f"; {EXPECTED}" if len(wrong) > 4 else ""  # probably a part of a path with a blank
        raise ValueError(f"label {_quote(wrong)} given; allowed: 0 or 1{hint}")
    if len(texts) != width:
        raise ValueError(f"{len(texts)} labels given; the first line has {width}")
    return np.array(texts, dtype=np.uint8)


def _clean_path(path: str) -> str:
    """A list's path without `.` and doubled slashes."""
    if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
        raise ValueError(f"path {_quote(path)} is not UTF-8 text")
    if "\\" in path or "\0" in path:
        raise ValueError(f"path {_quote(path)} given; expected slashes between folders, as in 'cat/1.jpg'")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
        raise ValueError(f"path {_quote(path)} leads out of the data set's root; expected one below it")
    return posixpath.normpath(path)


def _check_columns(path: Path, labels: np.ndarray, earlier: Mapping[str, np.ndarray]) -> None:
    """Refuses a list whose labels are of another kind or number than those of the lists that were read before."""
    for name, expected in earlier.items():
        if labels.shape[1:] != expected.shape[1:]:
            given = _describe_columns(labels)
            raise ValueError(f"{path}:1: {given} given; {LIST_FILES[name]} has {_describe_columns(expected)}")


def _describe_columns(labels: np.ndarray) -> str:
    return "class numbers" if labels.ndim == 1 else f"{labels.shape[1]} labels"


def _quote(text: str) -> str:
    """A text of a list in quotes, shortened; what is not UTF-8 is replaced."""
    return repr(shorten(text).encode(errors="surrogateescape").decode(errors="replace"))

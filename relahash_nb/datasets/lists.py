"""Data sets in a folder: HashNet's list files, what the published ones hold, and a sub-folder for each class."""

import hashlib
import json
import os
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
from relahash_nb.datasets.images import IMAGE_SUFFIXES, FileImages, decoded_size
from relahash_nb.datasets.splits import Dataset, Finding, Pool, one_hot

MOST_CLASSES = 65_536  # a class number above is a slip, and would take the memory of all the classes below it
EXPECTED = "expected a path without blanks and its labels, as in 'cat/1.jpg 1 0'"
# What published data sets hold: classes, lines of each list, their SHA-256 where known, notes by rule of a finding.
# imagenet100: HashNet's lists without the folder that its paths begin with, as all that came after share them.
# nuswide_21: DeepHash-pytorch's; the sum of its database list is not known. Another split of equal sizes has its name.
# coco: HashNet's, likewise: the database has all queries, and no training image. Another split has the same name.
PUBLISHED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("published.json").read_bytes())


def lists(config: RunConfig) -> Dataset:
    """A folder in HashNet's list format; a list that cannot be read is among the findings, and its split is empty."""
    root = Path(config.root)
    paths, labels, findings = read_lists(root)
    rows: dict[str, int] = {}  # of each path in the pool: an image that stands in two lists is kept once
    positions = {name: np.array([rows.setdefault(path, len(rows)) for path in paths[name]], int) for name in paths}
    classes = next((one.shape[1] for one in labels.values()), 0)
    targets = np.zeros((len(rows), classes), dtype=np.uint8)
    for name, one in labels.items():
        targets[positions[name]] = one
    for name, one in labels.items():
        lines = (1 + np.flatnonzero((targets[positions[name]] != one).any(1))).tolist()
        if lines:
            what = f"{shorten(paths[name][lines[0] - 1])} has other labels in another line{describe_others(lines[1:])}"
            findings.append(Finding("labels differ", f"{root / LIST_FILES[name]}:{lines[0]}: {what}"))
    names, unclear = read_class_names(root, classes) if classes else ([], [])
    findings += unclear
    if config.dataset in PUBLISHED:
        lengths = {name: len(listed) for name, listed in paths.items()}
        findings += check_published(config.dataset, root, lengths, classes)
    data = _from_files(config, list(rows), torch.from_numpy(targets), names, dict.fromkeys(LIST_FILES, ()) | positions)
    return replace(data, listed=True, findings=tuple(findings))


def folder(config: RunConfig) -> Dataset:
    """A folder with a sub-folder for each class.

    The share `holdout` of each class (0.2 by default), at least one image, becomes queries, which are in neither train
    nor database. All other images are both train and database.
    """
    found = scan_folder(Path(config.root))
    paths = [path for name in found for path in found[name]]
    lengths = [len(one) for one in found.values()]
    generator, is_query = np.random.default_rng(config.split_seed), np.zeros(len(paths), dtype=bool)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        held_out = min(max(1, round(config.holdout * length)), length - 1)
        is_query[generator.permutation(np.arange(end - length, end))[:held_out]] = True
    rest = np.flatnonzero(~is_query)
    targets = one_hot(np.repeat(np.arange(len(found)), lengths))
    positions = {"train": rest, "query": np.flatnonzero(is_query), "database": rest}
    return _from_files(config, paths, targets, list(found), positions)


def _from_files(
    config: RunConfig, paths: list[str], targets: Tensor, class_names: list[str], positions: Mapping[str, Any]
) -> Dataset:
    """Files, kept larger than the model's images where crops are cut out of them."""
    images = FileImages(Path(config.root), paths, decoded_size(config.image_size, config.augment))
    pool = Pool(images, targets, np.array(paths, dtype=str), config.image_size)
    return Dataset.from_pool(config.dataset, class_names, pool, positions)


def read_list(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads one list file: N paths, and labels (N, C) uint8 or class numbers (N,) int64.

    Each line has a path relative to the data set's root, then either C labels, each 0 or 1, or one class number from
    0 up, after blanks or tabs. Any ends of lines, a byte-order mark, and blank lines at the end are taken.

    Raises:
        ValueError: The file is missing or empty, or a line is wrong; the first one is named.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such list; expected {', '.join(LIST_FILES.values())} (test.txt has the queries)")
    # Undecodable bytes become surrogates, so that the line with them can be named; only "\n" ends a line.
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape").rstrip()
    if not text:
        raise ValueError(f"{path}: empty; {EXPECTED}")
    lines = text.split("\n")
    width = len(lines[0].split()) - 1
    paths, labels, faults = [], [], []
    for number, line in enumerate(lines, 1):
        name, *digits = line.split() or [""]
        try:
            labels.append(_check_labels(line, digits, width))
            paths.append(_clean_path(name))
        except ValueError as error:
            faults.append((number, error))
    if faults:
        (number, error), others = faults[0], [number for number, _ in faults[1:]]
        raise ValueError(f"{path}:{number}: {error}{describe_others(others)}")
    if width == 1:
        return paths, np.array(labels).astype(np.int64)  # (N,)
    return paths, np.frombuffer("".join(labels).encode(), dtype=np.uint8).reshape(-1, width) - ord("0")  # (N, C)


def read_lists(root: Path) -> tuple[dict[str, list[str]], dict[str, np.ndarray], list[Finding]]:
    """Paths and labels (N, C) uint8 of the lists that can be read and go together; what is wrong with the others."""
    paths, labels, findings = {}, {}, []
    for name, file in LIST_FILES.items():
        try:
            found = read_list(root / file)
            for other, first in labels.items():
                given, known = (
                    f"{one.shape[1]} labels" if one.ndim == 2 else "class numbers" for one in (found[1], first)
                )
                if given != known:
                    raise ValueError(f"{root / file}:1: {given} given; {LIST_FILES[other]} has {known}")
        except (OSError, ValueError) as error:
            findings.append(Finding("list" if (root / file).is_file() else "missing list", str(error)))
        else:
            paths[name], labels[name] = found
    if labels and next(iter(labels.values())).ndim == 1:
        classes = 1 + max(int(numbers.max()) for numbers in labels.values())
        labels = {name: (numbers[:, None] == np.arange(classes)).astype(np.uint8) for name, numbers in labels.items()}
    return paths, labels, findings


def read_class_names(root: Path, count: int) -> tuple[list[str], list[Finding]]:
    """From `classes.txt`, a name a line; numbers where there is no such file, or it has another count of names."""
    file, numbers = root / "classes.txt", [str(label) for label in range(count)]
    if not file.is_file():
        return numbers, []
    try:
        names = [line.strip() for line in file.read_bytes().decode("utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError:
        return numbers, [Finding("list", f"{file}: not UTF-8 text; save it as UTF-8")]
    if len(names) != count:
        text = f"{file}: {len(names)} names; the lists have {count} classes, which are numbered instead"
        return numbers, [Finding("class names", text)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    text = f"{file}: {', '.join(map(shorten, twice[:3]))} stands there more than once; the later are numbered"
    return names, [Finding("class names", text)] if twice else []


def check_published(name: str, root: Path, lengths: Mapping[str, int], classes: int) -> list[Finding]:
    """Whether the lists, of so many lines and classes, are the published ones of a data set."""
    published, findings = PUBLISHED[name], []
    if lengths and classes != published["classes"]:
        findings.append(Finding("count", f"{root}: {classes} classes; the published lists have {published['classes']}"))
    for part, length in lengths.items():
        file, known, count = root / LIST_FILES[part], published["sha256"].get(part), published["counts"][part]
        if length != count:
            findings.append(Finding("count", f"{file}: {length:,} images; the published list has {count:,}"))
        elif known and hashlib.sha256(file.read_bytes()).hexdigest() != known:
            text = "as many images as in the published list, but its SHA-256 is another; scores may not be comparable"
            findings.append(Finding("unknown list", f"{file}: {text}"))
    return findings


def scan_folder(root: Path) -> dict[str, list[str]]:
    """Paths of the images, two or more, in each sub-folder and those below it; both sorted by name."""
    found, kinds = {}, ", ".join(IMAGE_SUFFIXES)
    expected = f"expected a sub-folder a class, each with two or more images ({kinds})"
    try:
        folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
        if not folders:
            raise ValueError(f"{root}: no sub-folder; {expected}")
        for name in folders:
            found[name] = sorted(
                Path(folder, file).relative_to(root).as_posix()
                for folder, _, files in os.walk(root / name, onerror=_raise)
                for file in files
                if file.lower().endswith(IMAGE_SUFFIXES) and Path(folder, file).is_file()
            )
            if len(found[name]) < 2:
                raise ValueError(f"{root}: {len(found[name])} images in sub-folder {shorten(name)}; {expected}")
    except OSError as error:
        raise ValueError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return found


def describe_others(lines: Sequence[int]) -> str:
    """How many more lines are like one, and the first of them: ' (and 4 more such lines: 7, 9, 12, …)'."""
    if not lines:
        return ""
    shown = ", ".join(map(str, lines[:3])) + (", …" if len(lines) > 3 else "")
    return f" (and {len(lines):,} more such line{'s' if len(lines) > 1 else ''}: {shown})"


def _check_labels(line: str, digits: list[str], width: int) -> str:
    """The labels of a line as one text: `width` digits, or a class number."""
    if not digits:
        raise ValueError(f"{_quote(line.strip())} given; {EXPECTED}")
    if len(digits) == width == 1:
        text = digits[0]
        if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) >= MOST_CLASSES:
            raise ValueError(f"class {_quote(text)} given; allowed: a number from 0 to {MOST_CLASSES - 1}")
        return text
    wrong = next((text for text in digits if text not in ("0", "1")), None)
    if wrong is not None:
        raise ValueError(f"label {_quote(wrong)} given; allowed: 0 or 1" + (f"; {EXPECTED}" if len(wrong) > 4 else ""))
    if len(digits) != width:
        raise ValueError(f"{len(digits)} labels given; the first line has {width}")
    return "".join(digits)


def _clean_path(path: str) -> str:
    """A list's path without `.` and doubled slashes."""
    if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
        raise ValueError(f"path {_quote(path)} is not UTF-8 text")
    if "\\" in path or "\0" in path:
        raise ValueError(f"path {_quote(path)} given; expected slashes between folders, as in 'cat/1.jpg'")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
        raise ValueError(f"path {_quote(path)} leads out of the data set's root; expected one below it")
    return posixpath.normpath(path)


def _quote(text: str) -> str:
    return repr(shorten(text).encode(errors="surrogateescape").decode(errors="replace"))


def _raise(error: OSError) -> None:
    raise error

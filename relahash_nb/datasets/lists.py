"""Data sets by lists: HashNet's list files, those of paths and labels apart, and what the published ones hold."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets.checks import LIST_FILES, shorten
from relahash_nb.datasets.images import FileImages
from relahash_nb.datasets.splits import Dataset, Finding, Pool, one_hot
from relahash_nb.pictures import decoded_size

MAX_CLASSES = 65_536  # a class number above is a slip, and would take the memory of all the classes below it
PATHS_ALONE = "_img.txt"  # in place of .txt: a list of paths, whose labels are in a file of their own
LABELS_ALONE = "_label_onehot.txt"
DRAWN_PER_CLASS = 500
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


@dataclass
class Lists:
    """What the lists of a folder say, by split: `train`, `query` and `database`, without those that cannot be read.

    Attributes:
        files: Their names; `train` has none where it is drawn.
        paths: N paths, relative to the folder.
        labels: (N, C) uint8.
        findings: What is wrong with them.
    """

    files: dict[str, str] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def lists(config: RunConfig) -> Dataset:
    """A folder in HashNet's list format; a list that cannot be read is among the findings, and its split is empty."""
    root = image_root(config)
    listed = read_lists(root, config.split_seed)
    findings = listed.findings
    positions, pool_paths = pool_positions(listed.paths)
    classes = next(iter(listed.labels.values())).shape[1] if listed.labels else 0
    targets = np.zeros((len(pool_paths), classes), dtype=np.uint8)  # (M, C)
    for name, rows in listed.labels.items():
        targets[positions[name]] = rows
    for name, file in listed.files.items():
        differs = (targets[positions[name]] != listed.labels[name]).any(axis=1)  # (N,)
        findings += find_contradiction(root / file, listed.paths[name], differs)
    class_names: list[str] = []
    if classes:
        class_names, unclear = read_class_names(root, classes)
        findings += unclear
    if config.dataset in PUBLISHED:
        findings += check_published(config.dataset, root, listed, classes)
    data = from_files(config, pool_paths, torch.from_numpy(targets), class_names, positions)
    return replace(data, list_files=listed.files, findings=tuple(findings))


def find_contradiction(file: Path, paths: Sequence[str], differs: np.ndarray) -> list[Finding]:
    """The lines of a list whose labels are not those that the same image has in another line; (N,) bool says which."""
    lines = (1 + np.flatnonzero(differs)).tolist()
    if not lines:
        return []
    path = shorten(paths[lines[0] - 1])
    text = f"{file}:{lines[0]}: {path} has other labels in another line{describe_others(lines[1:])}"
    return [Finding("labels differ", text)]


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


def from_files(
    config: RunConfig, paths: list[str], targets: Tensor, class_names: list[str], positions: Mapping[str, np.ndarray]
) -> Dataset:
    """Files, kept larger than the model's images where crops are cut out of them."""
    size = decoded_size(config.image_size, config.augment)
    images = FileImages(image_root(config), paths, size, config.truncated)
    pool = Pool(images, targets, np.array(paths, dtype=str), config.image_size)
    return Dataset.from_pool(config.dataset, class_names, pool, positions)


def read_list(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads one list file: N paths, and labels (N, C) uint8 or class numbers (N,) int64.

    Each line has a path relative to the data set's root, then either C labels, each 0 or 1, or one class number from
    0 up, after blanks or tabs. Any ends of lines, a byte-order mark, and blank lines at the end are taken.

    Raises:
        ValueError: The file is missing or empty, or a line is wrong; the first one is named.
    """
    return _parse_lines(path, _read_lines(path))


def _parse_lines(path: Path, lines: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Paths and labels of the lines of a list; `path` is for messages."""
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


def find_list(root: Path, name: str) -> str:
    """The file of a split's list: `test.txt`, or `test_img.txt`, whose labels are in `test_label_onehot.txt`."""
    file = LIST_FILES[name]
    pair = file.replace(".txt", PATHS_ALONE)
    has_pair_alone = (root / pair).is_file() and not (root / file).exists()
    return pair if has_pair_alone else file


def is_pair(file: str) -> bool:
    """Whether a list file has paths alone."""
    return file.endswith(PATHS_ALONE)


def read_pair(path: Path) -> tuple[list[str], np.ndarray]:
    """The same as `read_list` of a file of paths, a line each, and one of labels, as NUS-WIDE is passed on."""
    label_path = path.with_name(path.name.replace(PATHS_ALONE, LABELS_ALONE))
    images = _read_lines(path)
    labels = _read_lines(label_path)
    if len(images) != len(labels):
        raise ValueError(f"{path}: {len(images):,} lines; {label_path.name} has {len(labels):,}")
    return _parse_lines(path, [f"{image} {row}" for image, row in zip(images, labels, strict=True)])


def draw_training(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of labels (N, C) that are learned from: 500 of each class, as the literature on NUS-WIDE has it.

    An image with several classes is drawn for one of them; the others then have more than 500.
    """
    generator = np.random.default_rng([seed, 2])  # another stream than those of other splits
    is_drawn = np.zeros(len(labels), dtype=bool)
    for column in labels.T:
        candidates = np.flatnonzero((column > 0) & ~is_drawn)
        is_drawn[generator.permutation(candidates)[:DRAWN_PER_CLASS]] = True
    return np.flatnonzero(is_drawn)


def read_lists(root: Path, seed: int) -> Lists:
    """Reads the three lists of a folder, those that can be read and go together.

    Where the database is listed in two files and there is no list to train on, the training images are drawn.
    """
    listed = Lists()
    for name in LIST_FILES:
        read_one(root, name, listed)
    listed.labels = as_columns(listed.labels)
    has_training = (root / find_list(root, "train")).exists()
    if not has_training and is_pair(listed.files.get("database", "")):
        drawn = draw_training(listed.labels["database"], seed)
        listed.paths["train"] = [listed.paths["database"][row] for row in drawn]
        listed.labels["train"] = listed.labels["database"][drawn]
        text = f"no train.txt: {len(drawn):,} images are drawn from the database, {DRAWN_PER_CLASS} a class"
        listed.findings = [finding for finding in listed.findings if "train.txt" not in finding.text]
        listed.findings.append(Finding("drawn", f"{root}: {text}"))
    return listed


def as_columns(labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Labels (N, C) of each list; class numbers (N,) become columns, up to the largest number of all lists."""
    if all(rows.ndim == 2 for rows in labels.values()):
        return labels
    classes = 1 + max(int(numbers.max()) for numbers in labels.values())
    return {name: one_hot(numbers, classes).numpy() for name, numbers in labels.items()}


def read_one(root: Path, name: str, listed: Lists) -> None:
    """Adds the list of a split to those that were read before, or what is wrong with it to the findings."""
    file = find_list(root, name)
    read = read_pair if is_pair(file) else read_list
    try:
        paths, rows = read(root / file)
        _check_columns(root / file, rows, listed.labels)
    except (OSError, ValueError) as error:
        rule = "list" if (root / file).is_file() else "missing list"
        listed.findings.append(Finding(rule, str(error)))
        return
    listed.files[name] = file
    listed.paths[name] = paths
    listed.labels[name] = rows


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


def check_published(name: str, root: Path, listed: Lists, classes: int) -> list[Finding]:
    """Whether lists of so many classes are the published ones of a data set; those of two files by their count."""
    published = PUBLISHED[name]
    findings = []
    if listed.files and classes != published["classes"]:
        findings.append(Finding("count", f"{root}: {classes} classes; the published lists have {published['classes']}"))
    for part, name_of_file in listed.files.items():
        file = root / name_of_file
        length = len(listed.paths[part])
        expected_length = published["counts"][part]
        expected_digest = None if is_pair(name_of_file) else published["sha256"].get(part)
        if length != expected_length:
            text = f"{file}: {length:,} images; the published list has {expected_length:,}"
            findings.append(Finding("count", text))
        elif expected_digest and hashlib.sha256(file.read_bytes()).hexdigest() != expected_digest:
            text = "as many images as in the published list, but its SHA-256 is another; scores may not be comparable"
            findings.append(Finding("unknown list", f"{file}: {text}"))
    return findings


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

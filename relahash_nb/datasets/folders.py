"""Data sets that lie in a folder: HashNet's lists beside their images, or a sub-folder a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from relahash_nb.config import RunConfig
from relahash_nb.datasets.augment import kept_size
from relahash_nb.datasets.findings import Finding
from relahash_nb.datasets.images import IMAGE_SUFFIXES, FileImages
from relahash_nb.datasets.lists import LIST_FILES, describe_others, read_list
from relahash_nb.datasets.published import PUBLISHED, check_published
from relahash_nb.datasets.splits import Dataset, Pool, one_hot

Listed = tuple[list[str], np.ndarray]  # paths and labels, as `read_list` gives them
FOLDER_QUERY_SHARE = 0.1  # of each class of a `folder`, at least one image


def lists(config: RunConfig) -> Dataset:
    """A folder in HashNet's list format: images, and `train.txt`, `test.txt` (the queries) and `database.txt`.

    A list that cannot be read is among the findings, and its split is empty.
    """
    root, published = _existing_root(config), PUBLISHED.get(config.dataset)
    parts, findings = _read_lists(root, published.notes.get("list") if published else None)
    if published:
        findings += check_published(published, root, {name: len(paths) for name, (paths, _) in parts.items()})
    rows: dict[str, int] = {}  # of each path in the pool: an image that stands in two lists is kept once
    positions = {
        name: np.array([rows.setdefault(path, len(rows)) for path in paths], dtype=np.int64)
        for name, (paths, _) in parts.items()
    }
    pool_targets, more = _join_targets(root, parts, positions, len(rows))
    ids = np.array(list(rows), dtype=str)
    pool = Pool(_images(root, list(rows), config), torch.from_numpy(pool_targets), ids, config.image_size)
    names = _class_names(root, pool_targets.shape[1])
    data = Dataset.from_pool(config.dataset, names, pool, dict.fromkeys(LIST_FILES, ()) | positions)
    return replace(data, listed=True, findings=(*findings, *more))


def folder(config: RunConfig) -> Dataset:
    """A folder with a sub-folder a class: a tenth of each class is query, the rest is database and train."""
    root = _existing_root(config)
    found = {
        entry.name: sorted(path.relative_to(root).as_posix() for path in entry.rglob("*") if _is_image(path))
        for entry in sorted(root.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    small = [name for name, paths in found.items() if len(paths) < 2]
    if not found or small:
        what = f"{len(found[small[0]])} images in sub-folder {small[0]}" if small else "no sub-folder"
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise ValueError(f"{root}: {what}; expected a sub-folder a class, each with two or more images ({kinds})")
    paths = [path for name in found for path in found[name]]
    labels = np.repeat(np.arange(len(found)), [len(paths) for paths in found.values()])
    generator = np.random.default_rng(config.split_seed)
    is_query = np.zeros(len(paths), dtype=bool)
    for label in range(len(found)):
        members = generator.permutation(np.flatnonzero(labels == label))
        is_query[members[: max(1, round(FOLDER_QUERY_SHARE * len(members)))]] = True
    rest = np.flatnonzero(~is_query)
    pool = Pool(_images(root, paths, config), one_hot(labels), np.array(paths), config.image_size)
    positions = {"train": rest, "query": np.flatnonzero(is_query), "database": rest}
    return Dataset.from_pool(config.dataset, list(found), pool, positions)


def _read_lists(root: Path, note: str | None) -> tuple[dict[str, Listed], list[Finding]]:
    """The lists that can be read and go together, and what is wrong with the others."""
    parts: dict[str, Listed] = {}
    findings = []
    for name, file in LIST_FILES.items():
        try:
            paths, labels = read_list(root / file)
            for other, (_, first) in parts.items():
                if labels.shape[1:] != first.shape[1:]:
                    what = f"{_describe(labels)} given; {LIST_FILES[other]} has {_describe(first)}"
                    raise ValueError(f"{root / file}:1: {what}")
        except (OSError, ValueError) as error:
            findings.append(Finding("list", f"{error}; {note}" if note and not (root / file).exists() else str(error)))
        else:
            parts[name] = paths, labels
    return parts, findings


def _describe(labels: np.ndarray) -> str:
    return f"{labels.shape[1]} labels" if labels.ndim == 2 else "class numbers"


def _join_targets(
    root: Path, parts: dict[str, Listed], positions: dict[str, np.ndarray], count: int
) -> tuple[np.ndarray, list[Finding]]:
    """Targets of the pool (M, C) uint8, from labels of either kind; and lines that contradict one another."""
    targets = {name: labels for name, (_, labels) in parts.items()}
    if any(labels.ndim == 1 for labels in targets.values()):
        classes = 1 + max(int(labels.max()) for labels in targets.values())
        targets = {name: one_hot(labels, classes).numpy() for name, labels in targets.items()}
    classes = next((labels.shape[1] for labels in targets.values()), 0)
    pool = np.zeros((count, classes), dtype=np.uint8)
    for name, labels in targets.items():
        pool[positions[name]] = labels
    findings = []
    for name, labels in targets.items():
        lines = (1 + np.flatnonzero((pool[positions[name]] != labels).any(1))).tolist()
        if lines:
            path, others = parts[name][0][lines[0] - 1], describe_others(lines[1:])
            text = f"{root / LIST_FILES[name]}:{lines[0]}: {path} has other labels in another line{others}"
            findings.append(Finding("labels differ", text))
    return pool, findings


def _images(root: Path, paths: list[str], config: RunConfig) -> FileImages:
    return FileImages(root, paths, kept_size(config.image_size, config.augment), config.max_megapixels)


def _existing_root(config: RunConfig) -> Path:
    if config.root is None or not Path(config.root).is_dir():
        raise ValueError(f"root: {config.root!r} given; {config.dataset} needs the folder that holds the images")
    return Path(config.root)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _class_names(root: Path, count: int) -> list[str]:
    """From `classes.txt`, a name a line, where the folder has it; else numbers."""
    file = root / "classes.txt"
    names = file.read_text(encoding="utf-8-sig").split("\n") if file.is_file() else []
    names = [name.strip() for name in names if name.strip()]
    return names if len(names) == count else [str(label) for label in range(count)]

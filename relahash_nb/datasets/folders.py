"""A folder with a sub-folder for each class, or with `train/`, `test/` and the like, each with such sub-folders."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from relahash_nb.config import RunConfig
from relahash_nb.datasets.checks import shorten
from relahash_nb.datasets.lists import from_files, image_root
from relahash_nb.datasets.splits import Dataset, Finding, one_hot
from relahash_nb.pictures import LEAVINGS, leads_out, scan

EXPECTED = "expected a sub-folder a class, each with two or more pictures"
# Names of folders that are splits and no classes, in any case of their letters; and what each one is.
SPLITS = {
    "train": "train",
    "training": "train",
    "test": "query",
    "testing": "query",
    "query": "query",
    "database": "database",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
Paths = dict[str, list[str]]  # of pictures, relative to the root, by the folder that they are in


def folder(config: RunConfig) -> Dataset:
    """A folder with a sub-folder for each class, or for each split.

    Of a folder of classes the share `holdout` of each (0.2 by default), at least one image, becomes queries, which are
    in neither train nor database. All other images are both train and database.

    A folder is one of splits where it has `train/` and another of `SPLITS`. `train/` is learned from. The queries are
    `test/`, or `val/` where there is none with classes. What is searched in is `database/`, else `train/`.

    Raises:
        ValueError: There is no picture, a class has too few, a folder cannot be read, or splits stand beside classes.
    """
    root = image_root(config)
    found = scan(root)
    if found.faults:
        raise ValueError(found.faults[0])
    folders = group(found.files)
    data = split_folder(config, root, folders) if find_splits(root, folders) else class_folder(config, root, folders)
    notes = list(data.findings)
    loose = len(folders.get("", ()))
    if loose:
        notes.append(Finding("left out", f"{root}: {loose:,} pictures in no sub-folder are left out"))
    if found.passed_over:
        notes.append(Finding("left out", f"{root}: {found.summary()}"))
    return replace(data, findings=tuple(notes))


def group(paths: Iterable[str], level: int = 0) -> Paths:
    """Paths by the folder of theirs at a level below the root; "" for those that lie directly in the one above."""
    groups: Paths = {}
    for path in paths:
        parts = path.split("/")[:-1]
        groups.setdefault(parts[level] if len(parts) > level else "", []).append(path)
    return groups


def class_folder(config: RunConfig, root: Path, folders: Paths) -> Dataset:
    """The data set of a folder of classes; some images of each are drawn as queries."""
    names = subfolders(root)
    if not names:
        raise ValueError(f"{root}: no sub-folder; {EXPECTED}")
    paths = []
    counts = []
    for name in names:
        members = folders.get(name, [])
        if len(members) < 2:
            raise ValueError(f"{root}: {len(members)} images in sub-folder {shorten(name)}; {EXPECTED}")
        paths += members
        counts.append(len(members))
    labels = np.repeat(np.arange(len(names)), counts)  # (M,)
    is_query = draw_queries(labels, config.holdout, config.split_seed)
    others = np.flatnonzero(~is_query)
    positions = {"train": others, "query": np.flatnonzero(is_query), "database": others}
    return from_files(config, paths, one_hot(labels), names, positions)


def draw_queries(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(M,) bool: a share of each class of labels (M,), at least one image and never all."""
    is_query = np.zeros(len(labels), dtype=bool)
    generator = np.random.default_rng(seed)
    for label, count in enumerate(np.bincount(labels).tolist()):
        held_out = max(1, round(share * count))
        held_out = min(held_out, count - 1)
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        is_query[shuffled[:held_out]] = True
    return is_query


def subfolders(root: Path) -> list[str]:
    """The names of the folders in a folder, also of those without a picture, but for what `scan` leaves out."""
    names = []
    for path in root.iterdir():
        is_followed = not path.is_symlink() or leads_out(path.name, os.path.realpath(root))
        if path.is_dir() and is_followed and not path.name.startswith(".") and path.name not in LEAVINGS:
            names.append(path.name)
    return sorted(names)


def find_splits(root: Path, folders: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The folders that are splits, by what they are: `train`, `query`, `database`, `validation`; none of classes.

    Raises:
        ValueError: Two folders are the same split, one stands alone, or others with pictures stand beside the splits.
    """
    splits: dict[str, str] = {}
    others = []
    for name in folders:
        role = SPLITS.get(name.casefold())
        if role is None:
            others.append(name)
        elif role in splits:
            raise ValueError(f"{root}: {splits[role]} and {name} are the same split; keep one")
        else:
            splits[role] = name
    if "train" not in splits or len(splits) < 2:
        refuse_lone_split(root, splits, folders)
        return {}
    beside = [name for name in others if name]
    if beside:
        listed = ", ".join(f"{name}/" for name in splits.values())
        text = f"{listed} are splits, and {shorten(beside[0])}/ is none; move it, or name another --root"
        raise ValueError(f"{root}: {text}")
    return splits


def refuse_lone_split(root: Path, splits: Mapping[str, str], folders: Mapping[str, Sequence[str]]) -> None:
    """Refuses a folder that has the name and the sub-folders of a split, and would be taken for a class."""
    for name in splits.values():
        if group(folders[name], level=1).keys() - {""}:
            expected = "expected beside it: train/, test/, val/ or query/"
            raise ValueError(f"{root}: {shorten(name)}/ has sub-folders, as a split has; {expected}")


def split_folder(config: RunConfig, root: Path, folders: Paths) -> Dataset:
    """The data set of a folder of splits."""
    if config.holdout != RunConfig.model_fields["holdout"].default:
        raise ValueError(f"holdout: {config.holdout} given; {root} has splits of its own, and nothing is drawn")
    splits = find_splits(root, folders)
    classes = {split: group(folders[name], level=1) for split, name in splits.items()}
    for groups in classes.values():
        groups.pop("", None)  # pictures without a class, as the tests of competitions have them
    parts = choose_parts(root, splits, classes)
    listed = []
    for split in sorted(set(parts.values())):
        for class_name, members in sorted(classes[split].items()):
            listed += [(split, class_name, path) for path in members]
    split_of, class_of, paths = zip(*listed, strict=True)  # M each
    names, labels = np.unique(class_of, return_inverse=True)
    positions = {part: np.flatnonzero(np.array(split_of) == split) for part, split in parts.items()}
    data = from_files(config, list(paths), one_hot(labels, len(names)), names.tolist(), positions)
    return replace(data, findings=(describe_splits(root, splits, folders, parts),))


def choose_parts(root: Path, splits: Mapping[str, str], classes: Mapping[str, Paths]) -> dict[str, str]:
    """Which split is `train`, `query` and `database`; a ValueError says that there is nothing to learn or search with.

    Args:
        root: For messages.
        splits: The names of the folders.
        classes: The paths of each split by class.
    """
    if not classes["train"]:
        raise ValueError(f"{root / splits['train']}: no sub-folder with pictures; expected one a class")
    for query in ("query", "validation"):
        if classes.get(query):
            return {"train": "train", "query": query, "database": "database" if classes.get("database") else "train"}
    listed = ", ".join(f"{name}/" for split, name in splits.items() if split != "train")
    raise ValueError(f"{root}: {listed} without a sub-folder a class; nothing to search with")


def describe_splits(root: Path, splits: Mapping[str, str], folders: Paths, parts: Mapping[str, str]) -> Finding:
    """A line on what each split is used for."""
    uses = {"train": "is learned from", "query": "has the queries", "database": "is searched in"}
    texts = []
    for split, name in splits.items():
        used = [uses[part] for part, chosen in parts.items() if chosen == split]
        texts.append(f"{name}/ ({len(folders[name]):,}) {' and '.join(used) or 'is left out'}")
    return Finding("splits", f"{root}: {'; '.join(texts)}")

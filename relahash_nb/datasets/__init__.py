"""Data sets by name: `DATASETS[name](config)` gives the splits; `load_dataset` checks them and adds validation."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor

from relahash_nb.config import RunConfig, load_attribute, shipped
from relahash_nb.datasets.images import AUGMENTATIONS, IMAGE_SUFFIXES, FileImages, prepare
from relahash_nb.datasets.lists import read_list
from relahash_nb.datasets.splits import PROTOCOLS, Dataset, Pool, Split, split_pool

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "PROTOCOLS",
    "Dataset",
    "FileImages",
    "Pool",
    "Split",
    "load_dataset",
    "prepare",
    "read_list",
    "split_pool",
]

FOLDER_QUERY_SHARE = 0.1  # of each class of a `folder`, at least one image


def load_dataset(config: RunConfig) -> Dataset:
    """The splits that a config names, on the CPU.

    Args:
        config: Resolved or not. Of it count `dataset`, `protocol`, `root`, `image_size`, `split_seed`,
            `validation_per_class` and `data_dir`.

    Returns:
        The data set, with a validation split where the config asks for one.

    Raises:
        ValueError: The data are missing, unreadable or do not fit the config; one line says which and where.

    Example:
        >>> data = load_dataset(RunConfig(dataset="fashion_mini"))
        >>> len(data.train), len(data.query), len(data.database), data.class_names[9]
        (3000, 500, 6500, 'Ankle boot')
    """
    config = config.resolve()
    loader = DATASETS.get(config.dataset) or load_attribute(config.dataset)
    data = loader(config)
    if config.batch_size > len(data.train):
        most = len(data.train)
        raise ValueError(
            f"batch_size: {config.batch_size} is too large; {data.name} has {most} training images; give less"
        )
    return data.with_validation(config.validation_per_class, config.split_seed)


def fashion_mini(config: RunConfig) -> Dataset:
    """7,000 images of Fashion-MNIST that come with the package: 3,000 train within 6,500 database, 500 query."""
    with np.load(shipped("data/fashion_mini.npz"), allow_pickle=False) as file:
        images, labels, part = (
            torch.from_numpy(file["images"])[:, None],
            file["labels"],
            file["split"],
        )  # (M, 1, 28, 28)
        names, ids = file["class_names"].tolist(), file["ids"]
    splits = {"train": part == 0, "database": part < 2, "query": part == 2}
    positions = {name: np.flatnonzero(chosen) for name, chosen in splits.items()}
    return Dataset.from_pool(config.dataset, names, Pool(images, one_hot(labels), ids, config.image_size), positions)


def from_torchvision(config: RunConfig) -> Dataset:
    """CIFAR-10, CIFAR-100 or Fashion-MNIST, downloaded to `data_dir` and checked against its sum by torchvision."""
    kind = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}[config.dataset]
    source = getattr(torchvision.datasets, kind)
    try:
        parts = [source(config.data_dir, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{config.dataset}: not in {config.data_dir}, and not to be downloaded ({error})") from None
    images = torch.cat([torch.as_tensor(part.data) for part in parts])  # (M, H, W[, 3])
    images = images.permute(0, 3, 1, 2).contiguous() if images.ndim == 4 else images[:, None]  # (M, 1 or 3, H, W)
    labels = np.concatenate([np.asarray(part.targets) for part in parts])  # (M,)
    pool = Pool(images, one_hot(labels), np.arange(len(labels)), config.image_size)
    official_test = pool.ids >= len(parts[0])
    positions = split_pool(labels, official_test, config.protocol, config.split_seed)
    return Dataset.from_pool(config.dataset, parts[0].classes, pool, positions)


def lists(config: RunConfig) -> Dataset:
    """A folder in HashNet's list format: images, and `train.txt`, `test.txt` (the queries) and `database.txt`."""
    root = _existing_root(config)
    files = {"train": root / "train.txt", "query": root / "test.txt", "database": root / "database.txt"}
    rows: dict[str, int] = {}  # of each path in the pool: an image that stands in two lists is kept once
    positions, parts = {}, []
    for name, file in files.items():
        paths, targets = read_list(file)
        if parts and targets.shape[1] != parts[0].shape[1]:
            raise ValueError(f"{file}:1: {targets.shape[1]} labels given; train.txt has {parts[0].shape[1]}")
        positions[name] = np.array([rows.setdefault(path, len(rows)) for path in paths])
        parts.append(targets)
    pool_targets = np.zeros((len(rows), parts[0].shape[1]), dtype=np.uint8)  # (M, C)
    for name, targets in zip(files, parts, strict=True):
        pool_targets[positions[name]] = targets
    images = decode_if_it_fits(FileImages(root, list(rows), config.image_size))
    pool = Pool(images, torch.from_numpy(pool_targets), np.array(list(rows)), config.image_size)
    return Dataset.from_pool(config.dataset, _class_names(root, pool_targets.shape[1]), pool, positions)


def folder(config: RunConfig) -> Dataset:
    """A folder with a sub-folder a class: a tenth of each class is query, the rest is database and train."""
    root = _existing_root(config)
    found = {
        entry.name: sorted(str(path.relative_to(root)) for path in entry.rglob("*") if _is_image(path))
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
    images = decode_if_it_fits(FileImages(root, paths, config.image_size))
    pool = Pool(images, one_hot(labels), np.array(paths), config.image_size)
    positions = {"train": rest, "query": np.flatnonzero(is_query), "database": rest}
    return Dataset.from_pool(config.dataset, list(found), pool, positions)


def one_hot(labels: np.ndarray) -> Tensor:
    """(M, C) uint8 from (M,) class numbers.

    Example:
        >>> one_hot(np.array([1, 0]))
        tensor([[0, 1],
                [1, 0]], dtype=torch.uint8)
    """
    return torch.nn.functional.one_hot(torch.as_tensor(labels, dtype=torch.long)).to(torch.uint8)


def decode_if_it_fits(images: FileImages) -> Tensor | FileImages:
    """All images in memory where they take less than a quarter of it; else the files, decoded batch by batch."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    return images.in_memory() if math.prod(images.shape) < memory / 4 else images


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


# Your own data set: a function from the config to a `Dataset`, and an entry here and in config.DATASET_NAMES; or
# `--dataset package.module:function` without either.
DATASETS = {
    "fashion_mini": fashion_mini,
    "fashion_mnist": from_torchvision,
    "cifar10": from_torchvision,
    "cifar100": from_torchvision,
    "lists": lists,
    "folder": folder,
}

"""Data sets by name: `DATASETS[name](config)` gives the splits; `load_dataset` checks them and adds validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from relahash_nb.config import RunConfig, load_attribute, shipped
from relahash_nb.datasets.augment import AUGMENTATIONS, kept_size, prepare
from relahash_nb.datasets.checks import check
from relahash_nb.datasets.downloads import from_torchvision
from relahash_nb.datasets.findings import RULES, DataError, Finding
from relahash_nb.datasets.folders import folder, lists
from relahash_nb.datasets.images import FileImages
from relahash_nb.datasets.lists import read_list
from relahash_nb.datasets.published import PUBLISHED, add_note
from relahash_nb.datasets.splits import PROTOCOLS, Dataset, Pool, Split, one_hot, split_pool

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "PROTOCOLS",
    "PUBLISHED",
    "RULES",
    "DataError",
    "Dataset",
    "FileImages",
    "Finding",
    "Pool",
    "Split",
    "check",
    "describe_dataset",
    "inspect_dataset",
    "kept_size",
    "load_dataset",
    "prepare",
    "read_list",
    "split_pool",
]


def load_dataset(config: RunConfig) -> Dataset:
    """The splits that a config names, on the CPU, checked; files are not yet decoded.

    Args:
        config: Resolved or not. Of it count `dataset`, `protocol`, `root`, `image_size`, `augment`, `batch_size`,
            `split_seed`, `validation_per_class`, `drop_self_matches`, `max_megapixels` and `data_dir`.

    Returns:
        The data set, with a validation split where the config asks for one, and with what the checks have to say.

    Raises:
        DataError: What is listed cannot be read, contradicts itself, or lets the model learn from the queries.
        ValueError: The data are missing or do not fit the config; one line says which and where.

    Example:
        >>> data = load_dataset(RunConfig(dataset="fashion_mini"))
        >>> len(data.train), len(data.query), len(data.database), data.class_names[9]
        (3000, 500, 6500, 'Ankle boot')
    """
    config = config.resolve()
    data = inspect_dataset(config)
    if any(finding.level == "error" for finding in data.findings):
        raise DataError(data.findings)
    data = data.with_validation(config.validation_per_class, config.split_seed)
    if config.batch_size > len(data.train):
        most = len(data.train)
        raise ValueError(
            f"batch_size: {config.batch_size} is too large; {data.name} has {most} training images; give less"
        )
    return data


def inspect_dataset(config: RunConfig, all_images: bool = False) -> Dataset:
    """The same without a refusal: what could be read, errors first among its findings.

    Args:
        config: As for `load_dataset`.
        all_images: Read and decode every file, instead of a few.

    Raises:
        ValueError: There is nothing to inspect.
    """
    config = config.resolve()
    loader = DATASETS.get(config.dataset) or load_attribute(config.dataset)
    data = loader(config)
    if config.augment == "crop":  # as published for NUS-WIDE: else test images would be an eighth smaller in scale
        data = data.with_pool(replace(data.pool, centre=True))
    findings = [*data.findings, *check(data, config.drop_self_matches, all_images)]
    findings = [add_note(finding, PUBLISHED.get(config.dataset)) for finding in findings]
    return replace(data, findings=tuple(sorted(findings, key=lambda finding: finding.level)))


def describe_dataset(data: Dataset) -> str:
    """Counts, in one line.

    Example:
        >>> describe_dataset(load_dataset(RunConfig()))
        'fashion_mini: 3,000 train, 500 query, 6,500 database images; 10 classes, one label an image'
    """
    counts = ", ".join(f"{len(getattr(data, name)):,} {name}" for name in ("train", "query", "database"))
    labels = "several labels" if data.multi_label else "one label"
    return f"{data.name}: {counts} images; {len(data.class_names)} classes, {labels} an image"


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


# Your own data set: a function from the config to a `Dataset`, and an entry here and in config.DATASET_NAMES; or
# `--dataset package.module:function` without either.
DATASETS = {
    "fashion_mini": fashion_mini,
    "fashion_mnist": from_torchvision,
    "cifar10": from_torchvision,
    "cifar100": from_torchvision,
    "imagenet100": lists,
    "nuswide_21": lists,
    "coco": lists,
    "lists": lists,
    "folder": folder,
}

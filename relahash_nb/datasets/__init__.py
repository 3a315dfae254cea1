"""Data sets by name: `DATASETS[name](config)` gives the splits; `load_dataset` checks them and adds validation."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from filelock import FileLock

from relahash_nb.config import ROOT_DATASETS, RunConfig, load_attribute, package_file, project_path
from relahash_nb.datasets.checks import DataError, check
from relahash_nb.datasets.images import AUGMENTATIONS, CROPS, FileImages, prepare
from relahash_nb.datasets.lists import PUBLISHED, folder, lists, read_list
from relahash_nb.datasets.splits import RULES, Dataset, Finding, Pool, Split, split_pool

__all__ = [
    "AUGMENTATIONS", "DATASETS", "PUBLISHED", "RULES", "DataError", "Dataset", "FileImages", "Finding", "Pool", "Split",
    "describe_dataset", "inspect_dataset", "load_dataset", "prepare", "read_list", "split_pool",
]  # fmt: skip

# The data set's class in torchvision, and what to put by hand where below `data_dir` when there is no network.
TORCHVISION = {
    "cifar10": ("CIFAR10", "", "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "", "cifar-100-python.tar.gz"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
}


def load_dataset(config: RunConfig) -> Dataset:
    """The splits that a config names, on the CPU, with what the checks have to say; files are not yet decoded.

    Raises:
        DataError: What is listed cannot be read, contradicts itself, or lets the model learn from the queries.
        ValueError: The data are missing or do not fit the config.

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
        given, most = config.batch_size, len(data.train)
        raise ValueError(f"batch_size: {given} is too large; {data.name} has {most} training images; give less")
    return data


def inspect_dataset(config: RunConfig, all_images: bool = False) -> Dataset:
    """The same without a refusal: what could be read, with the findings, errors first.

    With `augment` `crop` or `resized_crop` (imagenet100, coco, nuswide_21) files are kept at 8/7 of `image_size`, and
    a model is tested on their centre: the shorter side at 256 pixels, then the middle 224. RelaHash's own code does so
    for NUS-WIDE; for ImageNet100 it resizes to 224 and assumes that the files were cropped before. `all_images` decodes
    every file instead of a few. A ValueError says that there is nothing to inspect.
    """
    config = config.resolve()
    if config.dataset in ROOT_DATASETS and not (config.root and Path(config.root).is_dir()):
        raise ValueError(f"root: {config.root!r} given; {config.dataset} needs the folder that holds the images")
    data = (DATASETS.get(config.dataset) or load_attribute(config.dataset))(config)
    if not isinstance(data, Dataset):
        given = type(data).__name__
        raise ValueError(f"{config.dataset}: gave a {given}; expected a Dataset (see Dataset.from_arrays)")
    data = data.with_pool(replace(data.pool, image_size=config.image_size, centre=config.augment in CROPS))
    findings = [*data.findings, *check(data, config.drop_self_matches, all_images)]
    notes = PUBLISHED.get(config.dataset, {}).get("notes", {})
    findings = [replace(one, text=f"{one.text} ({notes[one.rule]})") if one.rule in notes else one for one in findings]
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
    with np.load(package_file("data/fashion_mini.npz"), allow_pickle=False) as file:
        images, labels, part, ids = (file[name] for name in ("images", "labels", "split", "ids"))  # (M, 28, 28)
        names = file["class_names"].tolist()
    positions = dict(train=part == 0, database=part < 2, query=part == 2)
    rows = {name: np.flatnonzero(chosen) for name, chosen in positions.items()}
    return Dataset.from_arrays(images, labels, **rows, class_names=names, ids=ids, name=config.dataset)


def from_torchvision(config: RunConfig) -> Dataset:
    """CIFAR-10, CIFAR-100 or Fashion-MNIST by torchvision, downloaded to `data_dir` where they are not there yet.

    A CIFAR archive in `data_dir` or in the working directory is used instead of a download. Where that fails too, a
    ValueError says which file to put where.
    """
    kind, place, files = TORCHVISION[config.dataset]
    source, data_dir = getattr(torchvision.datasets, kind), project_path(config.data_dir)

    def both(download: bool) -> list[Any]:
        return [source(data_dir, train=train, download=download) for train in (True, False)]

    try:
        parts = both(download=False)
    except (OSError, RuntimeError, ValueError):
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(data_dir / f".{config.dataset}.lock"):  # the runs of a sweep begin at once
                # Uploaded to the working directory, or to Colab's file panel; again where it was there in part before.
                brought = next(filter(Path.is_file, (Path(files), Path("/content", files))), None)
                at = data_dir / files
                if brought and not (at.exists() and at.stat().st_size == brought.stat().st_size):
                    shutil.copy(brought, at)
                parts = both(download=True)
        except (OSError, RuntimeError, ValueError, tarfile.TarError) as error:
            reason = " ".join(str(error).split())
            text = f"not in {data_dir}, and not to be downloaded ({reason}); put {files} into {data_dir / place}"
            raise ValueError(f"{config.dataset}: {text}") from None
    images = np.concatenate([np.asarray(part.data) for part in parts])  # (M, H, W[, 3])
    labels = np.concatenate([np.asarray(part.targets) for part in parts])  # (M,)
    positions = split_pool(labels, np.arange(len(labels)) >= len(parts[0]), config.protocol, config.split_seed)
    return Dataset.from_arrays(images, labels, **positions, class_names=parts[0].classes, name=config.dataset)


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

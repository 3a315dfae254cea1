"""The embedded data set, and those of torchvision."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from filelock import FileLock

from relahash_nb.config import RunConfig
from relahash_nb.datasets.splits import Dataset, split_pool
from relahash_nb.paths import package_file, project_path

# The data set's class in torchvision, and what to put by hand where below `data_dir` when there is no network.
TORCHVISION = {
    "cifar10": ("CIFAR10", "", "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "", "cifar-100-python.tar.gz"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
}


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

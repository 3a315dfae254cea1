"""CIFAR and Fashion-MNIST by torchvision, downloaded where they are not there yet."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from relahash_nb.config import RunConfig
from relahash_nb.datasets.splits import Dataset, Pool, one_hot, split_pool

# The data set's class in torchvision, and the folder that its archive makes.
SETS = {
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST"),
}


def from_torchvision(config: RunConfig) -> Dataset:
    """CIFAR-10, CIFAR-100 or Fashion-MNIST, downloaded to `data_dir` and checked against its sum by torchvision."""
    kind, folder = SETS[config.dataset]
    parts = both_parts(getattr(torchvision.datasets, kind), Path(config.data_dir), folder, config.dataset)
    images = torch.cat([torch.as_tensor(part.data) for part in parts])  # (M, H, W[, 3])
    images = images.permute(0, 3, 1, 2).contiguous() if images.ndim == 4 else images[:, None]  # (M, 1 or 3, H, W)
    labels = np.concatenate([np.asarray(part.targets) for part in parts])  # (M,)
    pool = Pool(images, one_hot(labels), np.arange(len(labels)), config.image_size)
    official_test = pool.ids >= len(parts[0])
    positions = split_pool(labels, official_test, config.protocol, config.split_seed)
    return Dataset.from_pool(config.dataset, parts[0].classes, pool, positions)


def both_parts(source: Any, data_dir: Path, folder: str, name: str) -> list[Any]:
    """Official training and test set. An archive is unpacked aside and moved here whole, and never over what is here.

    Raises:
        ValueError: What is here is not whole, or nothing is here and it cannot be downloaded.
    """
    try:
        return [source(data_dir, train=train, download=False) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, AssertionError):
        if (data_dir / folder).exists():
            raise ValueError(f"{data_dir / folder}: not whole; move it away, and it is downloaded anew") from None
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".download-") as aside:
            archive = data_dir / getattr(source, "filename", "none")
            if archive.is_file():  # someone brought it
                shutil.copy(archive, aside)
            source(aside, train=True, download=True)
            if not (data_dir / folder).exists():  # another process may have been quicker
                Path(aside, folder).rename(data_dir / folder)
        return [source(data_dir, train=train, download=False) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: not in {data_dir}, and not to be downloaded ({reason})") from None

"""Data sets that need no folder of yours: the embedded one and torchvision's, and the splits of the literature."""

import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from relahash_nb.config import RunConfig
from relahash_nb.datasets.splits import Dataset
from relahash_nb.files import lock_file
from relahash_nb.paths import package_file, project_path


class Source(NamedTuple):
    """A data set of torchvision.

    Attributes:
        name: Of its class in `torchvision.datasets`.
        files: What to download by hand where there is no network.
        folder: Where to put it, below `data_dir`.
    """

    name: str
    files: str
    folder: str = ""


TORCHVISION = {
    "cifar10": Source("CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": Source("CIFAR100", "cifar-100-python.tar.gz"),
    "fashion_mnist": Source("FashionMNIST", "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", "FashionMNIST/raw"),
}


class Protocol(NamedTuple):
    """How many images of all classes together a split of the literature has.

    Attributes:
        queries: Images that are searched with.
        train: Images that are learned from; None: the whole database.
        disjoint: Whether the database leaves the training images out.
    """

    queries: int
    train: int | None
    disjoint: bool = False


PROTOCOLS = {
    "1": Protocol(queries=1_000, train=5_000),
    "1-disjoint": Protocol(queries=1_000, train=5_000, disjoint=True),
    "2": Protocol(queries=10_000, train=None),
}


def fashion_mini(config: RunConfig) -> Dataset:
    """7,000 images of Fashion-MNIST that come with the package: 3,000 train within 6,500 database, 500 query."""
    with np.load(package_file("data/fashion_mini.npz"), allow_pickle=False) as file:
        split = file["split"]  # (M,): 0 train, 1 the rest of the database, 2 query
        return Dataset.from_arrays(
            file["images"],  # (M, 28, 28)
            file["labels"],
            train=np.flatnonzero(split == 0),
            query=np.flatnonzero(split == 2),
            database=np.flatnonzero(split < 2),
            class_names=file["class_names"].tolist(),
            ids=file["ids"],
            name=config.dataset,
        )


def from_torchvision(config: RunConfig) -> Dataset:
    """CIFAR-10, CIFAR-100 or Fashion-MNIST by torchvision, downloaded to `data_dir` if they are not there yet.

    A CIFAR archive in `data_dir` or in the working directory is used instead of a download.

    Raises:
        ValueError: The data cannot be had; the text says which file to put where.
    """
    source = TORCHVISION[config.dataset]
    data_dir = project_path(config.data_dir)
    try:
        parts = _open_parts(source, data_dir, download=False)
    except (OSError, RuntimeError, ValueError):
        try:
            parts = _download_parts(source, data_dir, config.dataset)
        except (OSError, RuntimeError, ValueError, tarfile.TarError) as error:
            reason = " ".join(str(error).split())
            remedy = f"put {source.files} into {data_dir / source.folder}"
            text = f"not in {data_dir}, and not to be downloaded ({reason}); {remedy}"
            raise ValueError(f"{config.dataset}: {text}") from None
    images = np.concatenate([np.asarray(part.data) for part in parts])  # (M, H, W[, 3])
    labels = np.concatenate([np.asarray(part.targets) for part in parts])  # (M,)
    official_test = np.arange(len(labels)) >= len(parts[0])
    assert config.protocol is not None  # these data sets have one by default
    positions = split_pool(labels, official_test, config.protocol, config.split_seed)
    return Dataset.from_arrays(images, labels, **positions, class_names=parts[0].classes, name=config.dataset)


def _open_parts(source: Source, data_dir: Path, download: bool) -> list[Any]:
    """The official training set and the official test set."""
    from torchvision import datasets  # takes a third of a second, which the embedded images need not wait for

    open_part = getattr(datasets, source.name)
    return [open_part(data_dir, train=train, download=download) for train in (True, False)]


def _download_parts(source: Source, data_dir: Path, name: str) -> list[Any]:
    """The same, downloaded, or from an archive that somebody put into the working directory or Colab's file panel."""
    data_dir.mkdir(parents=True, exist_ok=True)
    target = data_dir / source.files
    waiting = f"{name}: another process is downloading it; waiting for it"
    unguarded = "several processes may download the same"
    with lock_file(data_dir / f".{name}.lock", waiting=waiting, unguarded=unguarded):  # a sweep's runs begin at once
        archives = [path for path in (Path(source.files), Path("/content", source.files)) if path.is_file()]
        if archives:
            size = archives[0].stat().st_size
            if not target.exists() or target.stat().st_size != size:  # an earlier upload may have been cut off
                shutil.copy(archives[0], target)
        return _open_parts(source, data_dir, download=True)


def split_pool(labels: np.ndarray, official_test: np.ndarray, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Draws CIFAR's splits evenly over the classes.

    Args:
        labels: (M,) class numbers of the pool.
        official_test: (M,) bool, the queries of protocol `2-official`.
        protocol: `2-official` or a key of `PROTOCOLS`.
        seed: From 0 up; the split depends on it and on nothing else.

    Returns:
        Rising positions (N,) int64 in the pool of `train`, `query` and `database`.
    """
    if protocol == "2-official":
        database = np.flatnonzero(~official_test)
        return {"train": database, "query": np.flatnonzero(official_test), "database": database}
    counts = PROTOCOLS[protocol]
    classes = np.unique(labels)
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in classes]
    query_end = counts.queries // len(classes)
    train_end = None if counts.train is None else query_end + counts.train // len(classes)
    database_start = train_end if counts.disjoint else query_end
    return {
        "train": np.sort(np.concatenate([order[query_end:train_end] for order in orders])),
        "query": np.sort(np.concatenate([order[:query_end] for order in orders])),
        "database": np.sort(np.concatenate([order[database_start:] for order in orders])),
    }

"""What is computed once and kept in a file: features of a fixed backbone, decoded images. Centroids of features."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relahash_nb.centroids import make_centroids, needs_means
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, Split
from relahash_nb.files import lock_file, remove_torn, watch, write
from relahash_nb.inference import BLOCK, forward_blocks
from relahash_nb.models import HashModel, digest_of
from relahash_nb.paths import project_path

FORMAT = 5  # raise it when `prepare`, `forward_blocks` or the decoding changes: earlier files are then not used


def pool_features(model: HashModel, data: Dataset, config: RunConfig) -> Tensor:
    """Features of all images of a data set, without augmentation; computed once and kept below `data_dir`.

    The file's name is a digest of the pixels, the weights, the image size and the precision; splits, seeds, labels,
    bits and loss do not change it. If two processes want the same features, the second waits for the first. Where the
    file cannot be written, a line is printed and the features are computed for this call alone.

    Returns:
        (M, F) float16 on the CPU, of the M items of the pool, mapped from the file; writing into it does not change
        the file. The features of a split are `features[split.indices]`.

    Raises:
        FloatingPointError: A feature is not finite; the message says of which items.
        ValueError: An image is missing or not readable, or the file is damaged.
    """
    pool = data.pool
    shape = (len(pool.ids), model.feature_size)
    tensors = {"mean": model.mean, "std": model.std, **model.backbone.state_dict()}
    layers = repr(model.backbone)  # the layers as they are printed, not their code
    identity = [
        pool_fingerprint(pool),
        digest_of(tensors, layers),
        pool.image_size,
        pool.centre,
        config.precision,
        "torch.float16",
        shape,
        FORMAT,
    ]
    path = cache_path(config, "features", identity)
    try:
        return load_or_compute(path, shape, "float16", compute_features(model, pool, config.precision))
    except OSError as error:
        print(f"features: cannot be kept in {path.parent} ({error}); computed for this run alone")
        blocks = compute_features(model, pool, config.precision)
        return torch.cat(list(blocks)).clone()  # cloned into an ordinary tensor, outside of inference mode


def compute_features(model: HashModel, pool: Pool, precision: str) -> Iterator[Tensor]:
    """Features (≤ 256, F) float16 of the next items of a pool; a FloatingPointError if one is not finite."""
    everything = Split(pool, torch.arange(len(pool.ids)))
    start = 0
    for block in forward_blocks(HashModel.features, model, everything, precision, all_cores=True):
        features = block.to(torch.float16)
        end = start + len(features)
        if not features.isfinite().all():
            where = f"items {start} to {end - 1} of the pool (precision {precision}, kept as float16)"
            raise FloatingPointError(f"features: not finite in {where}; another backbone or precision may help")
        yield features
        start = end
    say_cut(pool.images)


def class_centroids(model: HashModel, data: Dataset, config: RunConfig, features: Tensor | None = None) -> Tensor:
    """The centroids (C, K) of ±1 that a config names.

    Args:
        model: Gives the features of the training images, for centroids that depend on them (`semantic`).
        data: The classes, and the training images.
        config: Names the centroids, their number of bits and their seed.
        features: (M, F) of the pool, from `pool_features`; where they are given, the model is not asked.
    """
    seed = config.seed if config.centroid_seed is None else config.centroid_seed
    means = class_means(model, data, config, features) if needs_means(config.centroids) else None
    return make_centroids(len(data.class_names), config.bits, config.centroids, seed, means)


def class_means(model: HashModel, data: Dataset, config: RunConfig, features: Tensor | None) -> np.ndarray:
    """(C, F) the mean of each class's centred training features, times the number of its items."""
    if features is None:
        rows = torch.cat(list(forward_blocks(HashModel.features, model, data.train, config.precision)))  # (N, F)
    else:
        rows = features[data.train.indices]
    centred = rows.double() - rows.double().mean(dim=0)
    return (data.train.targets.double().T @ centred).numpy()


def decode_images(data: Dataset, config: RunConfig) -> Dataset:
    """The same data set with the images of its files decoded once, to (M, 3, size, size) uint8 kept below `data_dir`.

    The file's name is a digest of the images' paths, sizes, times of change and the size in pixels. The data set is
    returned as it is where its images are in memory already; where no epoch would read them (without `finetune` the
    features are kept instead); and, with a printed line, where the file cannot be written.

    Raises:
        ValueError: An image is missing or not readable, or the file is damaged.
    """
    images = data.pool.images
    if not isinstance(images, FileImages) or not config.finetune:
        return data
    path = cache_path(config, "images", [pool_fingerprint(data.pool), FORMAT])
    blocks = (images[rows] for rows in torch.arange(len(images)).split(BLOCK))
    try:
        decoded = load_or_compute(path, images.shape, "uint8", blocks)
        say_cut(images)
    except OSError as error:
        print(f"images: cannot be kept in {path.parent} ({error}); decoded whenever they are asked for")
        return data
    return data.with_pool(replace(data.pool, images=decoded, file_sizes=images.files[:, 0]))


def pool_fingerprint(pool: Pool) -> str:
    """16 hexadecimal digits of the pixels; of files, of their paths, sizes and times of change."""
    images = pool.images
    if not isinstance(images, FileImages):
        return digest_of({"images": images})
    digest = hashlib.sha256(f"{images.shape}".encode())
    digest.update("\n".join(images.paths).encode(errors="surrogateescape"))
    digest.update(images.files.tobytes())
    if images.truncated:
        digest.update(b"truncated")
    return digest.hexdigest()[:16]


def say_cut(images: Tensor | FileImages) -> None:
    """Prints how many JPEG files without their end were decoded, where there are any."""
    if isinstance(images, FileImages) and images.cut:
        print(f"images: {len(images.cut):,} of {len(images):,} are JPEG files without their end, and were taken")


def cache_path(config: RunConfig, kind: str, identity: list[Any]) -> Path:
    """The file, below `data_dir`, for what follows from these values alone."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return project_path(config.data_dir) / kind / f"{digest}.npy"


def load_or_compute(path: Path, shape: tuple[int, ...], dtype: str, blocks: Iterable[Tensor]) -> Tensor:
    """The rows in a file; where it does not exist, they are computed and written to it, in one process at a time.

    Args:
        path: A file of NumPy's.
        shape: Of all rows.
        dtype: Of the rows, by NumPy's name.
        blocks: The rows in order; asked for only where there is no file.

    Returns:
        The rows, mapped from the file; what is written into them stays in memory.

    Raises:
        OSError: The file cannot be written or read.
        ValueError: The file is damaged.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"{path.parent.name}: another process is computing the same; waiting for it"
        unguarded = "several processes may compute the same"
        with lock_file(path.with_suffix(".lock"), waiting=waiting, unguarded=unguarded):
            if not path.exists():  # no other process has written it in the meantime
                remove_torn(path)
                write(path, lambda temporary: write_rows(temporary, shape, dtype, blocks))
    try:
        rows = np.load(path, mmap_mode="c", allow_pickle=False)  # "c": torch has no tensors that can only be read
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: is damaged ({error}); delete it") from None
    return torch.from_numpy(rows)


def write_rows(path: Path, shape: tuple[int, ...], dtype: str, blocks: Iterable[Tensor]) -> None:
    """Write blocks of rows as they come, as an array in NumPy's format."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    total = math.ceil(shape[0] / BLOCK)
    kind = path.parent.name  # features or images
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in watch(blocks, total, kind):
            file.write(block.numpy().tobytes())

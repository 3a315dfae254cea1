"""Decoded images: from files to uint8 once, and kept on disk for every epoch and run that follows."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from pathlib import Path

import torch

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool
from relahash_nb.features.rows import RowFile

FORMAT = 1  # raise it when decoding or resizing changes: files of before are then no longer found
BLOCK = 64  # images


def decode_images(data: Dataset, config: RunConfig) -> Dataset:
    """The same data set with the images of its files decoded; at the second call they are mapped from disk.

    They are kept below `data_dir` as (M, 3, size, size) uint8, under a name that paths, sizes and times of change of
    the files and the size decide. No more than `cache_gigabytes` are kept: what was not used for longest makes room.
    Where they cannot be kept, they are decoded into memory if they take less than a quarter of it, or else whenever
    they are asked for. Nothing is done where no epoch would use them: images that are in memory already, or a fixed
    backbone, whose features are kept instead.

    Args:
        data: As `load_dataset` gives it.
        config: Of it count `finetune`, `cache_gigabytes` and `data_dir`.

    Raises:
        ValueError: An image is missing or not readable.

    Example:
        >>> from relahash_nb.datasets import load_dataset
        >>> data = load_dataset(RunConfig())
        >>> decode_images(data, RunConfig()) is data  # fashion_mini is in memory
        True
    """
    images = data.pool.images
    if not isinstance(images, FileImages) or not config.finetune:
        return data
    key = hashlib.sha256(f"{pool_fingerprint(data.pool)} {FORMAT}".encode()).hexdigest()[:16]
    file = RowFile(Path(config.data_dir, "images", f"{key}.npy"), images.shape, "uint8", BLOCK, "images")
    try:
        if not file.is_whole():
            make_room(file, config.cache_gigabytes * 1e9)
        decoded = file.kept(lambda start: images.blocks(BLOCK), {"dataset": data.name, "shape": images.shape})
        os.utime(file.path)  # used now
        return data.with_images(decoded)
    except OSError as error:
        small = math.prod(images.shape) < memory() / 4
        instead = "decoded for this run alone" if small else "decoded whenever they are asked for"
        print(f"images: not kept in {file.path.parent} ({error}); {instead}")
    if not small:
        return data
    return data.with_images(torch.cat(list(file.watch(images.blocks(BLOCK)))))


def make_room(file: RowFile, limit: float) -> None:
    """Removes files that were not used for longest, until this one has room below the limit.

    Raises:
        OSError: It is larger than the limit, or than what is free on the disk.
    """
    folder, needed = file.path.parent, file.size(file.shape[0])
    if needed > limit:
        raise OSError(f"{needed / 1e9:.1f} GB, and cache_gigabytes is {limit / 1e9:g}")
    folder.mkdir(parents=True, exist_ok=True)
    others = [path for path in folder.iterdir() if path.suffix in (".npy", ".partial") and path.stem != file.path.stem]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    while sum(path.stat().st_size for path in others) > limit - needed:
        others.pop().unlink()
    present = file.path.with_suffix(".partial")
    free = shutil.disk_usage(folder).free + (present.stat().st_size if present.exists() else 0)
    if needed > free:
        raise OSError(f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of the disk are free")


def memory() -> int:
    """Bytes of memory that the machine has, or 8 GB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30


def pool_fingerprint(pool: Pool) -> str:
    """What the images are, in 16 hexadecimal digits: of their pixels; of files, paths, sizes and times of change.

    Example:
        >>> import numpy as np
        >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> pools = [Pool(images, torch.eye(2), np.array(ids), image_size=8) for ids in ("ab", "cd")]
        >>> pool_fingerprint(pools[0]) == pool_fingerprint(pools[1])
        True
    """
    images = pool.images
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    if isinstance(images, FileImages):
        digest.update("\n".join(images.paths).encode(errors="surrogateescape"))
        digest.update(images.files)
    else:
        digest.update(images.cpu().contiguous().numpy())
    return digest.hexdigest()[:16]

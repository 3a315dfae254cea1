"""Features of a fixed backbone: computed once for a pool of images, and kept on disk for every run that follows."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, Split
from relahash_nb.files import replace, write
from relahash_nb.inference import forward_blocks
from relahash_nb.models import HashModel

FORMAT = 2  # raise it when `prepare` or the file's layout changes: files of before are then no longer found
BLOCK = 256  # images; a file grows by whole blocks, so that going on with it gives the bytes of one go


def pool_features(model: HashModel, data: Dataset, config: RunConfig, dtype: torch.dtype = torch.float16) -> Tensor:
    """Features of all images of a data set, without augmentation; at the second call they are read from disk.

    They are kept below `data_dir`, under a name that pixels, weights, image size, precision and dtype decide; splits,
    seeds, labels, bits and loss do not. An interrupted call is continued by the next; of two processes that want the
    same features the second waits for the first. Where nothing can be written they are computed for this run alone.

    Args:
        model: Where it is; it is left as it was.
        data: M images in its pool.
        config: Of it count `precision`, `compile` and `data_dir`; `backbone` is noted beside the file.
        dtype: Of what is kept, float16 or float32.

    Returns:
        (M, F) on the CPU, mapped from the file; what is written into it does not reach the file. Row i is item i of
        the pool, so the features of a split are `features[split.indices]`.

    Raises:
        FloatingPointError: A feature is infinite or no number in this dtype; the message says of which items.
        ValueError: An image is missing or not readable.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from relahash_nb.models import build_model
        >>> pool = Pool(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.eye(3), np.arange(3), image_size=28)
        >>> data = Dataset.from_pool("dark", "abc", pool, {"train": [0], "query": [1], "database": [2]})
        >>> with TemporaryDirectory() as folder:
        ...     config = RunConfig(data_dir=folder)
        ...     pool_features(build_model(config), data, config).shape
        torch.Size([3, 64])
    """
    config = config.resolve()
    compute = partial(compute_blocks, model, data.pool, config.precision, dtype, config.compile)
    identity = describe_features(model, data.pool, config.precision, dtype)
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    file = FeatureFile(Path(config.data_dir, "features", f"{key}.npy"), tuple(identity["shape"]), identity["dtype"])
    note = identity | {"dataset": data.name, "backbone": config.backbone, "device": str(model.mean.device)}
    try:
        if not file.is_whole():
            file.path.parent.mkdir(parents=True, exist_ok=True)
            with one_process(file.path.with_suffix(".lock")):
                if not file.is_whole():  # the other process, if there was one, may have done it
                    write(file.path.with_suffix(".json"), lambda path: path.write_text(json.dumps(note, indent=1)))
                    file.fill(compute)
        return file.load()
    except OSError as error:
        print(f"features: cannot be kept in {file.path.parent} ({error}); computed for this run alone")
    return torch.cat(list(watch(compute(), file.shape[0])))


def describe_features(model: HashModel, pool: Pool, precision: str, dtype: torch.dtype = torch.float16) -> dict:
    """All that decides what the features are, as plain values: the name of their file is a hash of it."""
    return {
        "images": pool_fingerprint(pool),
        "weights": backbone_fingerprint(model),
        "image_size": pool.image_size,
        "precision": precision,
        "dtype": str(dtype).removeprefix("torch."),
        "shape": [len(pool.ids), model.hash_layer[0].in_features],
        "format": FORMAT,
    }


def pool_fingerprint(pool: Pool) -> str:
    """What the images are, in 16 hexadecimal digits: of their pixels; of files, paths, sizes and times of change.

    Example:
        >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> pools = [Pool(images, torch.eye(2), np.array(ids), image_size=8) for ids in ("ab", "cd")]
        >>> pool_fingerprint(pools[0]) == pool_fingerprint(pools[1])
        True
    """
    images = pool.images
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    if isinstance(images, FileImages):
        digest.update("\n".join(images.paths).encode())
        digest.update(images.file_sizes())
        digest.update(np.array([(images.root / path).stat().st_mtime_ns for path in images.paths]))
    else:
        digest.update(images.cpu().contiguous().numpy())
    return digest.hexdigest()[:16]


def backbone_fingerprint(model: HashModel) -> str:
    """What the backbone is, in 16 hexadecimal digits: of its layers as printed, its tensors, and its normalisation.

    Two backbones of your own that differ in nothing but the text of `forward` have the same.
    """
    digest = hashlib.sha256(repr(model.backbone).encode())
    tensors = {"mean": model.mean, "std": model.std, **model.backbone.state_dict()}
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def compute_blocks(
    model: HashModel,
    pool: Pool,
    precision: str,
    dtype: torch.dtype = torch.float16,
    compiled: bool = False,
    start: int = 0,
) -> Iterator[Tensor]:
    """Features of a pool's items from `start` on, in order, in blocks (≤ BLOCK, F) on the CPU."""
    everything = Split(pool, torch.arange(len(pool.ids)))
    blocks = forward_blocks(
        HashModel.features, model, everything, precision, start=start, block=BLOCK, compiled=compiled
    )
    with closing(blocks):
        for features in blocks:
            block, end = features.to(dtype), start + len(features)
            if not block.isfinite().all():
                where = f"items {start} to {end - 1} of the pool (precision {precision}, kept as {dtype})"
                raise FloatingPointError(f"features: not finite in {where}; float32 or precision fp32 may help")
            yield block
            start = end


@dataclass(frozen=True)
class FeatureFile:
    """A `.npy` file of rows. While it grows it is called `.partial`, and its length says how far it is.

    Attributes:
        path: Of the whole file.
        shape: (M, F).
        dtype: NumPy's name of it.
    """

    path: Path
    shape: tuple[int, int]
    dtype: str

    @cached_property
    def header(self) -> bytes:
        """What the file begins with."""
        text, kind = BytesIO(), np.dtype(self.dtype).str
        np.lib.format.write_array_header_1_0(text, {"descr": kind, "fortran_order": False, "shape": self.shape})
        return text.getvalue()

    def size(self, rows: int) -> int:
        """Bytes of the file with so many rows."""
        return len(self.header) + rows * self.shape[1] * np.dtype(self.dtype).itemsize

    def found_size(self, path: Path) -> int:
        """Bytes of a file that is there; 0 where it is not, or begins otherwise than this one."""
        try:
            with path.open("rb") as file:
                return path.stat().st_size if file.read(len(self.header)) == self.header else 0
        except OSError:
            return 0

    def is_whole(self) -> bool:
        """Whether the file is there, with all rows and no more."""
        return self.found_size(self.path) == self.size(self.shape[0])

    def load(self) -> Tensor:
        """(M, F), mapped copy-on-write, since torch has no tensors that only can be read."""
        return torch.from_numpy(np.load(self.path, mmap_mode="c", allow_pickle=False))

    def fill(self, compute: Callable[[int], Iterator[Tensor]]) -> None:
        """Writes what is missing: `compute(start)` gives the blocks from a row on.

        Raises:
            OSError: The disk is full, or the folder cannot be written; what is written stays for the next time.
        """
        growing, began = self.path.with_suffix(".partial"), time.perf_counter()
        body = self.found_size(growing) - self.size(0)
        start = body // (self.size(BLOCK) - self.size(0)) * BLOCK
        start = start if 0 < start <= self.shape[0] else 0
        with growing.open("r+b" if start else "wb") as file, closing(compute(start)) as blocks:
            file.write(self.header)
            file.truncate(self.size(start))
            file.seek(0, os.SEEK_END)
            for block in watch(blocks, self.shape[0], start):
                file.write(block.numpy())
                file.flush()
            os.fsync(file.fileno())  # on the disk before it bears the name
        replace(growing, self.path)
        seconds, rows = time.perf_counter() - began, self.shape[0] - start
        if seconds > 2:
            print(f"features: {rows:,} items in {seconds:.0f} s ({rows / seconds:.0f} a second), now in {self.path}")


@contextmanager
def one_process(path: Path) -> Iterator[None]:
    """Waits until no other process holds this lock; the system lets go of it when its process dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("features: another process is computing the same; waiting for it")
        lock.acquire()
    except NotImplementedError as error:  # some mounted drives have no locks
        raise OSError(f"no locks there: {error}") from None
    try:
        yield
    finally:
        lock.release()


def watch(blocks: Iterator[Tensor], items: int, start: int = 0) -> Iterator[Tensor]:
    """A progress bar in a terminal or a notebook, for what takes more than two seconds; it vanishes when done."""
    unseen = not sys.stdout.isatty() and "ipykernel" not in sys.modules
    look = dict(unit=" images", unit_scale=BLOCK, leave=False, delay=2, mininterval=2, file=sys.stdout, disable=unseen)
    return tqdm(blocks, "features", math.ceil(items / BLOCK), initial=start // BLOCK, **look)

"""Outputs of a model that no longer learns, and the files that keep them: frozen features and decoded images."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm import tqdm

from relahash_nb.config import RunConfig, project_path
from relahash_nb.datasets import Dataset, FileImages, Pool, Split, prepare
from relahash_nb.files import remove_torn, timed, write
from relahash_nb.models import DTYPES, HashModel, digest_of

FORMAT = 4  # raise it when `prepare`, `forward_blocks` or the decoding changes: earlier files are then not used
BLOCK = 256  # images that a worker computes at a time
CPU_BATCH = 32  # images; the activations of more leave the processor's cache before the next layer reads them
CAST = (nn.Conv2d, nn.Linear)  # autocast would cast their weights at every call; subclasses may need theirs in fp32


@timed("features")
def pool_features(model: HashModel, data: Dataset, config: RunConfig, dtype: torch.dtype = torch.float16) -> Tensor:
    """Features of all images of a data set, without augmentation; computed once and kept below `data_dir`.

    The file's name is a digest of the pixels, the weights, the image size, the precision and the dtype; splits, seeds,
    labels, bits and loss do not change it. If two processes want the same features, the second waits for the first.
    If the file cannot be written, the features are computed for this run alone.

    Args:
        model: On any device; it is left as it was.
        data: M images in its pool.
        config: `precision` and `data_dir` are used.
        dtype: float16 or float32.

    Returns:
        (M, F) on the CPU, mapped from the file; writing into it does not change the file. Row i is item i of the pool,
        so the features of a split are `features[split.indices]`.

    Raises:
        FloatingPointError: A feature is not finite in this dtype; the message says which items.
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
    pool, precision = data.pool, config.precision
    shape = (len(pool.ids), model.hash_layer[0].in_features)
    tensors = {"mean": model.mean, "std": model.std, **model.backbone.state_dict()}
    weights = digest_of(tensors, repr(model.backbone))  # of the layers as printed, not of their code
    identity = [pool_fingerprint(pool), weights, pool.image_size, pool.centre, precision, str(dtype), shape, FORMAT]

    def compute() -> Iterator[Tensor]:
        start, split = 0, Split(pool, torch.arange(len(pool.ids)))
        for block in forward_blocks(HashModel.features, model, split, precision, all_cores=True):
            block, end = block.to(dtype), start + len(block)
            if not block.isfinite().all():
                where = f"items {start} to {end - 1} of the pool (precision {precision}, kept as {dtype})"
                raise FloatingPointError(f"features: not finite in {where}; float32 or precision fp32 may help")
            yield block
            start = end

    path = _cache_path(config, "features", identity)
    try:
        return _cached(path, shape, dtype, compute)
    except OSError as error:
        print(f"features: cannot be kept in {path.parent} ({error}); computed for this run alone")
    return torch.cat(list(compute())).clone()  # cloned into an ordinary tensor, outside of inference mode


@timed("decoding")
def decode_images(data: Dataset, config: RunConfig) -> Dataset:
    """The same data set with the images of its files decoded once, to (M, 3, size, size) uint8 kept below `data_dir`.

    The file's name is a digest of the images' paths, sizes, times of change and the size in pixels. The data set is
    returned as it is where its images are in memory already, where no epoch would read them (`finetune` off: the
    features are kept instead), and, with a printed line, where the file cannot be written.

    Args:
        data: As `load_dataset` gives it.
        config: Resolved or not; `finetune` and `data_dir` are used.

    Raises:
        ValueError: An image is missing or not readable.

    Example:
        >>> from relahash_nb.datasets import load_dataset
        >>> data = load_dataset(RunConfig())
        >>> decode_images(data, RunConfig()) is data  # fashion_mini is in memory
        True
    """
    images = data.pool.images
    if not isinstance(images, FileImages) or not config.resolve().finetune:
        return data
    path = _cache_path(config, "images", [pool_fingerprint(data.pool), FORMAT])

    def blocks() -> Iterator[Tensor]:
        return (images[rows] for rows in torch.arange(len(images)).split(BLOCK))

    try:
        decoded = _cached(path, images.shape, torch.uint8, blocks)
    except OSError as error:
        print(f"images: cannot be kept in {path.parent} ({error}); decoded whenever they are asked for")
        return data
    return data.with_images(decoded)


def forward_blocks(
    forward: Callable[[HashModel, Tensor], Tensor],
    model: HashModel,
    split: Split,
    precision: str,
    *,
    block: int | None = None,
    batch_size: int | None = None,
    all_cores: bool = False,
) -> Iterator[Tensor]:
    """A model's outputs for a split's items, in order, in evaluation mode and without augmentation.

    On a CPU each core computes blocks of its own on one thread, so that no core waits for another after every layer;
    on a GPU one block is read while another is computed. At most one finished block a worker waits to be taken.

    Args:
        forward: `HashModel.forward` or `HashModel.features`.
        model: On any device; it is left as it was.
        split: N items.
        precision: fp32, bf16 or fp16.
        block: Items of one output; None: 256.
        batch_size: Images at a time; None: 32 on a CPU, else a block. It changes the speed alone.
        all_cores: Use each core of this process, not only as many as torch has threads: for outputs that the other
            workers of a sweep wait for.

    Yields:
        (≤ block, …) on the CPU, in the network's precision.

    Example:
        >>> from relahash_nb.datasets import load_dataset
        >>> from relahash_nb.models import build_model
        >>> query = load_dataset(RunConfig()).query
        >>> [len(codes) for codes in forward_blocks(HashModel.forward, build_model(RunConfig()), query, "fp32")]
        [256, 244]
    """
    device, image_size, block = model.mean.device, split.pool.image_size, block or BLOCK
    network = for_inference(model, image_size, precision)
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = {"cpu": cores if all_cores else threads, "cuda": 2}.get(device.type, 1)
    size = batch_size or (CPU_BATCH if device.type == "cpu" else block)

    def compute(rows: Tensor) -> Tensor:
        outputs = []
        with torch.inference_mode(), autocast(device, precision):
            for part in rows.split(size):
                images = split.images(part).to(device, non_blocking=True)
                images = prepare(images, image_size, "centre" if split.pool.centre else "none")
                outputs.append(forward(network, images.contiguous(memory_format=torch.channels_last)))
            return torch.cat(outputs).cpu()

    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Tensor]] = deque()
    try:
        for rows in torch.arange(len(split)).split(block):
            ahead.append(executor.submit(compute, rows))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # part of that setting is the whole process's


def for_inference(model: HashModel, image_size: int, precision: str) -> HashModel:
    """A copy in evaluation mode that gives the same in less time, up to rounding; it cannot learn.

    In fp32 batch norms are folded into convolutions. In half precision the folded biases would be rounded, the same
    way for every image (an mAP fell by .002 to .012); there autocast's casts of weights are made once.
    """
    network = copy.deepcopy(model).eval().requires_grad_(False)
    if precision == "fp32":
        network.backbone = fold_batch_norms(network.backbone, image_size)
    for module in network.modules():
        if type(module) in CAST:
            module.to(DTYPES[precision])
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def fold_batch_norms(network: nn.Module, image_size: int) -> nn.Module:
    """A copy with each batch norm folded into the convolution whose output it takes, as seen in a pass over noise.

    If the copy then gives anything else (a convolution is used twice, say), the network itself is returned.
    """
    folded = copy.deepcopy(network).eval()
    names = {module: name for name, module in folded.named_modules()}
    norms = [module for module in names if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    if not norms:
        return network
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # by the tensor's identity; kept, so that no other tensor takes it
    pairs: dict[nn.Module, nn.Module] = {}
    hooks = [
        module.register_forward_hook(lambda module, _, given: made.update({id(given): (module, given)}))
        for module in names
        if isinstance(module, nn.Conv2d)
    ]
    for norm in norms:
        hooks += [norm.register_forward_pre_hook(lambda norm, taken: pairs.update({norm: made.get(id(taken[0]))}))]
    tensor = next(folded.parameters())
    noise = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(tensor)
    before = folded(noise)
    for hook in hooks:
        hook.remove()
    for norm, (convolution, _) in ((norm, found) for norm, found in pairs.items() if found):
        rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]  # timm's have an activation
        folded.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        folded.set_submodule(names[norm], nn.Sequential(*rest))
    return folded if (folded(noise) - before).abs().max() <= 1e-3 * before.abs().max() else network


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """Mixed precision as the config says; off for fp32."""
    return torch.autocast(torch.device(device).type, DTYPES[precision], enabled=precision != "fp32")


def pool_fingerprint(pool: Pool) -> str:
    """16 hexadecimal digits of the pixels; of files, of their paths, sizes and times of change."""
    images = pool.images
    if not isinstance(images, FileImages):
        return digest_of({"images": images})
    paths = "\n".join(images.paths).encode(errors="surrogateescape")
    return hashlib.sha256(f"{images.shape}".encode() + paths + images.files.tobytes()).hexdigest()[:16]


def _cache_path(config: RunConfig, kind: str, identity: list) -> Path:
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return project_path(config.data_dir) / kind / f"{digest}.npy"


def _cached(path: Path, shape: tuple[int, ...], dtype: torch.dtype, compute: Callable[[], Iterator[Tensor]]) -> Tensor:
    """The rows of a file, mapped copy-on-write; where there is no whole file, this process or another makes it."""
    rows = _load(path, shape)
    if rows is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_process(path):
            if (rows := _load(path, shape)) is None:
                remove_torn(path)
                write(path, lambda temporary: _fill(temporary, shape, dtype, compute()))
                rows = _load(path, shape)
    return rows


def _load(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    with suppress(OSError, EOFError, ValueError):  # no file, or a damaged one
        rows = np.load(path, mmap_mode="c", allow_pickle=False)  # torch has no tensors that can only be read
        return torch.from_numpy(rows) if rows.shape == tuple(shape) else None
    return None


def _fill(path: Path, shape: tuple[int, ...], dtype: torch.dtype, blocks: Iterator[Tensor]) -> None:
    """Writes blocks of rows as they come, behind a progress bar in a terminal or a notebook."""
    needed, free = math.prod(shape) * dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:  # a mapped file on a full disk would end the process
        raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB of the disk are free")
    rows = np.lib.format.open_memmap(path, "w+", str(dtype).removeprefix("torch."), tuple(shape))
    start, hidden = 0, not sys.stdout.isatty() and "ipykernel" not in sys.modules
    with tqdm(desc=path.parent.name, total=shape[0], leave=False, delay=2, file=sys.stdout, disable=hidden) as bar:
        for block in blocks:
            rows[start : start + len(block)] = block.numpy()
            start += len(block)
            bar.update(len(block))
    rows.flush()


@contextmanager
def _only_process(path: Path) -> Iterator[None]:
    """Waits until no other process makes this file; the system releases the lock when its process dies."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{path.parent.name}: another process is computing the same; waiting for it")
        lock.acquire()
    except NotImplementedError as error:  # some mounted drives have no locks
        raise OSError(f"no locks there: {error}") from None
    try:
        yield
    finally:
        lock.release()

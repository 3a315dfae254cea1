"""Outputs of a model that no longer learns, and the files that keep them: frozen features and decoded images."""

import copy
import hashlib
import itertools
import json
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from relahash_nb.centroids import make_centroids, needs_means
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, Split, prepare
from relahash_nb.files import lock_file, remove_torn, timed, watch, write
from relahash_nb.models import DTYPES, HashModel, digest_of
from relahash_nb.paths import project_path

FORMAT = 4  # raise it when `prepare`, `forward_blocks` or the decoding changes: earlier files are then not used
BLOCK = 256  # images that a worker computes at a time
CPU_BATCH = 32  # images; the activations of more leave the processor's cache before the next layer reads them
CAST = (nn.Conv2d, nn.Linear)  # autocast would cast their weights at every call; subclasses may need theirs in fp32


@timed("features")
def pool_features(model: HashModel, data: Dataset, config: RunConfig) -> Tensor:
    """Features of all images of a data set, without augmentation; computed once and kept below `data_dir`.

    The file's name is a digest of the pixels, the weights, the image size and the precision; splits, seeds, labels,
    bits and loss do not change it. If two processes want the same features, the second waits for the first.

    Returns:
        (M, F) float16 on the CPU, of the M items of the pool, mapped from the file; writing into it does not change
        the file. The features of a split are `features[split.indices]`.

    Raises:
        FloatingPointError: A feature is not finite; the message says of which items.
        ValueError: An image is missing or not readable.
    """
    pool, precision, dtype = data.pool, config.precision, torch.float16
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
                raise FloatingPointError(f"features: not finite in {where}; another backbone or precision may help")
            yield block
            start = end

    rows = _cached(config, "features", identity, shape, dtype, compute, "computed for this run alone")
    return torch.cat(list(compute())).clone() if rows is None else rows  # cloned out of inference mode


def class_centroids(model: HashModel, data: Dataset, config: RunConfig, features: Tensor | None = None) -> Tensor:
    """The centroids (C, K) of ±1 that a config names; some look at the training images before anything is trained.

    `features` (M, F) are of the pool, from `pool_features`; without them the model gives those of the training images.
    """
    means, seed = None, config.seed if config.centroid_seed is None else config.centroid_seed
    if needs_means(config.centroids):
        blocks = forward_blocks(HashModel.features, model, data.train, config.precision)
        rows = torch.cat(list(blocks)) if features is None else features[data.train.indices]  # (N, F)
        centred = rows.double() - rows.double().mean(dim=0)
        means = (data.train.targets.double().T @ centred).numpy()  # (C, F), times the items of each
    return make_centroids(len(data.class_names), config.bits, config.centroids, seed, means)


@timed("decoding")
def decode_images(data: Dataset, config: RunConfig) -> Dataset:
    """The same data set with the images of its files decoded once, to (M, 3, size, size) uint8 kept below `data_dir`.

    The file's name is a digest of the images' paths, sizes, times of change and the size in pixels. The data set is
    returned as it is where its images are in memory already, where no epoch would read them (`finetune` off: the
    features are kept instead), and, with a printed line, where the file cannot be written. A ValueError names an image
    that is missing or not readable.
    """
    images = data.pool.images
    if not isinstance(images, FileImages) or not config.finetune:
        return data
    blocks = lambda: (images[rows] for rows in torch.arange(len(images)).split(BLOCK))
    identity = [pool_fingerprint(data.pool), FORMAT]
    otherwise = "decoded whenever they are asked for"
    decoded = _cached(config, "images", identity, images.shape, torch.uint8, blocks, otherwise)
    if decoded is None:
        return data
    return data.with_pool(replace(data.pool, images=decoded, file_sizes=images.files[:, 0]))


def forward_blocks(
    forward: Callable[[HashModel, Tensor], Tensor],
    model: HashModel,
    split: Split,
    precision: str,
    all_cores: bool = False,
) -> Iterator[Tensor]:
    """Outputs for a split's items, in order, in evaluation mode and without augmentation; the model is left as it was.

    On a CPU each core computes blocks of its own on one thread, so that no core waits for another after every layer;
    on a GPU one block is read while another is computed. At most one finished block a worker waits to be taken.
    `forward` is `HashModel.forward` or `features`; the outputs, (≤ 256, …) at a time, are in `precision` on the CPU.
    With `all_cores` it uses each core of this process, not only as many as torch has threads: for outputs that the
    other workers of a sweep wait for.
    """
    device, image_size = model.mean.device, split.pool.image_size
    network = for_inference(model, image_size, precision)
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = {"cpu": cores if all_cores else threads, "cuda": 2}.get(device.type, 1)

    def compute(rows: Tensor) -> Tensor:
        outputs = []
        with torch.inference_mode(), autocast(device, precision):
            for part in rows.split(CPU_BATCH if device.type == "cpu" else BLOCK):
                images = split.images(part).to(device, non_blocking=True)
                images = prepare(images, image_size, "centre" if split.pool.centre else "none")
                outputs.append(forward(network, images.contiguous(memory_format=torch.channels_last)))
            return torch.cat(outputs).cpu()

    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Tensor]] = deque()
    try:
        for rows in torch.arange(len(split)).split(BLOCK):
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
    """A copy with each batch norm folded into the convolution that is defined just before it.

    If the copy then gives anything else for noise (a convolution is used twice, say), the network itself is returned.
    """
    folded, pairs = copy.deepcopy(network).eval(), []
    for (name, convolution), (norm_name, norm) in itertools.pairwise(folded.named_modules()):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            pairs.append((name, convolution, norm_name, norm))
    if not pairs:
        return network
    tensor = next(folded.parameters())
    noise = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(tensor)
    before = folded(noise)
    for name, convolution, norm_name, norm in pairs:
        rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's have an activation
        folded.set_submodule(name, fuse_conv_bn_eval(convolution, norm))
        folded.set_submodule(norm_name, nn.Sequential(*rest))
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


def _cached(
    config: RunConfig, kind: str, identity: list, shape: tuple[int, ...], dtype: torch.dtype,
    compute: Callable[[], Iterator[Tensor]], otherwise: str,
) -> Tensor | None:  # fmt: skip
    """Rows that this process or another computes once, mapped copy-on-write; None where no file can keep them."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    path = project_path(config.data_dir) / kind / f"{digest}.npy"
    waiting = f"{kind}: another process is computing the same; waiting for it"
    try:
        if (rows := _load(path, shape)) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock_file(path.with_suffix(".lock"), waiting=waiting):
                if (rows := _load(path, shape)) is None:
                    remove_torn(path)
                    blocks = watch(compute(), math.ceil(shape[0] / BLOCK), kind)
                    write(path, lambda temporary: _fill(temporary, shape, dtype, blocks))
                    rows = _load(path, shape)
    except OSError as error:
        print(f"{kind}: cannot be kept in {path.parent} ({error}); {otherwise}")
        return None
    return rows


def _load(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    with suppress(OSError, EOFError, ValueError):  # no file, or a damaged one
        rows = np.load(path, mmap_mode="c", allow_pickle=False)  # torch has no tensors that can only be read
        return torch.from_numpy(rows) if rows.shape == tuple(shape) else None
    return None


def _fill(path: Path, shape: tuple[int, ...], dtype: torch.dtype, blocks: Iterable[Tensor]) -> None:
    """Writes blocks of rows as they come."""
    needed, free = math.prod(shape) * dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:  # a mapped file on a full disk would end the process
        raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB of the disk are free")
    rows, start = np.lib.format.open_memmap(path, "w+", str(dtype).removeprefix("torch."), tuple(shape)), 0
    for block in blocks:
        rows[start : start + len(block)] = block.numpy()
        start += len(block)
    rows.flush()

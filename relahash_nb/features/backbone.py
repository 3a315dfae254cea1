"""Features of a fixed backbone: computed once for a pool of images, and kept on disk for every run that follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool, Split
from relahash_nb.features.images import pool_fingerprint
from relahash_nb.features.rows import RowFile
from relahash_nb.inference import forward_blocks
from relahash_nb.models import HashModel

FORMAT = 3  # raise it when `prepare`, `forward_blocks` or the layout changes: files of before are no longer found
BLOCK = 256  # images


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
        >>> import numpy as np
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
    path = Path(config.data_dir, "features", f"{key}.npy")
    file = RowFile(path, tuple(identity["shape"]), identity["dtype"], BLOCK, "features")
    try:
        return file.kept(
            compute, identity | {"dataset": data.name, "backbone": config.backbone, "device": str(model.mean.device)}
        )
    except OSError as error:
        print(f"features: cannot be kept in {file.path.parent} ({error}); computed for this run alone")
    return torch.cat(list(file.watch(compute())))


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
        **({"centre": True} if pool.centre else {}),
    }


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
        HashModel.features, model, everything, precision, start=start, block=BLOCK, compiled=compiled, all_cores=True
    )
    with closing(blocks):
        for features in blocks:
            block, end = features.to(dtype), start + len(features)
            if not block.isfinite().all():
                where = f"items {start} to {end - 1} of the pool (precision {precision}, kept as {dtype})"
                raise FloatingPointError(f"features: not finite in {where}; float32 or precision fp32 may help")
            yield block
            start = end

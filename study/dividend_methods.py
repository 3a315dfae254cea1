"""Methods at 8 bytes over fixed features, as distances from queries to items; for `study.dividend`.

Beside the losses: `class_index` and ITQ of this package; `hashing_baseline` (PCA, a random rotation, the sign:
arXiv 2509.14427), which is ITQ without iterations; RaBitQ (arXiv 2405.12497) and OPQ (CVPR 2013) by FAISS. RaBitQ gets
64 principal components, of which it keeps 8 bytes of signs and two numbers, 16 bytes in all. These two see features
less their mean, of length 1, so that their Euclidean distance ranks as the cosine does.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor, nn

from relahash_nb.baselines import class_index, itq
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.features import class_centroids
from relahash_nb.losses import build_loss, wants_batch_norm
from relahash_nb.metrics import code_distances
from relahash_nb.models import HashModel
from relahash_nb.training import fit
from relahash_nb.tuning import with_values

BITS = 64
BASELINES = ("float", "class_index", "hashing_baseline", "itq", "rabitq", "opq")
BYTES = {"float": 5_120, "rabitq": 16}  # of an item; all others have 8

Distances = dict[str, np.ndarray]  # by the name of the distance, (Q, D)


def normalised(features: Tensor, train: np.ndarray) -> np.ndarray:
    """Features (M, F) less the mean of the training rows, each of length 1: their products are cosines."""
    rows = features.float()
    centred = rows - rows[train].mean(dim=0)
    return nn.functional.normalize(centred).numpy()


def baseline_distances(
    method: str, features: Tensor, targets: Tensor, train: np.ndarray, rows: tuple[np.ndarray, np.ndarray], seed: int
) -> Distances:
    """Distances by a method that is not trained.

    Args:
        method: One of `BASELINES`.
        features: (M, F) of the pool.
        targets: (N, S) multi-hot of the training rows; only `class_index` looks at them.
        train: (N,) training rows of the pool.
        rows: The queries' (Q,) and the items' (D,).
        seed: Of rotations and of k-means.
    """
    query, items = rows
    if method == "float":
        unit = normalised(features, train)
        return {"cosine": code_distances(unit[query], unit[items], "cosine")}
    if method in ("rabitq", "opq"):
        index = rabitq_index(features.shape[1]) if method == "rabitq" else opq_index(features.shape[1])
        return {"asymmetric": index_distances(index, normalised(features, train), train, rows, seed)}
    generator = torch.Generator().manual_seed(seed)
    learned = features[train].float()
    if method == "class_index":
        layer = class_index(learned, targets, BITS, generator)
    else:
        iterations = 50 if method == "itq" else 0
        layer = itq(learned, targets, BITS, generator, iterations)
    return layer_distances(layer, features, rows)


def rabitq_index(size: int) -> faiss.Index:
    """64 principal components of F, rotated at random, then RaBitQ; queries stay floats."""
    index = faiss.IndexRaBitQ(BITS, faiss.METRIC_L2)
    index.qb = 0  # bits of a query's numbers; 0: floats
    return faiss.IndexPreTransform(faiss.PCAMatrix(size, BITS, 0, True), index)


def opq_index(size: int) -> faiss.Index:
    """128 principal components of F, rotated by OPQ to 8 parts, each of one byte, as in `study.quantizer`."""
    dimensions, parts, part_bits = 128, 8, 8
    index = faiss.IndexPQ(dimensions, parts, part_bits)
    rotation = faiss.OPQMatrix(dimensions, parts)
    quantizer = faiss.ProductQuantizer(dimensions, parts, part_bits)
    for trained in (index.pq, quantizer):
        trained.cp.min_points_per_centroid = 1  # 2,600 images for 256 centroids: no warning at each of 400 k-means
    rotation.pq = quantizer  # which FAISS's Python side then keeps alive
    whole = faiss.IndexPreTransform(rotation, index)
    whole.prepend_transform(faiss.PCAMatrix(size, dimensions))
    return whole


def index_distances(
    index: faiss.Index, features: np.ndarray, train: np.ndarray, rows: tuple[np.ndarray, np.ndarray], seed: int
) -> np.ndarray:
    """FAISS's distances (Q, D) between float queries and quantized items."""
    query, items = rows
    index.train(np.random.default_rng(seed).permutation(features[train]))  # the order decides where k-means begins
    index.add(features[items])
    distances, found = index.search(features[query], len(items))  # (Q, D) each, the nearest first
    in_order = np.empty_like(distances)
    np.put_along_axis(in_order, found, distances, axis=1)
    return in_order


def loss_distances(
    config: RunConfig, features: Tensor, data: Dataset, rows: tuple[np.ndarray, np.ndarray]
) -> Distances | None:
    """Distances by a hash layer that is trained on fixed features; None where the training diverges.

    Args:
        config: Of the loss and all options.
        features: (M, F) of the pool.
        data: As `training_data` gives it.
        rows: The queries' (Q,) and the items' (D,), positions in the pool.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = HashModel(nn.Identity(), features.shape[1], config.bits, wants_batch_norm(config))
    model.backbone.requires_grad_(False)
    centroids = class_centroids(model, data, config, features)
    loss = build_loss(config, centroids)
    try:
        with redirect_stdout(io.StringIO()):
            fit(model, loss, data, config, features, centroids)
    except FloatingPointError:
        return None
    return layer_distances(model.hash_layer, features, rows)


def layer_distances(layer: nn.Module, features: Tensor, rows: tuple[np.ndarray, np.ndarray]) -> Distances:
    """Hamming and asymmetric distances of a hash layer's codes."""
    layer.eval()
    with torch.inference_mode():
        query, items = (layer(features[part].float()) for part in rows)
    return {name: code_distances(query, items, name) for name in ("hamming", "asymmetric")}


def training_data(data: Dataset, train: np.ndarray, seen: np.ndarray) -> Dataset:
    """A data set whose classes are the seen ones alone; its images are left out, since the features are known."""
    no_pixels = torch.zeros(len(data.pool.ids), 1, 1, 1, dtype=torch.uint8)
    pool = Pool(no_pixels, data.pool.targets[:, seen], data.pool.ids, image_size=1)
    names = [data.class_names[label] for label in seen]
    return Dataset.from_pool(data.name, names, pool, {"train": train, "query": train[:1], "database": train[:1]})


def loss_config(loss: str, values: Mapping[str, Any], seed: int) -> RunConfig:
    """The config of a run: what a search has found, or the defaults of the recipe `photos` where it is silent.

    RelaHash over batches of B is searched by what it is for a row: a cosine loss of the scale β/√B, with the margin
    m√B. So it has the same range as OrthoHash.
    """
    config = RunConfig(
        recipe="photos", loss=loss, bits=BITS, seed=seed, centroid_seed=None, threads=1, device="cpu",
        epochs=40, checkpoint_minutes=0.0, eval_interval=0,
    )  # fmt: skip
    config = with_values(config, values)
    if loss == "relahash" and "beta" in values:
        root = config.batch_size**0.5
        config = config.replace(beta=values["beta"] * root, margin=values["margin"] / root)
    return config

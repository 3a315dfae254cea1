"""What needs no training, on the fixed features of a sweep's file: product quantization, and the features alone.

    python -m study.quantizer                                                # CIFAR-10
    python -m study.quantizer --root data/miniimagenet100_10k --top-k 1000

`opq` is FAISS's, at the bytes of a hash code: K bits are K/8 bytes, each the number of one of 256 centroids of a part
of the features, which were reduced to 128 dimensions and rotated (Ge et al., "Optimized Product Quantization", CVPR
2013). It is learned from the training images without their labels. A query is not quantized: its distance to an item is
a sum of K/8 table entries, not a count of bits. `float` ranks by the cosine between the features
themselves, less the mean of the training images. The scores go to `docs/results/quantizer.csv`, where those of other
data stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn.functional import normalize

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset
from relahash_nb.metrics import distance_scores, relevance
from relahash_nb.results.tables import describe_setting
from relahash_nb.sweep import load_shared, read_grid

TARGET = Path(__file__).parent.parent / "docs" / "results" / "quantizer.csv"
DIMENSIONS = 128
QUERIES = 50  # searched at a time


def main() -> None:
    """Score the features and the quantizer, at each number of bits and each seed of the file, and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--file", default="study/rivals.yml", help="YAML file of a sweep (default: %(default)s)")
    parser.add_argument("--root", help="folder with the images and their lists; default: that of the file")
    parser.add_argument("--top-k", type=int, help="ranks that count; default: those of the file, or all")
    options = parser.parse_args()
    grid = read_grid(Path(options.file))
    shared = {name: values[0] for name, values in grid.items() if name not in ("bits", "seed", "loss")}
    given = {"root": options.root, "top_k": options.top_k}
    config = RunConfig(**shared | {name: value for name, value in given.items() if value})
    write_rows(measure(config, grid["bits"], grid["seed"]))


def measure(config: RunConfig, bits: list[int], seeds: list[int]) -> list[dict[str, Any]]:
    """Score the features, and the quantizer at each number of bits and each seed: a row for each."""
    data, features = load_shared(config)
    train, query, database = (features[split.indices].float() for split in (data.train, data.query, data.database))
    named = {"data": describe_setting(config)["data"]}
    distances = cosine_distances(query, database, train.mean(dim=0))
    size = {"method": "float", "bits": 32 * train.shape[1], "seed": 0}
    rows = [named | size | score(distances, data, config)]
    for code_bits in bits:
        for seed in seeds:
            distances = quantized_distances(query.numpy(), database.numpy(), train.numpy(), code_bits, seed)
            rows.append(named | {"method": "opq", "bits": code_bits, "seed": seed} | score(distances, data, config))
            print(rows[-1], flush=True)
    return rows


def cosine_distances(query: Tensor, database: Tensor, mean: Tensor) -> np.ndarray:
    """(Q, D), the negative cosines between features (Q, F) and (D, F), both less their mean (F,)."""
    return -(normalize(query - mean) @ normalize(database - mean).T).numpy()


def quantized_distances(query: np.ndarray, database: np.ndarray, train: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """(Q, D), FAISS's distances between features (Q, F) and quantized features (D, F), learned from train (N, F)."""
    index = faiss.index_factory(train.shape[1], f"PCA{DIMENSIONS},OPQ{bits // 8},PQ{bits // 8}x8")
    index.train(np.random.default_rng(seed).permutation(train))  # the order decides where k-means begins
    index.add(database)
    return all_distances(index, query)


def all_distances(index: Any, query: np.ndarray) -> np.ndarray:
    """(Q, D), the distances of an index's items to queries (Q, F), in the order in which the items were added."""
    distances = np.empty((len(query), index.ntotal), dtype=np.float32)
    for start in range(0, len(query), QUERIES):
        rows = slice(start, start + QUERIES)
        sorted_distances, items = index.search(query[rows], index.ntotal)  # (q, D) each, the nearest first
        np.put_along_axis(distances[rows], items, sorted_distances, axis=1)
    return distances


def score(distances: np.ndarray, data: Dataset, config: RunConfig) -> dict[str, float]:
    """The mean average precision of rankings by distances (Q, D): of the whole database, and of its new images.

    Items at equal distances are tied, as for bits; `best` and `worst` are of the order of ties.
    """
    top_k = None if config.top_k == "all" else config.top_k
    relevant = relevance(data.query.targets, data.database.targets)  # (Q, D)
    scores = distance_scores(distances, relevant, top_k)
    rows = data.new_images.positions_in(data.database)
    new_images = distance_scores(distances[:, rows], relevant[:, rows], top_k)
    return {
        "mean_average_precision": scores.mean_average_precision,
        "best": scores.best,
        "worst": scores.worst,
        "new_images": new_images.mean_average_precision,
    }


def write_rows(rows: list[dict[str, Any]]) -> None:
    """Write rows of one data set in place of its earlier ones."""
    table = pd.DataFrame(rows)
    if TARGET.exists():
        earlier = pd.read_csv(TARGET)
        if "method" not in earlier:  # of version 0.2
            earlier.insert(1, "method", "opq")
        others = earlier[earlier["data"] != rows[0]["data"]]
        if len(others):
            table = pd.concat([others, table])
    table.to_csv(TARGET, index=False)


if __name__ == "__main__":
    main()

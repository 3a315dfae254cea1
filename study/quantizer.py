"""Product quantization at the bytes of a hash code: OPQ by FAISS, on the fixed features of a sweep's file.

    python -m study.quantizer                                                # CIFAR-10
    python -m study.quantizer --root data/miniimagenet100_10k --top-k 1000

K bits are K/8 bytes, each the number of one of 256 centroids of a part of the features, which were reduced to 128
dimensions and rotated (Ge et al., "Optimized Product Quantization", CVPR 2013). It is learned from the training images
without their labels. A query is not quantized: its distance to an item is a sum of K/8 table entries, not a count of
bits. The scores go to `docs/results/quantizer.csv`, where those of other data stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd

from relahash_nb.config import RunConfig
from relahash_nb.metrics import average_precision
from relahash_nb.results.tables import describe_setting
from relahash_nb.sweep import load_shared, read_grid

TARGET = Path(__file__).parent.parent / "docs" / "results" / "quantizer.csv"
DIMENSIONS = 128
QUERIES = 50  # searched at a time


def main() -> None:
    """Score the quantizer at each number of bits and each seed of the file, and write the scores."""
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
    """Score the quantizer on a config's data: a row for each number of bits and each seed."""
    data, features = load_shared(config)
    train = features[data.train.indices].float().numpy()  # (N, F)
    database = features[data.database.indices].float().numpy()
    query = features[data.query.indices].float().numpy()
    top_k = None if config.top_k == "all" else config.top_k
    rows = []
    for code_bits in bits:
        for seed in seeds:
            code_bytes = code_bits // 8
            index = faiss.index_factory(train.shape[1], f"PCA{DIMENSIONS},OPQ{code_bytes},PQ{code_bytes}x8")
            index.train(np.random.default_rng(seed).permutation(train))  # the order decides where k-means begins
            index.add(database)
            scores = score(index, query, data.query.targets.numpy(), data.database.targets.numpy(), top_k)
            row = {"data": describe_setting(config)["data"], "bits": code_bits, "seed": seed, **scores}
            print(row, flush=True)
            rows.append(row)
    return rows


def score(index, query, query_targets, database_targets, top_k: int | None) -> dict[str, float]:
    """Score the ranking by an index's distances; items at equal distances are tied, as for bits.

    Args:
        index: FAISS's, which holds the D items of the database.
        query: (Q, F) float32.
        query_targets: (Q, C) multi-hot.
        database_targets: (D, C) multi-hot.
        top_k: ranks that count; None: all.

    Returns:
        The mean average precision, and that of the best and of the worst order of ties.
    """
    blocks = []
    for start in range(0, len(query), QUERIES):
        rows = slice(start, start + QUERIES)
        distances, items = index.search(query[rows], len(database_targets))  # (q, D) each, the nearest first
        shared = (query_targets[rows] @ database_targets.T) > 0  # (q, D), in the order of the database
        relevant = np.take_along_axis(shared, items, axis=1)
        hits, total = count_levels(distances, relevant)
        blocks.append(average_precision(hits, total, top_k))
    expected, best, worst = np.concatenate(blocks, axis=1).mean(axis=1)
    return {"mean_average_precision": expected, "best": best, "worst": worst}


def count_levels(distances: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the relevant items and all items at each different distance of each query.

    Args:
        distances: (q, D) in ascending order.
        relevant: (q, D) bool.

    Returns:
        Two (q, D) integers; the first columns are the smallest distances, the last ones are empty where items tie.
    """
    queries, items = distances.shape
    is_farther = np.diff(distances, axis=1, prepend=distances[:, :1]) > 0
    level = np.cumsum(is_farther, axis=1)  # (q, D), from 0
    place = (level + np.arange(queries)[:, None] * items).ravel()
    total = np.bincount(place, minlength=queries * items)
    hits = np.bincount(place, relevant.ravel(), minlength=queries * items)
    return hits.astype(int).reshape(queries, items), total.reshape(queries, items)


def write_rows(rows: list[dict[str, Any]]) -> None:
    """Write rows of one data set in place of its earlier ones."""
    table = pd.DataFrame(rows)
    if TARGET.exists():
        earlier = pd.read_csv(TARGET)
        others = earlier[earlier["data"] != rows[0]["data"]]
        if len(others):
            table = pd.concat([others, table])
    table.to_csv(TARGET, index=False)


if __name__ == "__main__":
    main()

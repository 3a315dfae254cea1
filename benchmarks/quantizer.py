"""Product quantization at the bytes of a hash code: OPQ by FAISS, on the fixed features of a sweep's file.

    python -m benchmarks.quantizer                                                # CIFAR-10
    python -m benchmarks.quantizer --root data/miniimagenet100_10k --top-k 1000

K bits are K/8 bytes, each the number of one of 256 centroids of a part of the features, which were reduced to 128
dimensions and rotated (Ge et al., "Optimized Product Quantization", CVPR 2013). It is learned from the training images
without their labels. A query is not quantized: its distance to an item is a sum of K/8 table entries, not a count of
bits. The scores go to `docs/results/quantizer.csv`, where those of other data stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from relahash_nb.config import RunConfig
from relahash_nb.metrics import average_precision
from relahash_nb.results.tables import describe_setting
from relahash_nb.sweep import load_shared, read_grid

TARGET = Path(__file__).parent.parent / "docs" / "results" / "quantizer.csv"
DIMENSIONS = 128
QUERIES = 50  # at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--file", default="benchmarks/rivals.yml", help="YAML file of a sweep (default: %(default)s)")
    parser.add_argument("--root", help="folder with the images and their lists; default: that of the file")
    parser.add_argument("--top-k", type=int, help="ranks that count; default: those of the file, or all")
    options = parser.parse_args()
    grid = read_grid(Path(options.file))
    shared = {name: values[0] for name, values in grid.items() if name not in ("bits", "seed", "loss")}
    given = {"root": options.root, "top_k": options.top_k}
    config = RunConfig(**shared | {name: value for name, value in given.items() if value})
    data, features = load_shared(config)
    top_k = None if config.top_k == "all" else config.top_k
    train, database, query = (
        features[split.indices].float().numpy() for split in (data.train, data.database, data.query)
    )
    rows = []
    for bits in grid["bits"]:
        for seed in grid["seed"]:
            index = faiss.index_factory(train.shape[1], f"PCA{DIMENSIONS},OPQ{bits // 8},PQ{bits // 8}x8")
            index.train(np.random.default_rng(seed).permutation(train))  # the order decides where k-means begins
            index.add(database)
            scores = score(index, query, data.query.targets.numpy(), data.database.targets.numpy(), top_k)
            rows.append({"data": describe_setting(config)["data"], "bits": bits, "seed": seed} | scores)
            print(rows[-1], flush=True)
    before = pd.read_csv(TARGET) if TARGET.exists() else pd.DataFrame(columns=list(rows[0]))
    kept = before[before["data"] != rows[0]["data"]]
    pd.concat([kept, pd.DataFrame(rows)] if len(kept) else [pd.DataFrame(rows)]).to_csv(TARGET, index=False)


def score(index, query, query_targets, database_targets, top_k: int | None) -> dict[str, float]:
    """Mean average precision of the ranking by an index's distances; equal distances are tied, as for bits."""
    found, count = [], len(database_targets)
    for start in range(0, len(query), QUERIES):
        distances, items = index.search(query[start : start + QUERIES], count)  # (q, D), ascending
        wanted = query_targets[start : start + QUERIES]  # (q, C)
        relevant = ((wanted @ database_targets.T) > 0)[np.arange(len(items))[:, None], items]  # (q, D)
        level = np.cumsum(np.diff(distances, axis=1, prepend=distances[:, :1]) > 0, axis=1)  # (q, D), from 0
        place = (level + np.arange(len(items))[:, None] * count).ravel()
        total = np.bincount(place, minlength=len(items) * count).reshape(-1, count)
        hits = np.bincount(place, relevant.ravel(), minlength=len(items) * count).reshape(-1, count)
        found.append(average_precision(hits.astype(int), total, top_k))
    expected, best, worst = np.concatenate(found, axis=1).mean(axis=1)
    return {"mean_average_precision": expected, "best": best, "worst": worst}


if __name__ == "__main__":
    main()

"""EfficientNet-Lite0 at 112 pixels, frozen: features of CIFAR-10's 60,000 images, then a hash layer on them.

The plain loop is fp32, batches of 64, every layer on all cores, `torch.no_grad`, as one writes it first. The ways take
turns over the same images; the whole of the data set is then done once in each precision.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time

from benchmarks.common import Report, in_turns, median_ratio
from benchmarks.finetuning import has_bf16, known, load_data


def run(options, report: Report) -> None:
    import torch

    from relahash_nb.config import RunConfig
    from relahash_nb.datasets import Split, prepare
    from relahash_nb.inference import forward_blocks
    from relahash_nb.models import HashModel, build_model

    data = load_data(options, 112)
    if options.quick:
        data = shrink(data, 640)
    weights = known(options.efficientnet) or "none"
    config = RunConfig(
        recipe="paper", backbone="tf_efficientnet_lite0", weights=weights, finetune=False, image_size=112,
        epochs=2 if options.quick else 100, batch_size=64, lr=1e-3, bits=64, device="cpu", checkpoint_minutes=0,
    )  # fmt: skip
    model = build_model(config).eval()
    count = 128 if options.quick else 1_024
    part = Split(data.pool, torch.arange(count))

    def plain() -> float:
        start = time.perf_counter()
        with torch.no_grad():
            for rows in torch.arange(count).split(64):
                model.features(prepare(part.images(rows), 112))
        return count / (time.perf_counter() - start)

    def ours(precision: str) -> float:
        start = time.perf_counter()
        for _ in forward_blocks(HashModel.features, model, part, precision):
            pass
        return count / (time.perf_counter() - start)

    precisions = ("fp32", "bf16") if has_bf16() else ("fp32",)
    ways = {"plain loop": plain} | {f"ours, {name}": lambda name=name: ours(name) for name in precisions}
    rates = in_turns(ways, options.rounds)
    rows = [
        [way, f"{statistics.median(r):.0f}", f"{median_ratio(r, rates['plain loop']):.1f}"] for way, r in rates.items()
    ]
    report.table(
        f"**Frozen features**: EfficientNet-Lite0 at 112 pixels, {count:,} images a turn, {options.rounds} turns.",
        ["way", "images/s", "×"],
        rows,
        in_readme=True,
    )
    whole = {precision: features_and_run(config, precision, model, data) for precision in precisions}
    epochs = config.epochs
    report.table(
        f"**A frozen run**: features of all {len(data.pool.ids):,} images, then {epochs} epochs of RelaHash at 64 "
        f"bits, batches of 64, over {len(data.train):,} of them, and the score of {len(data.query):,} queries in "
        f"{len(data.database):,}.",
        ["precision", "features, s", "images/s", "training, s", "codes and score, s", "mAP", "worst … best order"],
        [
            [precision, f"{m['features']:.0f}", f"{len(data.pool.ids) / m['features']:.0f}", f"{m['training']:.1f}",
             f"{m['scoring']:.1f}", f"{m['map']:.4f}", f"{m['worst']:.4f} … {m['best']:.4f}"]
            for precision, m in whole.items()
        ],
        in_readme=True,
    )  # fmt: skip
    report.measured |= {"images_per_second": rates, "whole": whole}


def features_and_run(config, precision: str, model, data) -> dict[str, float]:
    from relahash_nb.centroids import make_centroids
    from relahash_nb.features import pool_features
    from relahash_nb.losses import build_loss
    from relahash_nb.training import evaluate, fit

    with tempfile.TemporaryDirectory() as folder:
        config = config.replace(precision=precision, data_dir=folder, results_dir=folder)
        start = time.perf_counter()
        features = pool_features(model, data, config)
        computed = time.perf_counter()
        learner, loss = copy.deepcopy(model), build_loss(config, make_centroids(len(data.class_names), config.bits))
        fit(learner, loss, data, config, features)
        trained = time.perf_counter()
        scores = evaluate(learner, data.query, data.database, config, features)
        scored = time.perf_counter()
    times = {"features": computed - start, "training": trained - computed, "scoring": scored - trained}
    return times | {"map": scores.mean_average_precision, "worst": scores.worst, "best": scores.best}


def shrink(data, items: int):
    """So many items, drawn: a tenth of them queries, the others train and database."""
    import torch

    from relahash_nb.datasets import Dataset, Pool

    pool = data.pool
    rows = torch.randperm(len(pool.ids), generator=torch.Generator().manual_seed(0))[:items]
    small = Pool(pool.images[rows], pool.targets[rows], pool.ids[rows.numpy()], pool.image_size)
    rest = range(items // 10, items)
    splits = {"query": range(items // 10), "train": rest, "database": rest}
    return Dataset.from_pool(data.name, data.class_names, small, splits)

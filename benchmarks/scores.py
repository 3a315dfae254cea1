"""AlexNet, CIFAR-10, 224 pixels: the same few epochs give the same scores as the published pipeline, over seeds."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.common import Process, Report
from benchmarks.finetuning import has_bf16, known, write_arrays

TRAIN, QUERY, DATABASE, EPOCHS, SEEDS = 640, 500, 2_000, 2, 3


def run(options, report: Report) -> None:
    from relahash_nb.metrics import retrieval_scores

    counts, seeds = ((64, 50, 200), 1) if options.quick else ((TRAIN, QUERY, DATABASE), SEEDS)
    scores: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file, weights = write_arrays(options, Path(folder), *counts), known(options.alexnet)
        for seed in range(seeds):
            ways = {"published": (True, "benchmarks.published", "Published", file, weights, 224, seed)}
            for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
                ours = (False, "benchmarks.finetuning", "Ours", file, weights, precision, 224, seed)
                ways[f"ours, {precision}"] = ours
            for way, arguments in ways.items():
                process = Process(*arguments)
                (query, query_targets), (database, database_targets) = process("fit", EPOCHS).values()
                process.close()
                found = retrieval_scores(query, database, query_targets, database_targets)
                scores.setdefault(way, []).append(found.mean_average_precision)
    rows = [[way, f"{statistics.mean(s):.4f}", " ".join(f"{score:.4f}" for score in s)] for way, s in scores.items()]
    spread = max(statistics.stdev(s) if len(s) > 1 else float("nan") for s in scores.values())
    apart = max(abs(statistics.mean(s) - statistics.mean(scores["published"])) for s in scores.values())
    report.table(
        f"**Scores**: mAP after {EPOCHS} epochs over {counts[0]:,} training images, {counts[1]:,} queries in "
        f"{counts[2]:,}, at 224 pixels and one learning rate.",
        ["way", "mean", "by seed"],
        rows,
        in_readme=True,
    )
    report.notes.append(
        f"The means are at most {apart:.4f} from the published pipeline's; the largest standard deviation over "
        f"the seeds is {spread:.4f}."
    )
    report.measured |= {"scores": scores, "counts": counts, "epochs": EPOCHS}

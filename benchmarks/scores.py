"""AlexNet, CIFAR-10, 224 pixels: the same few epochs give the same scores as the published pipeline, over seeds."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.common import Process, Report
from benchmarks.finetuning import has_bf16, known, write_arrays
from relahash_nb.metrics import retrieval_scores

TRAIN, QUERY, DATABASE, EPOCHS, SEEDS = 640, 500, 2_000, 2, 3


def run(options, report: Report) -> None:
    counts, seeds = ((64, 50, 200), 1) if options.quick else ((TRAIN, QUERY, DATABASE), SEEDS)
    precisions = ["fp32", "bf16"] if has_bf16() else ["fp32"]
    scores: dict[str, list[float]] = {way: [] for way in ("published", *(f"ours, {name}" for name in precisions))}
    with tempfile.TemporaryDirectory() as folder:
        file, weights = write_arrays(options, Path(folder), *counts), known(options.alexnet)
        for seed in range(seeds):
            published = Process(True, "benchmarks.published", "Published", file, weights, 224, seed)
            scores["published"].append(score(published))
            for precision in precisions:
                ours = Process(False, "benchmarks.finetuning", "Ours", file, weights, precision, 224, seed)
                scores[f"ours, {precision}"].append(score(ours))
    report.table(
        f"**Scores**: mAP after {EPOCHS} epochs over {counts[0]:,} training images, {counts[1]:,} queries in "
        f"{counts[2]:,}, at 224 pixels and one learning rate.",
        ["way", "mean", "by seed"],
        [[way, f"{statistics.mean(s):.4f}", " ".join(f"{score:.4f}" for score in s)] for way, s in scores.items()],
        in_readme=True,
    )
    report.notes.append(sentence(scores))
    report.measured |= {"scores": scores, "counts": counts, "epochs": EPOCHS}


def sentence(scores: dict[str, list[float]]) -> str:
    """How far the means are apart, beside the spread over the seeds."""
    baseline = statistics.mean(scores["published"])
    apart = max(abs(statistics.mean(found) - baseline) for found in scores.values())
    spread = max(statistics.stdev(found) if len(found) > 1 else float("nan") for found in scores.values())
    return (
        f"The means are at most {apart:.4f} from the published pipeline's; the largest standard deviation over "
        f"the seeds is {spread:.4f}."
    )


def score(process: Process) -> float:
    """Mean average precision after the epochs; the process ends."""
    encoded = process("fit", EPOCHS)
    process.close()
    query, query_targets = encoded["query"]
    database, database_targets = encoded["database"]
    return retrieval_scores(query, database, query_targets, database_targets).mean_average_precision

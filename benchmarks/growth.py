"""How cost grows: seconds and peak memory of scores and of an index, against database, bits and classes.

One of the three changes at a time, from 100,000 items, 64 bits and 10 classes; 1,000 queries, made-up codes.
"""

from __future__ import annotations

import math
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from benchmarks.common import RESULTS, Report, memory, seconds
from relahash_nb.files import write
from relahash_nb.metrics import pack, retrieval_scores
from relahash_nb.plots import set_style

QUERIES = 1_000
CENTRE = {"items": 100_000, "bits": 64, "classes": 10}
SWEEPS = {
    "items": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "bits": (16, 32, 64, 128, 256),
    "classes": (10, 30, 100, 300, 1_000),
}
WORK = ("scores", "index")


def run(options, report: Report) -> None:
    sweeps = {knob: values[:2] if options.quick else values for knob, values in SWEEPS.items()}
    measure(*make(1_000, 16, 2), rounds=1)  # what is compiled at the first call
    points = {
        knob: {value: measure(*make(**CENTRE | {knob: value}), options.rounds) for value in values}
        for knob, values in sweeps.items()
    }
    rows = [
        [knob, f"{value:,}", *(f"{point[work][unit]:.3f}" for work in WORK for unit in ("seconds", "gigabytes"))]
        for knob, values in points.items()
        for value, point in values.items()
    ]
    columns = ["what grows", "to", "scores, s", "scores, peak GB", "index and search, s", "index, peak GB"]
    report.table(
        "Scores of 1,000 queries, all ranks; an exact index (FAISS) of the codes and its 100 nearest.", columns, rows
    )
    report.notes += [sentence(knob, values) for knob, values in points.items()]
    report.notes.append("![Growth](growth.png)")
    report.measured |= {"growth": points, "queries": QUERIES, "centre": CENTRE}
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        write(RESULTS / "growth.png", lambda path: draw(points).savefig(path, dpi=120, format="png"))


def make(items: int, bits: int, classes: int):
    """Query codes, database codes, query targets, database targets: uint8 one-hot, codes near their centroid."""
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(classes, bits, generator=generator).sign()

    def draw(count: int):
        labels = torch.randint(classes, (count,), generator=generator)
        targets = torch.zeros(count, classes, dtype=torch.uint8).scatter_(1, labels[:, None], 1)
        return centroids[labels] + 1.5 * torch.randn(count, bits, generator=generator), targets

    (query, query_targets), (database, database_targets) = draw(QUERIES), draw(items)
    return query, database, query_targets, database_targets


def measure(query, database, query_targets, database_targets, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds and highest memory beside the data, of scores and of an index."""
    runs = {
        "scores": lambda: retrieval_scores(query, database, query_targets, database_targets),
        "index": lambda: search(pack(query), pack(database)),
    }
    found = {}
    for work, do in runs.items():
        times, peaks = [], []
        for _ in range(rounds):
            before = memory("VmRSS", restart=True)
            times.append(seconds(do))
            peaks.append(memory("VmHWM") - before)
        found[work] = {"seconds": statistics.median(times), "gigabytes": max(peaks)}
    return found


def search(query, database) -> None:
    import faiss

    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    index.search(query, 100)


def sentence(knob: str, points: dict[int, dict]) -> str:
    """How much more the largest takes than the smallest, in words."""
    low, high = min(points), max(points)
    parts = []
    for work in WORK:
        times = points[high][work]["seconds"] / points[low][work]["seconds"]
        power = math.log(times) / math.log(high / low)
        parts.append(f"{work}: {times:.1f} times the seconds (as n to the {power:.2f}), {_memory(points, high, work)}")
    return f"From {low:,} to {high:,} {knob} ({high / low:g} times as many) {'; '.join(parts)}."


def _memory(points: dict[int, dict], at: int, work: str) -> str:
    return f"{points[at][work]['gigabytes']:.2f} GB at most beside the data"


def draw(points: dict[str, dict[int, dict]]):
    """Two rows, seconds and memory; a column for each of what grows."""
    set_style()
    figure, axes = plt.subplots(2, len(points), figsize=(3 * len(points), 4.5), sharey="row", sharex="col")
    for column, (knob, values) in zip(axes.T, points.items(), strict=True):
        for ax, unit in zip(column, ("seconds", "gigabytes"), strict=True):
            for work in WORK:
                line = [max(point[work][unit], 1e-3) for point in values.values()]
                ax.plot(list(values), line, marker=".", label="index and search" if work == "index" else work)
            ax.set(xscale="log", yscale="log")
        column[1].set_xlabel({"items": "database items", "bits": "bits", "classes": "classes"}[knob])
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, GB")
    axes[0, 0].legend()
    return figure

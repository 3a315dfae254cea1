"""How cost grows: seconds and peak memory of scores and of an index, against database, bits and classes.

One of the three changes at a time, from 100,000 items, 64 bits and 10 classes; 1,000 queries, made-up codes.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from benchmarks.common import Report, memory, seconds
from benchmarks.metrics import compile_kernel, make
from relahash_nb.metrics import pack, retrieval_scores
from relahash_nb.metrics.histograms import KERNEL_PAIRS

QUERIES = 1_000
CENTRE = {"items": 100_000, "bits": 64, "classes": 10}
SWEEPS = {
    "items": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "bits": (16, 32, 64, 128, 256),
    "classes": (10, 30, 100, 300, 1_000),
}
WORK = ("scores", "index")


def run(options, report: Report) -> None:
    compile_kernel()
    points: dict[str, dict[int, dict]] = {}
    rows = []
    for knob, values in SWEEPS.items():
        points[knob] = {}
        for value in values[:2] if options.quick else values:
            size = CENTRE | {knob: value}
            point = measure(make(size["items"], size["bits"], size["classes"], QUERIES), options.rounds)
            points[knob][value] = point
            cells = [f"{point[work][unit]:.3f}" for work in WORK for unit in ("seconds", "gigabytes")]
            rows.append([knob, f"{value:,}", *cells])
    columns = ["what grows", "to", "scores, s", "scores, peak GB", "index and search, s", "index, peak GB"]
    report.table(
        "Scores of 1,000 queries, all ranks; an exact index (FAISS) of the codes and its 100 nearest.", columns, rows
    )
    report.notes += [sentence(knob, values) for knob, values in points.items()]
    report.notes.append(f"Below {KERNEL_PAIRS:,} pairs of query and item NumPy counts, from there on the kernel.")
    report.measured |= {"growth": points, "queries": QUERIES, "centre": CENTRE}


def measure(data: tuple[Any, Any, Any, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds and highest memory beside the data, of scores and of an index."""
    query, database, query_targets, database_targets = data
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
        grown = f"{times:.1f} times the seconds (as n to the {math.log(times) / math.log(high / low):.2f})"
        parts.append(f"{work}: {grown}, {points[high][work]['gigabytes']:.2f} GB at most beside the data")
    return f"From {low:,} to {high:,} {knob} ({high / low:g} times as many) {'; '.join(parts)}."

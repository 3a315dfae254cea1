"""How cost grows: seconds and peak memory of scores and of an index, against database, bits and classes.

One of the three changes at a time, from 100,000 items, 64 bits and 10 classes; 1,000 queries, made-up codes.
"""

from __future__ import annotations

import math
import statistics

import pandas as pd
import seaborn as sns

from benchmarks.common import RESULTS, Report, memory, seconds
from benchmarks.metrics import make
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
    measure(*make(1_000, 16, 2, QUERIES), rounds=1)  # what is compiled at the first call
    points = {
        knob: {value: measure(*make(**CENTRE | {knob: value}, queries=QUERIES), options.rounds) for value in values}
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
        grown = f"{times:.1f} times the seconds (as n to the {math.log(times) / math.log(high / low):.2f})"
        parts.append(f"{work}: {grown}, {points[high][work]['gigabytes']:.2f} GB at most beside the data")
    return f"From {low:,} to {high:,} {knob} ({high / low:g} times as many) {'; '.join(parts)}."


def draw(points: dict[str, dict[int, dict]]):
    """Two rows, seconds and memory; a column for each of what grows."""
    set_style()
    rows = [
        dict(grows=knob, to=value, work=work, what=unit, amount=max(point[work][unit], 1e-3))
        for knob, values in points.items() for value, point in values.items()
        for work in WORK for unit in ("seconds", "gigabytes")
    ]  # fmt: skip
    facets = dict(row="what", col="grows", height=2.3, facet_kws=dict(sharex="col", sharey="row"))
    grid = sns.relplot(pd.DataFrame(rows), x="to", y="amount", hue="work", kind="line", marker="o", **facets)
    return grid.set(xscale="log", yscale="log", xlabel="", ylabel="").set_titles("{row_name} against {col_name}").figure

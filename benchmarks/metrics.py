"""Mean average precision: ours against the published algorithm, and the memory that they take.

Three ways to rank a database by Hamming distance, on made-up codes that cluster by class as learned ones do:

- published: the evaluation that hashing repositories share, in our own words: distances of everything by matrix
  product, `topk` over all ranks, a Python loop over the queries. One order of ties, no bounds.
- ours: `retrieval_scores`, with the average precision of each query and both bounds.
- ours, first: the same as the first score of a new process, which imports and compiles what it needs.
- scan: FAISS looks at every code and keeps one item a query; no labels, no scores. A floor for comparison.

Targets are int64, as `torch.nn.functional.one_hot` gives them and the published code compares them; float32 takes it
about half the time. Where the published algorithm would take minutes it gets a share of the queries, and its seconds
are multiplied ("× 50"); its memory is not.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks.common import Process, Report, in_turns, median_ratio, memory, seconds, version_of
from benchmarks.published import mean_average_precision
from relahash_nb.metrics import pack, retrieval_scores

BITS = 64


@dataclass(frozen=True)
class Case:
    """One row of the table; the published algorithm may get a share of the queries."""

    name: str
    queries: int
    items: int
    classes: int
    labels: int  # at most so many labels an item
    top_k: int | None
    published_queries: int


CASES = (
    Case("CIFAR-10", 1_000, 59_000, 10, 1, None, 1_000),
    Case("NUS-WIDE", 2_100, 193_734, 21, 5, 5_000, 100),
    Case("a million", 1_000, 1_000_000, 10, 1, None, 20),
)


class First:
    """Our score of a case, for a process of its own."""

    def __init__(self, case: Case) -> None:
        self.data = make_case(case)
        self.top_k = case.top_k

    def seconds(self) -> float:
        return seconds(partial(retrieval_scores, *self.data, self.top_k))


def run(options, report: Report) -> None:
    compile_kernel()
    rows = [row for case in CASES for row in measure(shrink(case) if options.quick else case, options.rounds, report)]
    columns = ["case", "queries × items, top_k", "way", "seconds", "published / this", "peak GB beside the data"]
    report.table("**Scores of codes**: mean average precision, 64 bits.", columns, rows, in_readme=True)


def compile_kernel() -> None:
    """Compile what counts in large databases, so that no measurement holds it."""
    from relahash_nb.metrics.kernel import count_pairs

    words = np.zeros((1, 1), np.uint64)
    count_pairs(words, words, words, words, BITS, 1)


def make_case(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return make(case.items, BITS, case.classes, case.queries, case.labels, torch.int64)


def measure(case: Case, rounds: int, report: Report) -> list[list[str]]:
    data = make_case(case)
    query_codes, database_codes, query_targets, database_targets = data
    few = case.published_queries
    published = (query_codes[:few], query_targets[:few], database_codes, database_targets, case.top_k)
    runs: dict[str, Callable[[], object]] = {
        "published": partial(mean_average_precision, *published),
        "ours": partial(retrieval_scores, *data, case.top_k),
    }
    if version_of("faiss-cpu") is not None:
        runs["scan"] = partial(faiss_scan, query_codes, database_codes)
    peaks = dict.fromkeys(runs, 0.0)
    scale = case.queries / few

    def timed(way: str) -> float:
        before = memory("VmRSS", restart=True)
        took = seconds(runs[way]) * (scale if way == "published" else 1)
        peaks[way] = max(peaks[way], memory("VmHWM") - before)
        return took

    took = in_turns({way: partial(timed, way) for way in runs}, rounds)
    report.measured[case.name] = {"seconds": took, "gigabytes": peaks}
    rows = []
    size = f"{case.queries:,} × {case.items:,}, {case.top_k or 'all'}"
    for way in runs:
        note = f" × {scale:g}" if way == "published" and scale > 1 else ""
        ratio = f"{median_ratio(took['published'], took[way]):,.0f}"
        rows.append([case.name, size, way + note, f"{statistics.median(took[way]):.3f}", ratio, f"{peaks[way]:.2f}"])
    first = [first_seconds(case) for _ in range(rounds)]
    report.measured[case.name]["seconds"]["ours, first"] = first
    ratio = f"{median_ratio(took['published'], first):,.0f}"
    rows.append([case.name, size, "ours, first", f"{statistics.median(first):.3f}", ratio, "–"])
    return rows


def first_seconds(case: Case) -> float:
    """Seconds of our score as the first one of a new process, after the data are made."""
    process = Process(False, "benchmarks.metrics", "First", case)
    took = process("seconds")
    process.close()
    return took


def make(items: int, bits: int, classes: int, queries: int, labels: int = 1, dtype: torch.dtype = torch.uint8):
    """Query codes, database codes, and the targets of both: at most so many labels, codes near their centroids."""
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(classes, bits, generator=generator).sign()

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        targets = torch.zeros(count, classes, dtype=dtype)
        for _ in range(labels):
            targets.scatter_(1, torch.randint(classes, (count, 1), generator=generator), 1)
        return targets.float() @ centroids + 1.5 * torch.randn(count, bits, generator=generator), targets

    (query_codes, query_targets), (database_codes, database_targets) = draw(queries), draw(items)
    return query_codes, database_codes, query_targets, database_targets


def faiss_scan(query_codes, database_codes) -> None:
    import faiss

    index = faiss.IndexBinaryFlat(BITS)
    index.add(pack(database_codes))
    index.search(pack(query_codes), 1)


def shrink(case: Case) -> Case:
    queries, top_k = case.queries // 10, case.top_k and case.top_k // 10
    few = min(queries, case.published_queries)
    return replace(case, queries=queries, items=case.items // 10, top_k=top_k, published_queries=few)

"""Mean average precision: ours against the published algorithm, and the memory that they take.

Three ways to rank a database by Hamming distance, on made-up codes that cluster by class as learned ones do:

- published: the evaluation that hashing repositories share, in our own words: distances of everything by matrix
  product, `topk` over all ranks, a Python loop over the queries. One order of ties, no bounds.
- ours: `retrieval_scores`, with the average precision of each query and both bounds.
- scan: FAISS looks at every code and keeps one item a query; no labels, no scores. A floor for comparison.

Targets are int64, as `torch.nn.functional.one_hot` gives them and the published code compares them; float32 takes it
about half the time. Where the published algorithm would take minutes it gets a share of the queries, and its seconds
are multiplied ("× 50"); its memory is not.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

import torch

from benchmarks.common import Report, in_turns, median_ratio, memory, seconds, version_of
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


def run(options, report: Report) -> None:
    retrieval_scores(*make(2, BITS, 2, 2))  # what is compiled at the first call
    rows = [row for case in CASES for row in measure(shrink(case) if options.quick else case, options.rounds, report)]
    columns = ["case", "queries × items, top_k", "way", "seconds", "published / this", "peak GB beside the data"]
    report.table("**Scores of codes**: mean average precision, 64 bits.", columns, rows, in_readme=True)


def measure(case: Case, rounds: int, report: Report) -> list[list[str]]:
    data = make(case.items, BITS, case.classes, case.queries, case.labels, torch.int64)
    query_codes, database_codes, query_targets, database_targets = data
    few = case.published_queries
    published = lambda: mean_average_precision(
        query_codes[:few], query_targets[:few], database_codes, database_targets, case.top_k
    )
    runs = {"published": published, "ours": lambda: retrieval_scores(*data, top_k=case.top_k)}
    if version_of("faiss-cpu") is not None:
        runs["scan"] = lambda: faiss_scan(*data[:2])
    peaks = dict.fromkeys(runs, 0.0)
    scale = case.queries / few

    def timed(way: str) -> float:
        before = memory("VmRSS", restart=True)
        took = seconds(runs[way]) * (scale if way == "published" else 1)
        peaks[way] = max(peaks[way], memory("VmHWM") - before)
        return took

    took = in_turns({way: lambda way=way: timed(way) for way in runs}, rounds)
    report.measured[case.name] = {"seconds": took, "gigabytes": peaks}
    rows = []
    for way in runs:
        note = f" × {scale:g}" if way == "published" and scale > 1 else ""
        size = f"{case.queries:,} × {case.items:,}, {case.top_k or 'all'}"
        ratio = f"{median_ratio(took['published'], took[way]):,.0f}"
        rows.append([case.name, size, way + note, f"{statistics.median(took[way]):.3f}", ratio, f"{peaks[way]:.2f}"])
    return rows


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

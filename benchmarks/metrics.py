"""How fast is mean average precision, and how much memory does it take?

    python benchmarks/metrics.py            a few minutes
    python benchmarks/metrics.py --quick    a tenth of the queries and of the items

Three ways to rank a database by Hamming distance, on made-up codes that cluster by class as learned ones do:

- published: the evaluation that hashing repositories share, in our own words: distances of everything by matrix
  product, `topk` over all ranks, a Python loop over the queries. One order of ties, no bounds.
- ours: `retrieval_scores`, with the average precision of each query and both bounds.
- scan: FAISS looks at every code and keeps one item a query; no labels, no scores. A floor for comparison.

Targets are int64, as `torch.nn.functional.one_hot` gives them and the published code compares them; float32 takes it
about half the time. The ways take turns, and medians are printed, since other work on the machine slows all three.
Where the published algorithm would take minutes it gets a share of the queries, and its seconds are multiplied
("× 50"); its memory is not.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries and of the items")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is timed (default 3)")
    arguments = parser.parse_args()
    print(hardware(), versions(), sep="\n", end="\n\n")
    retrieval_scores(*make_case(Case("compile", 2, 2, 2, 1, None, 1)))
    print("| case | queries × items, top_k | way | seconds | published / this | peak GB beside the data |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        measure(shrink(case) if arguments.quick else case, arguments.rounds)


def measure(case: Case, rounds: int) -> None:
    data = make_case(case)
    part = [rows[: case.published_queries] for rows in data[::2]]  # query codes and targets
    ways = {
        "ours": lambda: retrieval_scores(*data, top_k=case.top_k),
        "scan": lambda: faiss_scan(*data[:2]),
        "published": lambda: published_map(*part, *data[1::2], case.top_k),
    }
    if version_of("faiss-cpu") is None:
        del ways["scan"]
    scale = case.queries / case.published_queries
    seconds, peaks = {way: [] for way in ways}, {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            before = memory("VmRSS", restart=True)
            start = time.perf_counter()
            run()
            seconds[way].append((time.perf_counter() - start) * (scale if way == "published" else 1))
            peaks[way].append(memory("VmHWM") - before)
    published = statistics.median(seconds["published"])
    for way in ways:
        note = f" × {scale:g}" if way == "published" and scale > 1 else ""
        size, median = f"{case.queries:,} × {case.items:,}, {case.top_k or 'all'}", statistics.median(seconds[way])
        ratio = f"{published / median:,.0f}"
        print(f"| {case.name} | {size} | {way}{note} | {median:.3f} | {ratio} | {max(peaks[way]):.2f} |", flush=True)


def make_case(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query codes, database codes, query targets, database targets."""
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(case.classes, BITS, generator=generator).sign()

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        targets = torch.zeros(count, case.classes, dtype=torch.int64)
        for _ in range(case.labels):
            targets.scatter_(1, torch.randint(case.classes, (count, 1), generator=generator), 1)
        return targets.float() @ centroids + 1.5 * torch.randn(count, BITS, generator=generator), targets

    (query_codes, query_targets), (database_codes, database_targets) = draw(case.queries), draw(case.items)
    return query_codes, database_codes, query_targets, database_targets


def published_map(query_codes, query_targets, database_codes, database_targets, top_k) -> float:
    query_codes, database_codes = query_codes.sign(), database_codes.sign()
    labels, top_k = database_targets.numpy(), top_k or len(database_codes)
    distances = torch.cat([(BITS - query_codes @ block.T) / 2 for block in database_codes.split(32)], 1)
    order = distances.topk(top_k, dim=1, largest=False).indices.numpy()
    scores = []
    for ranked, target in zip(order, query_targets.numpy(), strict=True):
        wanted = np.where(target == 0, -1, target)  # the database has no -1, so only shared labels are equal
        relevant = np.sum(labels[ranked] == wanted, axis=1) > 0
        precision = np.cumsum(relevant).astype(float) / np.arange(1, top_k + 1)
        scores.append(np.sum(precision * relevant) / max(np.sum(relevant), 1))
    return float(np.mean(scores))


def faiss_scan(query_codes, database_codes) -> None:
    import faiss

    index = faiss.IndexBinaryFlat(BITS)
    index.add(pack(database_codes))
    index.search(pack(query_codes), 1)


def shrink(case: Case) -> Case:
    queries = case.queries // 10
    return replace(
        case,
        queries=queries,
        items=case.items // 10,
        top_k=case.top_k and case.top_k // 10,
        published_queries=min(queries, case.published_queries),
    )


def memory(name: str, restart: bool = False) -> float:
    """Gigabytes held now (VmRSS) or at most (VmHWM) since the last restart; NaN where Linux does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in read_lines("/proc/self/status") if line.startswith(name)) / 1e6


def hardware() -> str:
    cpu = next(
        (line.partition(": ")[2] for line in read_lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}; {torch.get_num_threads()} torch threads"


def versions() -> str:
    names = ("numpy", "numba", "torch", "faiss-cpu")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version_of(name) or '-'}" for name in names)


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()

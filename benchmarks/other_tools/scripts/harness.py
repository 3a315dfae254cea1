"""What the scripts of the engines share: codes in, a JSON file of what came back out. NumPy alone; runs in any venv.

An engine is a function `(codes, queries, bits, k) -> (ids, distances)`: packed codes uint8 (N, ceil(bits / 8)), most
significant bit first, zero bits at the end. It builds its index anew in each call. A row of ids may be short, or end
in numbers below 0, where the engine found fewer than k.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

K = 100
BUILDS = 10  # where two builds differ
UNIFORM = "uniform64"


def load(path: str) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Database, queries and bits of each set of codes; uniform ones are drawn here."""
    file = np.load(path)
    names = [name.removesuffix("_bits") for name in file if name.endswith("_bits")]
    sets = {name: (file[f"{name}_database"], file[f"{name}_query"], int(file[f"{name}_bits"])) for name in names}
    generator = np.random.default_rng(0)
    database = generator.integers(0, 256, (6500, 8), dtype=np.uint8)
    queries = generator.integers(0, 256, (500, 8), dtype=np.uint8)
    return sets | {UNIFORM: (database, queries, 64)}


def hamming(queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Distances (Q, N) of packed codes."""
    columns = zip(queries.T, codes.T, strict=True)
    return sum(np.bitwise_count(a[:, None] ^ b[None]).astype(np.int64) for a, b in columns)


def measure(ids, distances, truth: np.ndarray, k: int) -> dict:
    """What came back, against all true distances (Q, N).

    Recall is by distance: the share of the k places that are filled by a different item no farther than the true k-th.
    """
    recalls = []
    rows = []
    wrong_distances = 0
    ascending = 0
    descending = 0
    tied_pairs = 0
    lowest_ids = 0
    for query, true in enumerate(truth):
        found = np.asarray(ids[query], dtype=np.int64)
        valid = found >= 0
        found = found[valid]
        said = np.asarray(distances[query], dtype=np.float64)[: len(valid)][valid]
        cut = np.partition(true, k - 1)[k - 1]
        unique = np.unique(found)
        recalls.append(float((true[unique] <= cut).sum()) / k)
        rows.append(len(found))
        wrong_distances += int((np.abs(said - true[found]) > 1e-3).sum())
        tied = said[1:] == said[:-1]
        tied_pairs += int(tied.sum())
        ascending += int((np.diff(found)[tied] > 0).sum())
        descending += int((np.diff(found)[tied] < 0).sum())
        stable = np.argsort(true, kind="stable")[:k]
        lowest_ids += int(np.array_equal(np.sort(found), np.sort(stable)))
    return {
        "recall": round(float(np.mean(recalls)), 4),
        "worst": round(min(recalls), 2),
        "rows_worst": min(rows),
        "rows_most": max(rows),
        "queries_short": sum(count < k for count in rows),
        "wrong_distances": wrong_distances,
        "ties_ascending": round(ascending / max(tied_pairs, 1), 3),
        "ties_descending": round(descending / max(tied_pairs, 1), 3),
        "lowest_ids": round(lowest_ids / len(truth), 3),
    }


def short_error(error: BaseException) -> str:
    """An exception in one line."""
    text = re.sub(r" at /\S*", "", " ".join(str(error).split()))  # where the library's authors compiled it
    return f"{type(error).__name__}: {text[:160]}"


def attempt(work: Callable, *arguments):
    """What a call returns, or its error in one line: a trap that an engine does report."""
    try:
        return work(*arguments)
    except BaseException as error:  # some engines raise what is no Exception
        return short_error(error)


def try_engine(engine: Callable, sets: dict) -> dict:
    """All sets of codes, all items and the distinct codes alone; `BUILDS` more of all items where two builds differ."""
    results: dict = {}
    for name, (codes, queries, bits) in sets.items():
        distinct = np.unique(codes, axis=0)
        results[name] = {"all": try_codes(engine, codes, queries, bits)}
        if len(distinct) < len(codes):
            results[name]["distinct"] = try_codes(engine, distinct, queries, bits)
    results["same_ids_twice"] = gives_same_ids(engine, *next(iter(sets.values())))
    if not results["same_ids_twice"]:
        for name in sets:
            results[name]["all"] |= build_often(engine, *sets[name])
    return results


def try_codes(engine: Callable, codes: np.ndarray, queries: np.ndarray, bits: int) -> dict:
    """What one build gives, or its error."""
    start = time.perf_counter()
    try:
        found = engine(codes, queries, bits, K)
    except Exception as error:
        return {"error": short_error(error)}
    seconds = round(time.perf_counter() - start, 2)
    return measure(*found, hamming(queries, codes), K) | {"seconds": seconds, "items": len(codes)}


def gives_same_ids(engine: Callable, codes: np.ndarray, queries: np.ndarray, bits: int) -> bool:
    """Whether two builds answer with the same ids in the same order."""
    first, _ = engine(codes, queries, bits, K)
    second, _ = engine(codes, queries, bits, K)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True))


def build_often(engine: Callable, codes: np.ndarray, queries: np.ndarray, bits: int) -> dict:
    """The lowest and the highest recall of `BUILDS` builds, and the worst of all queries; how many raised an error."""
    builds = [try_codes(engine, codes, queries, bits) for _ in range(BUILDS)]
    measured = [build for build in builds if "error" not in build]
    recalls = [build["recall"] for build in measured]
    return {
        "builds": len(measured),
        "failed_builds": BUILDS - len(measured),
        "lowest_recall": min(recalls),
        "highest_recall": max(recalls),
        "worst_of_builds": min(build["worst"] for build in measured),
    }


def main(engines: dict[str, Callable], traps: Callable[[dict], dict], packages: list[str]) -> None:
    """Runs the engines of one script: `python SCRIPT codes.npz result.json`."""
    sets = load(sys.argv[1])
    result = {
        "versions": {package: version(package) for package in packages},
        "python": sys.version.split()[0],
        "rows": {name: try_engine(engine, sets) for name, engine in engines.items()},
        "traps": traps(sets),
    }
    Path(sys.argv[2]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

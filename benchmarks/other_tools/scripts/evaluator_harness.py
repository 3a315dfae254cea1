"""What the scripts of the evaluators share: rankings in, the average precision of each query out. NumPy alone.

An evaluator is a function `(task, cut) -> average precision of each query`; `cut` is None or the ranks that count.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Task:
    """Queries, a database, and the ranking that `as_ranking` made of them."""

    scores: np.ndarray  # (Q, D) float32, K + 1 - distance
    relevant: np.ndarray  # (Q, D) bool
    documents: list[str]  # D texts of one length
    queries: np.ndarray  # (Q, K) float32 of -1 and +1
    database: np.ndarray  # (D, K)
    query_labels: np.ndarray  # (Q,) integers
    database_labels: np.ndarray  # (D,)


def load(path: str) -> dict[str, Task]:
    """Reads what `evaluators.py` wrote."""
    file = np.load(path)
    tasks = {}
    for name in sorted({key.partition("/")[0] for key in file}):
        values = {field: file[f"{name}/{field}"] for field in Task.__dataclass_fields__}
        values["documents"] = values["documents"].tolist()
        tasks[name] = Task(**values)
    return tasks


def reversed_rows(task: Task) -> Task:
    """The same documents under the same ids, handed over from the last to the first."""
    return replace(
        task,
        scores=np.ascontiguousarray(task.scores[:, ::-1]),
        relevant=np.ascontiguousarray(task.relevant[:, ::-1]),
        documents=task.documents[::-1],
        database=np.ascontiguousarray(task.database[::-1]),
        database_labels=np.ascontiguousarray(task.database_labels[::-1]),
    )


def plain_ids(task: Task) -> Task:
    """Ids without zeros in front: "9" and "10" for "09" and "10"."""
    return replace(task, documents=[str(int(name)) for name in task.documents])


def minus_distance(task: Task) -> Task:
    """Scores of 0 and below: the negative distance."""
    bits = task.queries.shape[1]
    return replace(task, scores=task.scores - np.float32(bits + 1))


VARIANTS = {"reversed": reversed_rows, "plain_ids": plain_ids, "minus_distance": minus_distance}


def try_evaluator(evaluate: Callable, tasks: dict[str, Task], cuts: bool, variants: tuple[str, ...]) -> dict:
    """Average precision of each query of each task, whole and with a cut; of the variants, the mean alone."""
    results: dict = {}
    for name, task in tasks.items():
        start = time.perf_counter()
        results[name] = {"all": list(map(float, evaluate(task, None)))}
        results[name]["seconds"] = round(time.perf_counter() - start, 2)
        if cuts:
            cut = 2 if name == "ladder" else 100
            results[name]["cut"] = list(map(float, evaluate(task, cut)))
        if not name.startswith("trained"):
            continue
        for variant in variants:
            changed = VARIANTS[variant](task)
            results[name][variant] = float(np.mean(evaluate(changed, None)))
    return results


def main(
    evaluators: dict[str, Callable],
    packages: list[str],
    variants: tuple[str, ...],
    cuts: bool = True,
    traps: Callable | None = None,
) -> None:
    """Runs the evaluators of one script: `python SCRIPT tasks.npz result.json`.

    Args:
        evaluators: the functions, by the name of their row.
        packages: those whose versions are written down.
        variants: names of `VARIANTS` that differ for these evaluators at all.
        cuts: whether they count the first ranks alone.
        traps: what else is tried, a function of the tasks that returns a dictionary of texts and numbers.
    """
    tasks = load(sys.argv[1])
    rows = {name: try_evaluator(evaluate, tasks, cuts, variants) for name, evaluate in evaluators.items()}
    result = {
        "versions": {package: version(package) for package in packages},
        "python": sys.version.split()[0],
        "rows": rows,
        "traps": traps(tasks) if traps else {},
    }
    Path(sys.argv[2]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

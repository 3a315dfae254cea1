"""Evaluators of ranked lists, each on the same ranking of trained codes: what they divide by, how they break ties.

Codes: 100 queries and the 6,500 items of the database, at 16 and at 64 bits, from `codes.npz`. Each evaluator runs by a
script of `scripts/` in a virtual environment, which knows nothing of this package; it gets what `as_ranking` makes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_tools.environments import InstallError, environment, run_script
from benchmarks.other_tools.evaluator_guesses import EVALUATORS as EXPECTED
from benchmarks.other_tools.files import RESULTS, read_results, write_results
from relahash_nb.metrics import as_ranking, average_precision, distance_histograms, unpack

SCRIPTS = Path(__file__).parent / "scripts"
CODES = RESULTS / "codes.npz"
QUERIES = 100
CUT = 100
SETS = {"trained16": 16, "trained64": 64}


@dataclass(frozen=True)
class Script:
    """One script, the environment that it needs, and the rows that it fills."""

    file: str
    environment: str
    requirements: tuple[str, ...]
    rows: tuple[str, ...]


LIGHT = ("numpy==2.4.6", "scikit-learn==1.9.1")
TREC = ("numpy==2.4.6", "numba==0.68.1", "pytrec-eval-terrier==0.5.11", "ir-measures==0.4.3", "ranx==0.3.21")
TORCH = ("numpy==2.4.6", "torch==2.14.1", "torchmetrics==1.9.0", "pytorch-metric-learning==2.9.0", "faiss-cpu==1.15.1")
OPEN_METRIC_LEARNING = ("open-metric-learning==4.0.0", "omegaconf==2.4.0")

EVALUATORS = {
    "torchmetrics": Script("torchmetrics_evaluator.py", "torch_evaluators", TORCH, ("torchmetrics",)),
    "scikit_learn": Script("scikit_learn_evaluator.py", "scikit_learn", LIGHT, ("scikit_learn",)),
    "trec": Script("trec_evaluators.py", "trec", TREC, ("pytrec_eval", "ir_measures", "ranx")),
    "metric_learning": Script(
        "metric_learning_evaluator.py", "torch_evaluators", TORCH, ("metric_learning_faiss", "metric_learning_torch")
    ),
    "open_metric_learning": Script(
        "open_metric_learning_evaluator.py", "open_metric_learning", OPEN_METRIC_LEARNING, ("open_metric_learning",)
    ),
}


def run(options) -> None:
    """Runs the evaluators that are named, or all, and writes what they gave into `evaluators.json`."""
    results = read_results("evaluators") or {"rows": {}}
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "tasks.npz"
        exact = write_tasks(tasks)
        results["exact"] = {name: describe(scores) for name, scores in exact.items()}
        for name in options.only or EVALUATORS:
            results["rows"] |= run_evaluator(name, options.environments, tasks, exact)
            print(name, flush=True)
    write_results("evaluators", results)


# --- what they are given ---------------------------------------------------------------------------------------------


def write_tasks(path: Path) -> dict[str, dict]:
    """Writes the rankings of all tasks; returns the exact average precision of each query, by task and divisor."""
    file = np.load(CODES)
    targets = np.unpackbits(file["database_targets"], axis=1, count=10)
    query_targets = np.unpackbits(file["query_targets"][:QUERIES], axis=1, count=10)
    arrays: dict[str, np.ndarray] = {}
    exact = {}
    for name, bits in SETS.items():
        queries = unpack(file[f"{name}_query"][:QUERIES], bits)
        database = unpack(file[f"{name}_database"], bits)
        arrays |= task(name, queries, database, query_targets.argmax(1), targets.argmax(1))
        exact[name] = exact_scores(queries, database, query_targets, targets)
    for name, (database, labels) in probes().items():
        arrays |= task(name, np.ones((1, database.shape[1]), np.float32), database, np.ones(1, int), labels)
    np.savez_compressed(path, **arrays)
    return exact


def task(name: str, queries, database, query_labels, labels) -> dict[str, np.ndarray]:
    """The arrays of one task; an item is relevant to the queries of its class."""
    scores, documents = as_ranking(queries, database)
    values = {
        "scores": scores,
        "relevant": query_labels[:, None] == labels,
        "documents": np.array(documents),
        "queries": queries,
        "database": database,
        "query_labels": query_labels,
        "database_labels": labels,
    }
    return {f"{name}/{field}": value for field, value in values.items()}


def probes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Databases whose right answer can be worked out by hand, and which of their items are relevant (label 1).

    ladder: six items at six distances; relevant are the ranks 1, 3 and 4. With two ranks counted the sum of precisions
    is 1, so that 1, 1/2 and 1/3 tell the divisor: hits, the smaller of ranks and relevant items, relevant items.
    tied_first, tied_last: a hundred equal codes; the first or the last ten are relevant.
    """
    ladder = np.where(np.arange(16) < np.arange(6)[:, None], -1, 1).astype(np.float32)
    equal = np.ones((100, 16), np.float32)
    first = (np.arange(100) < 10).astype(int)
    return {
        "ladder": (ladder, np.array([1, 0, 1, 1, 0, 0])),
        "tied_first": (equal, first),
        "tied_last": (equal, first[::-1].copy()),
    }


# --- what is exact ---------------------------------------------------------------------------------------------------


def exact_scores(queries, database, query_targets, targets) -> dict[str, tuple]:
    """Expected, best and worst average precision of each query, without a cut and with one, by divisor."""
    relevant, total = distance_histograms(queries, database, query_targets, targets)
    all_relevant = relevant.sum(1)
    smaller = average_precision(relevant, total, CUT, "relevant")
    share = np.minimum(CUT, all_relevant) / np.maximum(all_relevant, 1)  # from the smaller number to all relevant
    return {
        "all": average_precision(relevant, total),
        "hits": average_precision(relevant, total, CUT, "retrieved"),
        "smaller": smaller,
        "relevant": tuple(values * share for values in smaller),
    }


def describe(scores: dict[str, tuple]) -> dict[str, dict[str, float]]:
    """Means over the queries."""
    names = ("expected", "best", "worst")
    means = {kind: [round(float(values.mean()), 6) for values in triple] for kind, triple in scores.items()}
    return {kind: dict(zip(names, values, strict=True)) for kind, values in means.items()}


# --- what they gave --------------------------------------------------------------------------------------------------


def run_evaluator(name: str, folder: Path, tasks: Path, exact: dict) -> dict[str, dict]:
    """What an evaluator's script measured, by row; where it does not install, a row that says so."""
    script = EVALUATORS[name]
    try:
        python = environment(folder, script.environment, script.requirements)
        with tempfile.TemporaryDirectory() as temporary:
            output = Path(temporary) / "result.json"
            run_script(python, SCRIPTS / script.file, tasks, output)
            result = json.loads(output.read_text(encoding="utf-8"))
    except InstallError as error:
        missing = {"requirements": script.requirements, "not_installed": str(error)}
        return {row: missing | {"expected": EXPECTED[row]} for row in script.rows}
    shared = {"versions": result["versions"], "python": result["python"], "traps": result["traps"]}
    rows = {}
    for row, values in result["rows"].items():
        rows[row] = shared | {"expected": EXPECTED[row], "measured": summary(values, exact)}
    return rows


DIVISORS = {1.0: "hits", 0.5: "smaller", 0.3333: "relevant"}  # the ladder's value with two ranks


def summary(values: dict, exact: dict) -> dict:
    """An evaluator's values beside the exact ones."""
    measured: dict = {
        "tied_first": round(values["tied_first"]["all"][0], 4),
        "tied_last": round(values["tied_last"]["all"][0], 4),
        "divides_by": None,
    }
    if "cut" in values["ladder"]:
        measured["divides_by"] = DIVISORS[round(values["ladder"]["cut"][0], 4)]
    for name in SETS:
        given = values[name]
        measured[name] = {"all": beside(given["all"], exact[name]["all"]), "seconds": given["seconds"]}
        if measured["divides_by"]:
            measured[name]["cut"] = beside(given["cut"], exact[name][measured["divides_by"]])
        for variant in ("reversed", "plain_ids", "minus_distance"):
            value = given[variant]
            measured[name][variant] = value if isinstance(value, str) else round(value, 6)
    return measured


def beside(values: list[float], exact: tuple) -> dict[str, float]:
    """Mean average precision, its distance from the expectation and both bounds, and how many queries lie outside the bounds."""
    expected, best, worst = exact
    given = np.array(values)
    mean = given.mean()
    rounding = 1e-5  # float32
    outside = {
        "queries_above_best": int((given > best + rounding).sum()),
        "queries_below_worst": int((given < worst - rounding).sum()),
    }
    numbers = {
        "map": mean,
        "to_expected": mean - expected.mean(),
        "to_best": mean - best.mean(),
        "to_worst": mean - worst.mean(),
        "largest_of_a_query": np.abs(given - expected).max(),
    }
    rounded = {name: round(float(number), 6) for name, number in numbers.items()}
    return rounded | outside

"""Evaluators of ranked lists, each on the same ranking of trained codes: what they divide by, how they break ties.

Codes: 100 queries and the 6,500 items of the database, at 16 and at 64 bits, from `codes.npz`. Each evaluator runs by a
script of `scripts/` in a virtual environment, which knows nothing of this package; it gets what `as_ranking` makes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_tools.environments import InstallError, environment, run_script
from benchmarks.other_tools.evaluator_examples import EXAMPLES, START
from benchmarks.other_tools.evaluator_guesses import EVALUATORS as EXPECTED
from benchmarks.other_tools.evaluator_words import EVALUATORS as WORDS
from benchmarks.other_tools.files import (
    RESULTS,
    ROOT,
    describe_machine,
    guess_table,
    markdown_table,
    read_results,
    write_results,
)
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
    """Runs the evaluators that are named, or all, and writes what they gave into `evaluators.json`.

    `--only words` runs none: the texts of `evaluator_words.py` are written again beside the numbers.
    """
    results = read_results("evaluators") or {"rows": {}, "examples": {}}
    names = [] if options.only == ["words"] else options.only or list(EVALUATORS)
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "tasks.npz"
        exact = write_tasks(tasks)
        results["exact"] = {name: describe(scores) for name, scores in exact.items()}
        for name in names:
            rows, examples = run_evaluator(name, options.environments, tasks, exact)
            results["rows"] |= rows
            results["examples"] |= examples
            print(name, flush=True)
    for row, values in results["rows"].items():
        values |= asdict(WORDS[row]) | {"expected": EXPECTED[row]}
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


def run_evaluator(name: str, folder: Path, tasks: Path, exact: dict) -> tuple[dict[str, dict], dict[str, str]]:
    """What an evaluator's script measured, by row, and which examples are right in its environment.

    Where it does not install, a row that says so, and no example.
    """
    script = EVALUATORS[name]
    try:
        python = environment(folder, script.environment, script.requirements)
    except InstallError as error:
        missing = {"requirements": script.requirements, "not_installed": str(error)}
        return dict.fromkeys(script.rows, missing), {}
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "result.json"
        run_script(python, SCRIPTS / script.file, tasks, output)
        result = json.loads(output.read_text(encoding="utf-8"))
        run_script(python, SCRIPTS / "evaluator_doctest.py", ROOT, output)
        examples = json.loads(output.read_text(encoding="utf-8"))
    shared = {"versions": result["versions"], "python": result["python"], "traps": result["traps"]}
    rows = {row: shared | {"measured": summary(values, exact)} for row, values in result["rows"].items()}
    return rows, examples


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
            if variant in given:
                measured[name][variant] = round(given[variant], 6)
    return measured


def beside(values: list[float], exact: tuple) -> dict[str, float]:
    """Mean average precision, its distance from the expectation and both bounds, and how many queries lie outside."""
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


# --- their block of the page -----------------------------------------------------------------------------------------

DIVISOR_TEXTS = {
    "hits": "relevant items among the 100",
    "smaller": "the smaller of 100 and all relevant items",
    "relevant": "all relevant items",
    None: "has no cut",
}


def markdown(results: dict) -> str:
    """The evaluators' block of the page: scores, wrong input, guesses, and the code that was run."""
    rows = {name: results["rows"][name] for name in WORDS if name in results["rows"]}
    parts = [
        introduction(results["exact"]),
        "### Mean average precision of all ranks\n",
        score_table(rows, "all"),
        "### mAP@100\n",
        cut_table(rows, results["exact"]),
        "### Order of ties, and other forms of the same ranking\n",
        form_table(rows),
        "### Guesses, and what to do\n",
        guess_table("evaluator", rows),
        "### A ranking for each of them\n",
        "`as_ranking` takes codes of −1 and +1 (`metrics.unpack` makes them of packed ones) and gives similarities "
        "above 0 and ids that sort. Without ties all agree with the value worked out by hand, (1 + 2/3 + 3/5) / 3. "
        "Each block below was run where its evaluator is installed. It has one query; of Q queries and D items "
        "torchmetrics wants all rankings in one row, with `torch.arange(Q).repeat_interleave(D)`, the texts a "
        "dictionary for each query.\n",
        *examples_text(),
        describe_machine(results) + ", `python -m benchmarks other_tools evaluators`.\n",
    ]
    return "\n".join(parts)


def introduction(exact: dict) -> str:
    """What was scored, and what is exact."""
    small = exact["trained16"]["all"]
    large = exact["trained64"]["all"]
    return (
        f"The first {QUERIES} queries and all 6,500 items of trained codes, the same for all. Many items share a "
        "distance, so the score depends on which of them comes first. `retrieval_scores` gives the expectation over "
        f"all orders and both ends: at 16 bits {small['expected']:.4f} ({small['worst']:.4f} to {small['best']:.4f}), "
        f"at 64 bits {large['expected']:.4f} ({large['worst']:.4f} to {large['best']:.4f}). Differences below are in "
        "points, hundredths of mAP.\n"
    )


def points(difference: float) -> str:
    """A difference in hundredths, with its sign; no minus before zero."""
    text = f"{100 * difference:+.2f}"
    return "0.00" if float(text) == 0 else text


def missing_line(row: dict, columns: list[str]) -> list[str]:
    """The line of an evaluator that did not install."""
    line = [row["title"], ", ".join(row["requirements"]), f"does not install: {row['not_installed']}"]
    return line + [""] * (len(columns) - len(line))


def score_columns(values: dict) -> list[str]:
    """mAP, and how far it lies from the expectation, the worst and the best order."""
    return [f"{values['map']:.4f}", *(points(values[name]) for name in ("to_expected", "to_worst", "to_best"))]


def score_table(rows: dict[str, dict], kind: str) -> str:
    """Without a cut: each evaluator beside the exact values."""
    columns = ["evaluator", "version"]
    for bits in SETS.values():
        columns += [f"{bits} bits: mAP", "to the expectation", "to the worst order", "to the best order"]
    columns += ["largest difference of a query, 16 or 64 bits", "queries above their best order, 16 and 64 bits"]
    lines = []
    for row in rows.values():
        if "not_installed" in row:
            lines.append(missing_line(row, columns))
            continue
        measured = [row["measured"][name][kind] for name in SETS]
        largest = max(values["largest_of_a_query"] for values in measured)
        above = [str(values["queries_above_best"]) for values in measured]
        line = [row["title"], row["versions"][row["package"]]]
        for values in measured:
            line += score_columns(values)
        lines.append([*line, points(largest).lstrip("+"), " and ".join(above)])
    return markdown_table(columns, lines)


def cut_table(rows: dict[str, dict], exact: dict) -> str:
    """With a cut: what the sum is divided by, and the exact value for that divisor."""
    columns = ["evaluator", "divides by"]
    for bits in SETS.values():
        columns += [f"{bits} bits: mAP@100", "exact for this divisor", "to it", "largest difference of a query"]
    lines = []
    for row in rows.values():
        if "not_installed" in row:
            continue
        divisor = row["measured"]["divides_by"]
        line = [row["title"], DIVISOR_TEXTS[divisor]]
        for name in SETS:
            if divisor is None:
                line += ["–"] * 4
                continue
            values = row["measured"][name]["cut"]
            line += [f"{values['map']:.4f}", f"{exact[name][divisor]['expected']:.4f}", points(values["to_expected"])]
            line.append(points(values["largest_of_a_query"]).lstrip("+"))
        lines.append(line)
    smaller = [f"{exact[name]['smaller']['expected']:.4f}" for name in SETS]
    note = f"\nBy the smaller of 100 and all relevant items the exact values are {smaller[0]} and {smaller[1]}.\n"
    return markdown_table(columns, lines) + note


def form_table(rows: dict[str, dict]) -> str:
    """What a hundred tied items get, and mAP at 16 bits of the same ranking in other forms."""
    columns = ["evaluator", "order of ties", "100 tied items, the first ten relevant", "the last ten"]
    columns += ["rows in reverse", 'ids "9", "10" for "0009", "0010"', "−distance for K + 1 − distance"]
    lines = []
    for row in rows.values():
        if "not_installed" in row:
            continue
        measured = row["measured"]
        given = measured["trained16"]
        line = [row["title"], row["ties"], f"{measured['tied_first']:.3f}", f"{measured['tied_last']:.3f}"]
        for variant in ("reversed", "plain_ids", "minus_distance"):
            if variant not in given:
                line.append("–")
                continue
            change = given[variant] - given["all"]["map"]
            line.append("the same" if abs(change) < 1e-6 else f"{given[variant]:.4f} ({points(change)})")
        lines.append(line)
    return markdown_table(columns, lines)


def examples_text() -> list[str]:
    """The lines that all share, then those of each evaluator."""
    parts = [f"```python\n{START}```\n"]
    parts += [f"{name}:\n\n```python\n{lines}```\n" for name, (_, lines) in EXAMPLES.items()]
    return parts

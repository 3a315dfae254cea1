"""The scoring code of published repositories on one set of codes: what two published scores are worth together.

The functions were taken from the repositories at the named commits and run outside this project, on one thread; none of
their code is here. Each got the trained codes of `codes.npz`, 500 queries and 6,500 items, float32 of -1 and +1, and
one-hot labels: the database sorted by class, and in the orders `np.random.default_rng(seed).permutation(6500)`, seeds 0
to 4 (0 and 1 for Octave). What was added around them: a loader, a timer and a log that print nothing, `np.float`, and a
`linspace` that takes a float as the number of points.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from benchmarks.other_tools.evaluator_guesses import REPOSITORIES as EXPECTED
from benchmarks.other_tools.evaluators import CODES, points
from benchmarks.other_tools.files import describe_machine, markdown_table, read_results, write_results
from benchmarks.other_tools.repository_words import REPOSITORIES as WORDS
from relahash_nb.metrics import hamming_distances, retrieval_scores, unpack

BITS = (64, 16)
RANKS = {"all": None, "1000": 1000, "100": 100}
SEEDS = range(5)


def run(options) -> None:
    """Computes what is exact anew, and writes it and the texts beside the figures that were measured."""
    results = read_results("repositories")
    if results is None:
        raise SystemExit("repositories: repositories.json is missing; its figures are measured outside this project")
    results["exact"] = {str(bits): exact_scores(bits) for bits in BITS}
    results["stable_sort"] = {str(bits): stable_sort_scores(bits) for bits in BITS}
    for row, values in results["rows"].items():
        guess = EXPECTED[row.removesuffix("_old_eval")]
        values |= asdict(WORDS[row]) | {"expected": guess}
    write_results("repositories", results)


def load(bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Queries, database and their one-hot targets."""
    file = np.load(CODES)
    queries = unpack(file[f"trained{bits}_query"], bits)
    database = unpack(file[f"trained{bits}_database"], bits)
    query_targets = np.unpackbits(file["query_targets"], axis=1, count=10)
    targets = np.unpackbits(file["database_targets"], axis=1, count=10)
    return queries, database, query_targets, targets


def exact_scores(bits: int) -> dict[str, dict[str, float]]:
    """Expectation over all orders of tied items, and both ends; divided by the relevant items found, as they all do."""
    exact = {}
    for name, top_k in RANKS.items():
        scores = retrieval_scores(*load(bits), top_k=top_k)
        exact[name] = {
            "expected": round(scores.mean_average_precision, 6),
            "worst": round(scores.worst, 6),
            "best": round(scores.best, 6),
        }
    return exact


def stable_sort_scores(bits: int) -> dict[str, dict]:
    """A stable sort by distance, ties in database order, for comparison: our code."""
    queries, database, query_targets, targets = load(bits)
    distances = hamming_distances(queries, database)
    relevant = query_targets.argmax(1)[:, None] == targets.argmax(1)
    by_class = np.argsort(targets.argmax(1), kind="stable")
    shuffles = [np.random.default_rng(seed).permutation(len(database)) for seed in SEEDS]
    scores = {}
    for name, top_k in RANKS.items():
        shuffled = [ranked_score(distances[:, order], relevant[:, order], top_k) for order in shuffles]
        scores[name] = {
            "sorted": ranked_score(distances[:, by_class], relevant[:, by_class], top_k),
            "shuffled": shuffled,
        }
    return scores


def ranked_score(distances: np.ndarray, relevant: np.ndarray, top_k: int | None) -> float:
    """Mean average precision of the ranking by a stable sort."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :top_k]
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    average = (precision * hits).sum(1) / np.maximum(hits.sum(1), 1)
    return round(float(average.mean()), 6)


# --- their block of the page -----------------------------------------------------------------------------------------


def markdown(results: dict) -> str:
    """The repositories' block of the page."""
    rows = {name: results["rows"][name] for name in WORDS if name in results["rows"]}
    measured = results["measured"]
    parts = [
        introduction(results),
        "### Difference to the expectation in points: sorted by class, then shuffled\n",
        difference_table(rows, results),
        "Shuffled: mean and standard deviation over five orders (two for TALR). A single shuffle, which is what one "
        "run has, scatters by that deviation.\n",
        "### What each function does\n",
        behaviour_table(rows),
        "### The same code with fewer instruction sets, or with an older NumPy\n",
        processor_table(results),
        processor_text(results),
        "### Guesses, and what else to know\n",
        guess_table(rows),
        f"Measured {measured['date']}, {measured['processor']}, Python {measured['python']}, outside this project; "
        f"exact values: {describe_machine(results)}, `python -m benchmarks other_tools repositories`.\n",
    ]
    return "\n".join(parts)


def introduction(results: dict) -> str:
    """What was run, and in one sentence what follows."""
    lowest, highest = extremes(results, "all", "sorted")
    lowest_cut, highest_cut = extremes(results, "100", "sorted")
    shuffled = extremes(results, "all", "shuffled", without="talr_ap")
    _, highest_shuffled = extremes(results, "100", "shuffled")
    return (
        "The functions that computed published scores, taken from eleven repositories at the commits below and run "
        "outside this project: the same trained codes for all, 500 queries and 6,500 items. All divide by the relevant "
        "items found within R.\n\n"
        "**On a database sorted by class the same codes score from "
        f"{points(lowest)} to {points(highest)} points around the exact expectation if all ranks count, and from "
        f"{points(lowest_cut)} to {points(highest_cut)} at R = 100, fewer instruction sets included. On a shuffled "
        f"one, on average over the orders, all but TALR's `AP` lie from {points(shuffled[0])} to {points(shuffled[1])} "
        "if all ranks count; at R = 100 those that drop queries without a hit still gain up to "
        f"{points(highest_shuffled)}.** So two published scores from different code that are less than "
        f"{100 * (highest - lowest):.1f} points apart ({100 * (highest_cut - lowest_cut):.0f} at R = 100) may come "
        "from equal codes. These are codes of one small network; where more items share a distance, the order of ties "
        "moves more.\n"
    )


def processor_text(results: dict) -> str:
    """What the table of processors shows."""
    by_torch = "the same" if results["torch_same_without_avx"] else "other"
    return (
        "Difference to the expectation in points, database sorted by class. NumPy's sort has an implementation for "
        "each instruction set, and each orders ties its own way; NumPy 1.23.5 has only the one without. The functions "
        f"that sort by torch gave {by_torch} numbers with `ATEN_CPU_CAPABILITY=default`. All on one processor, whose "
        'instructions were switched off: AVX512 by `NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"`, AVX2 '
        "by X86_V3 beside them; the older names, such as AVX512F, change nothing, and nothing says so.\n"
    )


def extremes(results: dict, ranks: str, order: str, without: str = "") -> tuple[float, float]:
    """The lowest and the highest difference to the expectation, of all rows or of all but one.

    With the sorted database they are those by fewer instruction sets too.
    """
    differences = by_instructions(results, ranks) if order == "sorted" else []
    for name, row in results["rows"].items():
        for bits in map(str, BITS):
            if ranks in row["map"][bits] and name != without:
                expected = results["exact"][bits][ranks]["expected"]
                differences.append(float(np.mean(row["map"][bits][ranks][order])) - expected)
    return min(differences), max(differences)


def by_instructions(results: dict, ranks: str) -> list[float]:
    """The differences to the expectation by each instruction set, and with the older NumPy."""
    differences = []
    for settings in results["processors"].values():
        for bits in map(str, BITS):
            expected = results["exact"][bits][ranks]["expected"]
            differences += [value - expected for value in settings[f"{bits}/{ranks}"].values()]
    return differences


def difference_table(rows: dict[str, dict], results: dict) -> str:
    """Every setting, sorted and shuffled; the exact values stand above, a stable sort below."""
    columns = ["repository"]
    columns += [f"{bits} bits, R = {ranks}" for bits in BITS for ranks in RANKS]
    exact = ["exact expectation (lowest to highest)"]
    for bits in map(str, BITS):
        for ranks in RANKS:
            values = results["exact"][bits][ranks]
            span = f"{100 * values['worst']:.1f} to {100 * values['best']:.1f}"
            exact.append(f"{100 * values['expected']:.2f} ({span})")
    lines = [exact]
    scores = {row["title"]: row["map"] for row in rows.values()}
    scores["a stable sort, our code"] = results["stable_sort"]
    for title, values in scores.items():
        line = [title]
        for bits in map(str, BITS):
            for ranks in RANKS:
                expected = results["exact"][bits][ranks]["expected"]
                line.append(difference_text(values[bits].get(ranks), expected))
        lines.append(line)
    return markdown_table(columns, lines)


def difference_text(values: dict | None, expected: float) -> str:
    """Sorted, then shuffled with the deviation of one shuffle."""
    if values is None:
        return "–"
    shuffled = np.array(values["shuffled"]) - expected
    text = f"{points(values['sorted'] - expected)}, {points(float(shuffled.mean()))}"
    deviation = 100 * float(shuffled.std(ddof=1))
    return text if deviation < 0.005 else f"{text} ± {deviation:.2f}"


def behaviour_table(rows: dict[str, dict]) -> str:
    """What was tried with rankings whose right value can be worked out by hand."""
    columns = ["repository", "commit", "function", "versions", "order of ties", "a query without a hit within R"]
    columns += ["a code of 0", "a rank that never counts"]
    lines = []
    for row in rows.values():
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items() if name != "python")
        line = [row["title"], row["commit"][:10], row["source"], versions]
        lines.append([*line, row["ties"], row["empty_query"], row["zero"], row["off_by_one"]])
    return markdown_table(columns, lines)


def processor_table(results: dict) -> str:
    """The functions that sort by NumPy, by instruction set."""
    titles = {"csq": "CSQ, DeepHash-pytorch, GreedyHash, HashNet (Caffe)", "thulab_deephash": "thulab/DeepHash"}
    ways = ["AVX512", "AVX2", "neither", "NumPy 1.23.5"]
    lines = []
    for name, title in titles.items():
        for setting in ("64/all", "64/100", "16/all", "16/100"):
            values = results["processors"][name][setting]
            bits, ranks = setting.split("/")
            expected = results["exact"][bits][ranks]["expected"]
            line = [title, f"{bits} bits, R = {ranks}"]
            lines.append(line + [points(values[way] - expected) for way in ways])
    return markdown_table(["function", "codes", *ways], lines)


def guess_table(rows: dict[str, dict]) -> str:
    """What was expected, what came, and what else a reader of published scores should know."""
    columns = ["repository", "expected", "observed", "surprise", "what else to know"]
    lines = []
    for row in rows.values():
        surprise = "**yes**" if row["surprise"] else "no"
        lines.append([row["title"], row["expected"], row["observed"], surprise, row["remark"]])
    return markdown_table(columns, lines)

"""What is said of each evaluator beside its numbers: the order of ties, the guess, advice.

Each sentence was written after the run whose numbers stand in `evaluators.json`, and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The texts of one row of the page."""

    title: str
    package: str
    ties: str
    observed: str
    surprise: bool
    advice: str


EVALUATORS = {
    "torchmetrics": Words(
        title="torchmetrics `RetrievalMAP`",
        package="torchmetrics",
        ties="neither order: rows are sorted by query, not stably, then by `torch.topk`",
        observed="as guessed in the mean; but a query scored alone differs by up to 2.1 points from the same query "
        "scored among others, and at 100 ranks one query lies 45 points from its expectation",
        surprise=True,
        advice="Give it scores above 0, as floats; score all queries in one call; say that mAP@R is divided by the "
        "hits: a query with one hit, at rank 1, counts 1.",
    ),
    "scikit_learn": Words(
        title="scikit-learn `average_precision_score`",
        package="scikit-learn",
        ties="a tie is one point: all of its items get the precision at its end",
        observed="more at 64 bits than at 16, and 6 of 100 queries lie *above the best order that exists*. By hand: "
        "one irrelevant item, then two tied relevant ones: 2/3, and the best order has (1/2 + 2/3) / 2 = .583",
        surprise=True,
        advice="Do not call it mAP of a ranking where codes repeat; it is another quantity there.",
    ),
    "pytrec_eval": Words(
        title="pytrec-eval-terrier `map`",
        package="pytrec-eval-terrier",
        ties="id as text, the highest first; the order of insertion does not matter",
        observed="as guessed; the spelling of ids moves .0003 to .0018",
        surprise=False,
        advice="Write ids with zeros in front, and shuffle the database once if it is sorted by class.",
    ),
    "ir_measures": Words(
        title="ir_measures `AP`",
        package="ir-measures",
        ties="as pytrec-eval",
        observed="as guessed, all digits",
        surprise=False,
        advice="As for pytrec-eval; it is the same code beneath.",
    ),
    "ranx": Words(
        title="ranx `map`",
        package="ranx",
        ties="neither order: by its sort, which depends on insertion and length",
        observed="as guessed",
        surprise=False,
        advice="Give the rows in one fixed order, the scores as floats.",
    ),
    "metric_learning_faiss": Words(
        title="pytorch-metric-learning, FAISS",
        package="pytorch-metric-learning",
        ties="ascending row",
        observed='as guessed; `k="max_bin_count"` gives .783 for .834 at 16 bits',
        surprise=False,
        advice="Pass `k=None`; with a cut it divides by all relevant items, so mAP@100 is at most 100 / 650 here. "
        '`"max_bin_count"` is a cut too.',
    ),
    "metric_learning_torch": Words(
        title="pytorch-metric-learning, torch",
        package="pytorch-metric-learning",
        ties="neither order: `torch.topk`",
        observed="as guessed: .003 from the FAISS row at 16 bits, for the same codes",
        surprise=False,
        advice="Name the `knn_func` beside the number.",
    ),
    "open_metric_learning": Words(
        title="open-metric-learning `calc_map`",
        package="open-metric-learning",
        ties="of the caller: `torch.topk` here",
        observed="as guessed: needs omegaconf, then torchmetrics' values",
        surprise=False,
        advice="Install omegaconf beside it, and sort ties before you hand the list over.",
    ),
}

"""The table of `study.dividend`: scores over class splits and seeds, beside those of the float features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relahash_nb.files import write
from study.class_splits import Composition, Trial, compositions
from study.dividend_methods import BYTES

RESAMPLES = 2_000
INTERVAL = (2.5, 97.5)  # percent
QUERIES = ("all", "seen", "unseen")
ROUNDED = dict.fromkeys(("low", "high", "split_deviation", "above_itq_low", "above_itq_high"), 3)  # decimals
RIVAL = "itq"  # the best known code without labels
REFERENCE = {"map": ("cosine", "map"), "precision": ("cosine", "precision")}  # of the method "float"

Scores = Mapping[tuple[str, str], np.ndarray]  # by distance and metric, (compositions, C)


def write_table(
    path: Path, network: str, trials: Sequence[Trial], finished: Mapping[str, Iterable[Any]], budget: int
) -> None:
    """Write the rows of a network in place of its earlier ones.

    Args:
        path: A CSV file, with other networks' rows, or none yet.
        network: Its name.
        trials: The splits, in the order of their numbers.
        finished: By method, target, run and scores of each run; `float` is among them.
        budget: Trials of a search.
    """
    reference = {run.split: scores for _, run, scores in finished["float"]}
    rivals = [(run, scores) for _, run, scores in finished.get(RIVAL, [])]
    weights = class_weights(len(trials[0].seen) + len(trials[0].unseen))
    rows = []
    for method, runs in finished.items():
        for target, of_target in by_target(runs).items():
            facts = {"network": network, "method": method, "target": target, "bytes": BYTES.get(method, 8)}
            facts["trials"] = 0 if target == "none" else budget
            rows += [facts | row for row in describe_runs(trials, target, of_target, reference, rivals, weights)]
    table = pd.DataFrame(rows).round(ROUNDED)
    if path.exists():
        earlier = pd.read_csv(path)
        table = pd.concat([earlier[earlier["network"] != network], table])
    write(path, lambda file: table.to_csv(file, index=False, float_format="%.4f"))


def by_target(runs: Iterable[Any]) -> dict[str, list[Any]]:
    """The runs and scores of each target."""
    groups: dict[str, list[Any]] = {}
    for target, run, scores in runs:
        groups.setdefault(target, []).append((run, scores))
    return groups


def describe_runs(
    trials: Sequence[Trial],
    target: str,
    runs: Sequence[tuple[Any, Scores]],
    reference: Mapping[int, Scores],
    rivals: Sequence[tuple[Any, Scores]],
    weights: np.ndarray,
) -> Iterator[dict[str, Any]]:
    """A row for each database, kind of queries, distance and metric; arguments as for `class_sums`, `summarise`.

    `rivals` are the runs of the method that the others are compared with; where it has no such distance, no row is.
    """
    for number, composition in databases_of(target):
        for queries in QUERIES:
            if queries != "all" and composition.unseen_share in (0, 1):
                continue  # all are of one kind
            for measure in runs[0][1]:
                sums = class_sums(trials, runs, reference, (number, composition), queries, measure)
                above: dict[str, float] = {}
                if rivals and measure in rivals[0][1]:
                    rival_sums = class_sums(trials, rivals, reference, (number, composition), queries, measure)
                    above = compare_ratios(sums, rival_sums, weights)
                yield {
                    "unseen_share": composition.unseen_share,
                    "training_share": composition.training_share,
                    "queries": queries,
                    "distance": measure[0],
                    "metric": measure[1],
                    **summarise(sums, weights),
                    **above,
                    "splits": len({run.split for run, _ in runs}),
                    "seeds": len({run.seed for run, _ in runs}),
                }


def databases_of(target: str) -> Iterator[tuple[int, Composition]]:
    """Number and shares of the databases that a target asks for; "none", of what is not tuned, has all of them."""
    for number, composition in enumerate(compositions()):
        if target in ("none", composition.target):
            yield number, composition


def class_sums(trials, runs, reference, composition: tuple[int, Composition], queries: str, measure) -> np.ndarray:
    """Sums over seeds for each split and class: (3, splits, classes): scores, those of float, and how many there are.

    A class is without a score in a split where it is not in the database, or not of the kind of queries.
    """
    number, shares = composition
    labels = len(trials[0].seen) + len(trials[0].unseen)
    sums = np.zeros((3, len(trials), labels))
    for run, scores in runs:
        trial = trials[run.split]
        classes = trial.database_classes(shares)
        is_seen = np.isin(classes, trial.seen)
        counted = {"all": np.ones(len(classes), bool), "seen": is_seen, "unseen": ~is_seen}[queries]
        of_float = reference[run.split][REFERENCE[measure[1]]][number]
        of_class = np.stack([scores[measure][number], of_float, np.ones(len(classes))])  # (3, C)
        sums[:, run.split, classes] += counted * of_class
    return sums


def class_weights(classes: int) -> np.ndarray:
    """How often each class is drawn in each resample: (resamples, classes)."""
    return np.random.default_rng(0).multinomial(classes, np.full(classes, 1 / classes), RESAMPLES).astype(float)


def summarise(sums: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """The mean score, its ratio to float, the ratio's interval over classes, and its deviation over splits.

    A class that is drawn again brings its scores of all splits and seeds with it.

    Args:
        sums: From `class_sums`.
        weights: From `class_weights`.
    """
    scores, of_float, counts = sums.sum(axis=1)  # (classes,) each
    low, high = np.percentile((weights @ scores) / (weights @ of_float), INTERVAL)
    split_scores, split_floats, _ = sums.sum(axis=2)  # (splits,) each
    measured = split_floats > 0
    ratios = split_scores[measured] / split_floats[measured]
    return {
        "value": scores.sum() / counts.sum(),
        "relative": scores.sum() / of_float.sum(),
        "low": low,
        "high": high,
        "split_deviation": ratios.std(ddof=1) if len(ratios) > 1 else np.nan,
    }


def compare_ratios(sums: np.ndarray, rival_sums: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """How far a method's ratio to float is above that of `RIVAL`, with an interval over the same draws of classes.

    Args:
        sums: From `class_sums`.
        rival_sums: The same of the rival.
        weights: From `class_weights`.
    """
    scores, of_float, _ = sums.sum(axis=1)  # (classes,) each
    rival_scores, rival_floats, _ = rival_sums.sum(axis=1)
    gains = (weights @ scores) / (weights @ of_float) - (weights @ rival_scores) / (weights @ rival_floats)
    low, high = np.percentile(gains, INTERVAL)
    gain = scores.sum() / of_float.sum() - rival_scores.sum() / rival_floats.sum()
    return {"above_itq": gain, "above_itq_low": low, "above_itq_high": high}

"""What an explorer shows of a run: counts and curves, one row for each query and each group of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from relahash_nb.metrics import distance_histograms
from relahash_nb.results import Run


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """S queries with their R nearest images, and G groups of queries: all of them, and those of each class.

    The tables `relevant`, `irrelevant`, `precision` and `recall` have S rows for the queries, then G rows for the
    groups. A group counts every query of the run, not only the S that have thumbnails. `View.of(run)` makes a view from
    a run's files.
    """

    title: str  # the run in words, with its score
    start: tuple[int, int]  # query, counted from 1, and threshold to begin with; see `find_start`
    bits: int  # K
    relevant: np.ndarray  # (S + G, K + 1) int64, relevant database items at each distance; for a group their sum
    irrelevant: np.ndarray  # (S + G, K + 1) int64, likewise, of the other items
    precision: np.ndarray  # (S + G, K + 1) within each threshold; NaN for a query without an item so near
    recall: np.ndarray  # (S + G, K + 1) within each threshold; 0 for a query without a relevant item
    groups: list[str]  # G names
    sizes: list[int]  # G, queries of the run in each group
    members: list[list[int]]  # G lists of queries, 0 to S − 1
    query_labels: list[str]  # S, names of the query's classes
    nearest_labels: list[list[str]]  # S × R, names of the item's classes, the nearest item first
    nearest_distances: np.ndarray  # (S, R) int, in bits
    nearest_relevant: np.ndarray  # (S, R) bool
    thumbnails: np.ndarray  # (T, 1 or 3, h, w) uint8
    query_thumbnails: np.ndarray  # (S,), which of the thumbnails
    nearest_thumbnails: np.ndarray  # (S, R), likewise

    @classmethod
    def of(cls, run: Run) -> View:
        """Makes the view of a run from its files alone."""
        arrays = run.arrays
        class_names = run.report.data.class_names
        queries, query_targets = run.codes("query")  # (Q, K), (Q, C)
        database, database_targets = run.codes("database")  # (D, K), (D, C)
        shown = arrays["shown_queries"]  # (S,)
        nearest = arrays["nearest"]  # (S, R)

        groups = group_queries(query_targets, class_names, shown)
        rows_of_groups = [rows for _, rows in groups]
        relevant, total = distance_histograms(
            queries, database, query_targets, database_targets, self_matches=find_self_matches(run)
        )
        precision, recall = tabulate_scores(relevant, total, shown, rows_of_groups)

        nearest_distances = (queries[shown][:, None] != database[nearest]).sum(axis=2)
        shared_labels = query_targets[shown][:, None] & database_targets[nearest]  # (S, R, C)
        return cls(
            title=title_of(run),
            start=find_start(precision, recall, len(shown)),
            bits=run.config.bits,
            relevant=stack_rows(relevant, shown, rows_of_groups, np.sum),
            irrelevant=stack_rows(total - relevant, shown, rows_of_groups, np.sum),
            precision=precision,
            recall=recall,
            groups=[name for name, _ in groups],
            sizes=[len(rows) for rows in rows_of_groups],
            members=[np.flatnonzero(np.isin(shown, rows)).tolist() for rows in rows_of_groups],
            query_labels=name_labels(query_targets[shown], class_names),
            nearest_labels=[name_labels(targets, class_names) for targets in database_targets[nearest]],
            nearest_distances=nearest_distances,
            nearest_relevant=shared_labels.any(axis=2),
            thumbnails=arrays["thumbnails"],
            query_thumbnails=arrays["query_thumbnails"],
            nearest_thumbnails=arrays["nearest_thumbnails"],
        )

    def row(self, group: int, query: int) -> int:
        """Gives the row of the tables for a position of the sliders.

        Args:
            group: 0 to G − 1.
            query: Counted from 1 within the group; 0 is the group itself.
        """
        if query == 0:
            return len(self.query_labels) + group
        return self.members[group][query - 1]


def title_of(run: Run) -> str:
    """Describes a run in words."""
    config = run.config
    score = run.report.scores.mean_average_precision
    return f"{run.report.data.name}, {config.bits} bits, {config.loss}, seed {config.seed}: mAP {score:.3f}"


def group_queries(
    query_targets: np.ndarray, class_names: Sequence[str], shown: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    """Groups the queries of a run, (Q, C) targets: all of them, and those of each class.

    Gives names and indices of queries, 0 to Q − 1; two classes may have one name. A group of which no query is `shown`
    is left out.
    """
    groups = [("all classes", np.arange(len(query_targets)))]
    for label, name in enumerate(class_names):
        groups.append((name, np.flatnonzero(query_targets[:, label])))
    return [(name, rows) for name, rows in groups if np.isin(rows, shown).any()]


def find_self_matches(run: Run) -> np.ndarray | None:
    """Gives each query's own index in the database, (Q,), −1 for none; None if the run does not leave it out."""
    if not run.config.drop_self_matches:
        return None
    database_ids = run.arrays["database_ids"].tolist()
    index_of = {name: index for index, name in enumerate(database_ids)}
    return np.array([index_of.get(name, -1) for name in run.arrays["query_ids"].tolist()])


def stack_rows(
    table: np.ndarray, shown: np.ndarray, groups: Sequence[np.ndarray], combine: Callable[..., np.ndarray]
) -> np.ndarray:
    """Stacks rows of a table (Q, K + 1): those of the S shown queries, then one for each group, (S + G, K + 1).

    `combine` makes one row of a group's rows: `np.sum` or `np.mean`.
    """
    group_rows = [combine(table[queries], axis=0) for queries in groups]
    return np.vstack([table[shown], *group_rows])


def tabulate_scores(
    relevant: np.ndarray, total: np.ndarray, shown: np.ndarray, groups: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Computes precision and recall within each threshold, as rows of `stack_rows`.

    Args:
        relevant: (Q, K + 1) relevant items at each distance.
        total: (Q, K + 1) all items at each distance.
        shown: (S,) indices of queries.
        groups: G arrays of indices. A group's row is the mean over its queries; there a query without any item within
            the threshold counts as precision 0.
    """
    found = np.cumsum(relevant, axis=1)
    retrieved = np.cumsum(total, axis=1)
    precision = stack_rows(found / retrieved.clip(1), shown, groups, np.mean)
    recall = stack_rows(found / found[:, -1:].clip(1), shown, groups, np.mean)
    precision[: len(shown)][retrieved[shown] == 0] = np.nan
    return precision, recall


def find_start(precision: np.ndarray, recall: np.ndarray, queries: int) -> tuple[int, int]:
    """Finds where an explorer begins.

    Gives a query, counted from 1, whose balance (F1) of precision and recall is in the best quarter, and the threshold
    with the best balance over all queries. Arguments are (S + G, K + 1), and S.
    """
    balance = 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # NaN where nothing is within a threshold
    threshold = int(np.argmax(balance[queries]))
    of_queries = np.nan_to_num(balance[:queries, threshold])
    is_good = of_queries >= np.quantile(of_queries, 0.75)
    return int(np.argmax(is_good)) + 1, threshold


def name_labels(targets: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Names the classes of each row of targets (N, C)."""
    names = np.array(class_names)
    return [", ".join(names[row > 0]) or "no label" for row in targets]

"""What an explorer shows of a run: counts and curves from `metrics`, one row for each query and each class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from relahash_nb.metrics import RetrievalScores, hamming_distances, retrieval_scores
from relahash_nb.results import Run

TABLES = ("relevant", "irrelevant", "precision", "recall")


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """S queries with their R nearest images, and G groups of queries: all of them, and those of each class.

    Rows 0 to S − 1 of the tables are the queries, rows S to S + G − 1 the groups. A group counts every query of the
    run, not only the S that have thumbnails. `View.of(run)` makes it from a run's files.
    """

    title: str  # the run in words, with its score
    start: tuple[int, int]  # query, counted from 1, and threshold to begin with; see `find_start`
    bits: int  # K
    relevant: np.ndarray  # (S + G, K + 1) int, relevant database items at each distance; for a group their sum
    irrelevant: np.ndarray  # likewise, of the other items
    precision: np.ndarray  # (S + G, K + 1), within each radius; a query without an item so near: NaN, in a group 0
    recall: np.ndarray  # (S + G, K + 1); 0 for a query without a relevant item
    groups: list[str]  # G
    sizes: list[int]  # G, queries of the run in each group
    members: list[list[int]]  # G lists of queries, 0 to S − 1
    labels: list[str]  # names of the classes of queries and items, each once
    query_labels: np.ndarray  # (S,), which of the labels
    nearest_labels: np.ndarray  # (S, R), likewise, in the order of distance
    nearest_distances: np.ndarray  # (S, R)
    nearest_relevant: np.ndarray  # (S, R) bool
    thumbnails: np.ndarray  # (T, 1 or 3, h, w) uint8
    query_thumbnails: np.ndarray  # (S,), which of the thumbnails
    nearest_thumbnails: np.ndarray  # (S, R), likewise

    @classmethod
    def of(cls, run: Run) -> View:
        """The view of a run, from its files alone."""
        arrays, bits, names = run.arrays, run.config.bits, np.array(run.report["data"]["class_names"])
        shown, nearest = arrays["shown_queries"], arrays["nearest"]  # (S,), (S, R)
        (queries, query_targets), (database, database_targets) = run.codes("query"), run.codes("database")
        database_rows = {name: row for row, name in enumerate(arrays["database_ids"].tolist())}
        own = [database_rows.get(name, -1) for name in arrays["query_ids"].tolist()]  # −1: not in the database
        own = np.array(own) if run.config.drop_self_matches else None
        scores = retrieval_scores(queries, database, query_targets, database_targets, self_matches=own)
        groups = [("all classes", np.arange(len(query_targets)))]
        # A list, since two classes may have the same name.
        groups += [(name, np.flatnonzero(query_targets[:, label])) for label, name in enumerate(names.tolist())]
        groups = [(name, rows) for name, rows in groups if np.isin(rows, shown).any()]
        rows = [tabulate(scores, np.array([query]), "skip") for query in shown]
        rows += [tabulate(scores, own, "zero") for _, own in groups]
        tables = dict(zip(TABLES, map(np.stack, zip(*rows, strict=True)), strict=True))
        items, places = np.unique(nearest, return_inverse=True)
        places = places.reshape(nearest.shape)  # NumPy 2.0 alone gives them this shape by itself
        distances = hamming_distances(queries[shown], database[items])
        words = [", ".join(names[row > 0]) or "no label" for row in [*query_targets[shown], *database_targets[items]]]
        labels, which = np.unique(words, return_inverse=True)
        return cls(
            title=title_of(run),
            start=find_start(tables["precision"], tables["recall"], len(shown)),
            bits=bits,
            **tables,
            groups=[name for name, _ in groups],
            sizes=[len(rows) for _, rows in groups],
            members=[np.flatnonzero(np.isin(shown, rows)).tolist() for _, rows in groups],
            labels=labels.tolist(),
            query_labels=which[: len(shown)],
            nearest_labels=which[len(shown) :][places],
            nearest_distances=np.take_along_axis(distances, places, 1),
            nearest_relevant=(database_targets[nearest] & query_targets[shown][:, None]).any(2),
            **{name: arrays[name] for name in ("thumbnails", "query_thumbnails", "nearest_thumbnails")},
        )

    def row(self, group: int, query: int) -> int:
        """The row of the tables for a position of the sliders: the query-th of a group, or for 0 the group itself."""
        return self.members[group][query - 1] if query else len(self.query_labels) + group


def title_of(run: Run) -> str:
    """A run in words."""
    score, config = run.report["scores"]["mean_average_precision"], run.config
    return f"{run.report['data']['name']}, {config.bits} bits, {config.loss}, seed {config.seed}: mAP {score:.3f}"


def find_start(precision: np.ndarray, recall: np.ndarray, queries: int) -> tuple[int, int]:
    """The threshold with the best precision and recall over all queries, and a query (from 1) of the best quarter."""
    both = 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # (S + G, K + 1); NaN for an empty ball
    radius = int(np.argmax(both[queries]))
    single = np.nan_to_num(both[:queries, radius])
    return int(np.argmax(single >= np.quantile(single, 0.75))) + 1, radius


def tabulate(scores: RetrievalScores, queries: np.ndarray, empty_ball: str) -> tuple[np.ndarray, ...]:
    """Counts of relevant and of other items, and precision and recall within each radius, each (K + 1,)."""
    some = replace(scores, relevant=scores.relevant[queries], total=scores.total[queries])
    relevant, total = some.relevant.sum(0), some.total.sum(0)
    radii = range(len(total))
    return relevant, total - relevant, some.precision_within(radii, empty_ball), some.recall_within(radii)

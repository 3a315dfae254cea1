"""What an explorer shows of a run: counts and curves from `metrics`, one row for each query and each class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from relahash_nb.metrics import RetrievalScores, hamming_distances, retrieval_scores
from relahash_nb.results import Run

ALL = "all classes"


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """S queries with their nearest images, and G groups of queries: all of them, and those of each class.

    Rows 0 to S − 1 of the tables are the queries, rows S to S + G − 1 the groups. A group counts every query of the
    run, not only the S that have thumbnails.

    Attributes:
        name: The run's id.
        title: The run in words, with its score.
        start: A query of all classes, counted from 1, and a threshold to begin with: the one at which all queries
            together do best by precision and recall, and the first of the quarter of the queries that do best there.
        bits: K.
        relevant: (S + G, K + 1) int64, relevant database items at Hamming distance 0 to K; for a group their sum.
        irrelevant: Likewise, of the other items.
        precision: (S + G, K + 1), within each radius; for a group the mean over its queries, where an empty ball counts
            0; for a query NaN where no item is so near.
        recall: (S + G, K + 1), likewise; 0 for a query without a relevant item.
        groups: G names.
        sizes: (G,), queries of each group in the run.
        members: G lists of the queries, 0 to S − 1, in each group.
        labels: Names of the query's classes, and of the items' classes, where they are shown: each once.
        query_labels: (S,), which of the labels.
        nearest_labels: (S, R), likewise of the nearest items, in the order of distance.
        nearest_distances: (S, R).
        nearest_relevant: (S, R) bool.
        thumbnails: (T, 1 or 3, h, w) uint8.
        query_thumbnails: (S,), which of the thumbnails.
        nearest_thumbnails: (S, R), likewise.
    """

    name: str
    title: str
    start: tuple[int, int]
    bits: int
    relevant: np.ndarray
    irrelevant: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    groups: list[str]
    sizes: list[int]
    members: list[list[int]]
    labels: list[str]
    query_labels: np.ndarray
    nearest_labels: np.ndarray
    nearest_distances: np.ndarray
    nearest_relevant: np.ndarray
    thumbnails: np.ndarray
    query_thumbnails: np.ndarray
    nearest_thumbnails: np.ndarray

    @classmethod
    def of(cls, run: Run) -> View:
        """Everything that is shown of a run, from its files; takes a moment, and no data set."""
        arrays, bits, names = run.arrays, run.config.bits, np.array(run.report["data"]["class_names"])
        shown, nearest = arrays["shown_queries"], arrays["nearest"]  # (S,), (S, R)
        (queries, query_targets), (database, database_targets) = run.codes("query"), run.codes("database")
        own = own_items(run) if run.config.drop_self_matches else None
        scores = retrieval_scores(queries, database, query_targets, database_targets, self_matches=own)
        # A list, since two classes may be of one name.
        groups = [(ALL, np.arange(len(query_targets)))]
        groups += [(name, np.flatnonzero(query_targets[:, label])) for label, name in enumerate(names.tolist())]
        groups = [(name, rows) for name, rows in groups if np.isin(rows, shown).any()]
        tables = [tabulate(scores, np.array([query]), "skip") for query in shown]
        tables += [tabulate(scores, rows, "zero") for _, rows in groups]
        relevant, irrelevant, precision, recall = map(np.stack, zip(*tables, strict=True))
        items, places = np.unique(nearest, return_inverse=True)
        places = places.reshape(nearest.shape)  # NumPy 2.0 alone gives them this shape by itself
        distances = hamming_distances(queries[shown], database[items])
        words = [", ".join(names[row > 0]) or "no label" for row in [*query_targets[shown], *database_targets[items]]]
        labels, which = np.unique(words, return_inverse=True)
        return cls(
            name=run.report["run_id"],
            title=title_of(run),
            start=find_start(precision, recall, len(shown)),
            bits=bits,
            relevant=relevant,
            irrelevant=irrelevant,
            precision=precision,
            recall=recall,
            groups=[name for name, _ in groups],
            sizes=[len(rows) for _, rows in groups],
            members=[np.flatnonzero(np.isin(shown, rows)).tolist() for _, rows in groups],
            labels=labels.tolist(),
            query_labels=which[: len(shown)],
            nearest_labels=which[len(shown) :][places],
            nearest_distances=np.take_along_axis(distances, places, 1),
            nearest_relevant=(database_targets[nearest] & query_targets[shown][:, None]).any(2),
            thumbnails=arrays["thumbnails"],
            query_thumbnails=arrays["query_thumbnails"],
            nearest_thumbnails=arrays["nearest_thumbnails"],
        )

    def row(self, group: int, query: int) -> int:
        """The row of the tables for a position of the sliders: the query-th of a group, or for 0 the group itself."""
        return self.members[group][query - 1] if query else len(self.query_labels) + group


def title_of(run: Run) -> str:
    """A run in words."""
    score, config = run.report["scores"]["mean_average_precision"], run.config
    return f"{run.report['data']['name']}, {config.bits} bits, {config.loss}, seed {config.seed}: mAP {score:.3f}"


def find_start(precision: np.ndarray, recall: np.ndarray, queries: int) -> tuple[int, int]:
    """A query, counted from 1, and a threshold that show a search doing its work; see `View`."""
    both = 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # (S + G, K + 1); NaN for an empty ball
    radius = int(np.argmax(both[queries]))
    single = np.nan_to_num(both[:queries, radius])
    return int(np.argmax(single >= np.quantile(single, 0.75))) + 1, radius


def tabulate(scores: RetrievalScores, queries: np.ndarray, empty_ball: str) -> tuple[np.ndarray, ...]:
    """Counts of relevant and of other items, and precision and recall within each radius, each (K + 1,)."""
    some = replace(scores, relevant=scores.relevant[queries], total=scores.total[queries])
    relevant, total = some.relevant.sum(0), some.total.sum(0)
    return relevant, total - relevant, *some.precision_recall_curve(empty_ball)


def own_items(run: Run) -> np.ndarray:
    """(Q,) row of the database that is the query itself, −1 for none."""
    rows = {name: row for row, name in enumerate(run.arrays["database_ids"].tolist())}
    return np.array([rows.get(name, -1) for name in run.arrays["query_ids"].tolist()])

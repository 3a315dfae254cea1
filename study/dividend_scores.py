"""What a method's distances score in each database; for `study.dividend`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relahash_nb.datasets import Dataset
from relahash_nb.metrics import code_distances, distance_scores, rescored_precision
from study.class_splits import Composition, Trial, compositions
from study.dividend_methods import Distances, normalised, training_data

TOP_K = 1_000  # ranks that average precision counts, as in the other tables of these data
PRECISION_RANKS = 10
RESCORED = 100  # items that are put in order by the cosine of their features

Measure = tuple[str, str]  # by which distance, and what


@dataclass(frozen=True, eq=False)
class Bench:
    """A split of the classes with all that its methods share.

    Attributes:
        trial: What is learned from, and what is searched for where.
        data: The training images, with the seen classes alone.
        features: (M, F) of the pool.
        labels: (M,) class numbers of the pool.
        rows: The rows of the pool of all queries (Q,) and of all items (D,) of any database, both ascending.
        cosine: (Q, D) float32, the distances by the features less the mean of the training images.
    """

    trial: Trial
    data: Dataset
    features: Tensor
    labels: np.ndarray
    rows: tuple[np.ndarray, np.ndarray]
    cosine: np.ndarray

    @classmethod
    def of(cls, trial: Trial, data: Dataset, features: Tensor) -> Bench:
        """The bench of a split of a data set."""
        query = np.unique(np.concatenate(list(trial.queries.values())))
        items = np.unique(np.concatenate([trial.database(composition) for composition in compositions()]))
        unit = normalised(features, trial.train)
        cosine = code_distances(unit[query], unit[items], "cosine").astype(np.float32)
        labels = data.pool.targets.argmax(dim=1).numpy()
        learned = training_data(data, trial.train, trial.seen)
        return cls(trial, learned, features, labels, (query, items), cosine)

    @property
    def targets(self) -> Tensor:
        """(N, S) uint8, the seen classes of the training images."""
        return torch.as_tensor(self.data.train.targets)

    def class_scores(self, distances: Distances, composition: Composition) -> dict[Measure, np.ndarray]:
        """Mean scores of the queries of each class (C,), in the order of the database's classes.

        Args:
            distances: Between all queries and all items of the bench.
            composition: Of the database.
        """
        query = np.searchsorted(self.rows[0], self.trial.query(composition))
        items = np.searchsorted(self.rows[1], self.trial.database(composition))
        query_rows, item_rows = self.rows[0][query], self.rows[1][items]
        relevant = self.labels[query_rows][:, None] == self.labels[item_rows]
        is_itself = query_rows[:, None] == item_rows  # in a search for options, where a query is left out

        def within(values: np.ndarray) -> np.ndarray:
            return np.where(is_itself, np.inf, values[np.ix_(query, items)])

        by_distance = {name: within(values) for name, values in distances.items()}
        scores = query_scores(by_distance, within(self.cosine), relevant)
        classes = len(self.trial.database_classes(composition))
        return {measure: values.reshape(classes, -1).mean(axis=1) for measure, values in scores.items()}


def query_scores(distances: Distances, second: np.ndarray, relevant: np.ndarray) -> dict[Measure, np.ndarray]:
    """Scores of each query (q,): average precision and precision by each distance, and after rescoring.

    The items that are rescored are the first by the first distance.

    Args:
        distances: By name, (q, d).
        second: (q, d) what the rescored items are put in order by.
        relevant: (q, d) bool.
    """
    scores = {}
    for name, values in distances.items():
        found = distance_scores(values, relevant, TOP_K)
        scores[name, "map"] = found.average_precision
        scores[name, "precision"] = found.precision_of_queries(PRECISION_RANKS)[:, 0]
    first = next(iter(distances.values()))
    scores["rescored", "precision"] = rescored_precision(first, second, relevant, RESCORED, PRECISION_RANKS)
    return scores


def score_everywhere(bench: Bench, distances: Distances, where: Sequence[Composition]) -> dict[Measure, np.ndarray]:
    """Scores of each database and class: (compositions, C) float32."""
    rows = [bench.class_scores(distances, composition) for composition in where]
    return {measure: np.stack([row[measure] for row in rows]).astype(np.float32) for measure in rows[0]}

"""Splits of the classes into seen and unseen ones, and databases with a share of each; for `study.dividend`.

The 100 classes of miniImageNet are split into 52 seen and 48 unseen ones, so that a quarter of the 48 classes of a
database is a whole number. Labels are used of the training images of seen classes alone. All databases have 48 classes
of 40 images, whatever the share of unseen classes and the share of training images among the images of a seen class.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from relahash_nb.datasets import Dataset

SEEN = 52  # classes that are learned from
DATABASE_CLASSES = 48
DATABASE_IMAGES = 40  # of a class; miniImageNet has so many that are neither training images nor queries
UNSEEN_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the classes of a database
TRAINING_SHARES = (0.0, 0.1, 0.55)  # of the images of a seen class in a database; the published lists have .56
FOLDS = 4  # of the seen classes: in a search each of them may play the unseen ones
HELD_OUT_IMAGES = 10  # of the 50 training images of a class: the new images of a search


@dataclass(frozen=True)
class Composition:
    """What a database is made of: the share of unseen classes, and of training images within seen classes."""

    unseen_share: float
    training_share: float

    @property
    def target(self) -> str:
        """The nearest of `study.dividend.TARGETS`: what the options are searched for that fit such a database."""
        if self.training_share:
            return "published"
        return {0.0: "seen", 1.0: "unseen"}.get(self.unseen_share, "half")


@dataclass(frozen=True, eq=False)
class Trial:
    """What is learned from, and what is searched for where; rows are positions in the pool of images.

    Attributes:
        seen: (S,) class numbers that are learned.
        unseen: (U,) the others that are searched for.
        train: (N,) rows, of seen classes alone.
        queries: By class, the rows that it is searched with.
        new: By class, rows that were not learned from.
        learned: By seen class, rows that were.
        classes: Of a database.
        images: Of a class in a database.
    """

    seen: np.ndarray
    unseen: np.ndarray
    train: np.ndarray
    queries: dict[int, np.ndarray]
    new: dict[int, np.ndarray]
    learned: dict[int, np.ndarray]
    classes: int
    images: int

    def database_classes(self, composition: Composition) -> np.ndarray:
        """The classes of a database, the seen ones first."""
        unseen = round(self.classes * composition.unseen_share)
        return np.concatenate([self.seen[: self.classes - unseen], self.unseen[:unseen]])

    def database(self, composition: Composition) -> np.ndarray:
        """The rows of a database."""
        rows = []
        for label in self.database_classes(composition):
            learned = round(self.images * composition.training_share) if label in self.learned else 0
            if learned:
                rows.append(self.learned[label][:learned])
            rows.append(self.new[label][: self.images - learned])
        return np.concatenate(rows)

    def query(self, composition: Composition) -> np.ndarray:
        """The rows of the queries of a database's classes, class after class in their order."""
        return np.concatenate([self.queries[label] for label in self.database_classes(composition)])


def compositions() -> list[Composition]:
    """All that are measured; without seen classes there are no training images."""
    mixed = [Composition(*shares) for shares in product(UNSEEN_SHARES[:-1], TRAINING_SHARES)]
    return [*mixed, Composition(1.0, 0.0)]


def class_split(data: Dataset, number: int) -> Trial:
    """One of the splits that are measured: test queries, and the database's images that are no training images."""
    order = _shuffled_classes(data, number)
    train = _rows_by_class(data, data.train.indices.numpy(), number)
    query = _rows_by_class(data, data.query.indices.numpy(), number)
    is_new = ~np.isin(data.database.indices.numpy(), data.train.indices.numpy())
    new = _rows_by_class(data, data.database.indices.numpy()[is_new], number)
    seen, unseen = order[:SEEN], order[SEEN:]
    learned = {label: train[label] for label in seen}
    rows = np.sort(np.concatenate([*learned.values()]))
    return Trial(seen, unseen, rows, query, new, learned, DATABASE_CLASSES, DATABASE_IMAGES)


def search_fold(data: Dataset, number: int, fold: int) -> Trial:
    """A split within the seen classes of a split, for the search: training images alone, a quarter plays "unseen".

    The held-out images of a class are its queries and its new images at once: a query is searched for among the others.
    """
    seen = _shuffled_classes(data, number)[:SEEN]
    train = _rows_by_class(data, data.train.indices.numpy(), number)
    is_unseen = np.arange(SEEN) % FOLDS == fold
    held_out = {label: train[label][:HELD_OUT_IMAGES] for label in seen}
    learned = {label: train[label][HELD_OUT_IMAGES:] for label in seen[~is_unseen]}
    rows = np.sort(np.concatenate([*learned.values()]))
    classes = is_unseen.sum() // 2 * 2  # so that half of them is a whole number
    return Trial(seen[~is_unseen], seen[is_unseen], rows, held_out, held_out, learned, int(classes), HELD_OUT_IMAGES)


def _shuffled_classes(data: Dataset, number: int) -> np.ndarray:
    return np.random.default_rng(number).permutation(len(data.class_names))


def _rows_by_class(data: Dataset, rows: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """The rows (N,) of each class, in an order of their own."""
    rng = np.random.default_rng([seed, 1])
    labels = data.pool.targets[rows].argmax(dim=1).numpy()  # (N,)
    return {label: rng.permutation(rows[labels == label]) for label in range(len(data.class_names))}

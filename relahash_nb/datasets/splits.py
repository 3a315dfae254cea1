"""A data set as a pool of images and four lists of positions in it: train, query, database, validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from relahash_nb.datasets.augment import prepare
from relahash_nb.datasets.findings import Finding
from relahash_nb.datasets.images import FileImages

# Totals over all classes: query, train, and whether the database leaves the training images out.
# Counts of the hashing literature; "2" trains on its whole database.
PROTOCOLS = {"1": (1_000, 5_000, False), "1-disjoint": (1_000, 5_000, True), "2": (10_000, None, False)}


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of a data set; its splits are positions in it.

    Attributes:
        images: (M, 1 or 3, H, W) uint8, or the files of them.
        targets: (M, C) uint8, multi-hot.
        ids: (M,) names or numbers of the items.
        image_size: Pixels, height and width of what the model is given.
        centre: Whether a model is tested on the centre 7/8 of an image, as training with crops wants it.
    """

    images: Tensor | FileImages
    targets: Tensor
    ids: np.ndarray
    image_size: int
    centre: bool = False


@dataclass(frozen=True, eq=False)
class Split:
    """Some items of a pool: `indices` (N,) are their positions in it."""

    pool: Pool
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> Tensor:
        """(N, C) uint8, multi-hot."""
        return self.pool.targets[self.indices]

    @property
    def ids(self) -> np.ndarray:
        """(N,) names or numbers."""
        return self.pool.ids[self.indices.numpy()]

    def positions_in(self, other: Split) -> np.ndarray:
        """(N,) position of each item in another split of the same pool, −1 where that has it not."""
        position = torch.full((len(self.pool.ids),), -1)
        position[other.indices] = torch.arange(len(other))
        return position[self.indices].numpy()

    def images(self, rows: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) uint8, the images at these positions of the split, as they are kept."""
        images, rows = self.pool.images, self.indices[rows]
        return images[rows.to(images.device)] if isinstance(images, Tensor) else images[rows]

    def batches(
        self,
        batch_size: int,
        device: torch.device | str = "cpu",
        *,
        augment: str = "none",
        generator: Generator | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches on the device: all in order; or, with a generator, shuffled and without an incomplete last one.

        Args:
            batch_size: Images a batch.
            device: Where they go.
            augment: One of `AUGMENTATIONS`.
            generator: Of the order and the augmentation.

        Yields:
            Images (B, 3, image_size, image_size) float32 from 0 to 1, and targets (B, C) uint8.
        """
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        stop = len(order) if generator is None else len(order) - len(order) % batch_size
        for rows in order[:stop].split(batch_size):
            images = self.images(rows).to(device, non_blocking=True)
            targets = self.pool.targets[self.indices[rows]].to(device, non_blocking=True)
            yield prepare(images, self.pool.image_size, augment, generator), targets


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a data set, over one pool of images.

    Attributes:
        name: As in `DATASETS`.
        class_names: C names.
        train: What the model learns from; usually within the database.
        query: What is searched with. Chooses nothing.
        database: What is searched in.
        validation: Queries that may choose the epoch: neither in train nor in query. Empty unless asked for.
        listed: Whether row i of a split is line i + 1 of its list file.
        findings: What the checks found to be wrong with it, or worth knowing.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    query: Split
    database: Split
    validation: Split
    listed: bool = False
    findings: tuple[Finding, ...] = ()

    @classmethod
    def from_pool(cls, name: str, class_names: Sequence[str], pool: Pool, positions: Mapping[str, Any]) -> Dataset:
        """A data set from a pool and the positions (N,) in it of `train`, `query` and `database`."""
        parts = {"validation": (), **positions}
        splits = {part: Split(pool, torch.as_tensor(rows, dtype=torch.long)) for part, rows in parts.items()}
        return cls(name, tuple(class_names), **splits)

    @property
    def pool(self) -> Pool:
        """What the splits share."""
        return self.train.pool

    @property
    def multi_label(self) -> bool:
        """Whether any item has more labels than one."""
        return bool((self.pool.targets.sum(1) > 1).any())

    @property
    def validation_database(self) -> Split:
        """What the validation images are searched in: the database without them."""
        kept = ~torch.isin(self.database.indices, self.validation.indices)
        return Split(self.pool, self.database.indices[kept])

    def with_validation(self, per_class: int, seed: int) -> Dataset:
        """The same with `per_class` images of each class out of the database for validation.

        They are images that are not trained on where there are enough; else the training images become fewer. The
        final scores are still over the whole database.

        Raises:
            ValueError: The database is too small for it.
        """
        generator = np.random.default_rng([seed, 1])  # another stream than the split's own
        trained, database = self.train.indices.numpy(), self.database.indices.numpy()
        taken = np.empty(0, dtype=np.int64)
        for label in range(len(self.class_names)) if per_class else ():
            members = database[self.database.targets[:, label].numpy() > 0]
            members = generator.permutation(np.setdiff1d(members, taken))
            members = members[np.argsort(np.isin(members, trained), kind="stable")]  # those not trained on come first
            taken = np.concatenate([taken, members[:per_class]])
        left = np.setdiff1d(trained, taken)
        if len(taken) < per_class * len(self.class_names) or not len(left):
            raise ValueError(
                f"validation_per_class: {per_class} given; {self.name}'s database has too few images for it"
            )
        positions = {"train": left, "query": self.query.indices, "database": database, "validation": np.sort(taken)}
        data = Dataset.from_pool(self.name, self.class_names, self.pool, positions)
        return replace(data, findings=self.findings) if per_class else self

    def to(self, device: torch.device | str) -> Dataset:
        """The pool moved to the device where it fits in half of what is free there; files stay files."""
        images = self.pool.images
        pixels = images if isinstance(images, Tensor) else images.decoded
        if pixels is None:
            return self
        if torch.device(device).type == "cuda" and pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        pixels = pixels.to(device)
        return self.with_images(pixels if isinstance(images, Tensor) else images.with_decoded(pixels))

    def with_images(self, images: Tensor | FileImages) -> Dataset:
        """The same data set over the same images, kept otherwise."""
        return self.with_pool(replace(self.pool, images=images))

    def with_pool(self, pool: Pool) -> Dataset:
        """The same splits of another pool of the same items."""
        names = ("train", "query", "database", "validation")
        return replace(self, **{name: Split(pool, getattr(self, name).indices) for name in names})

    def fingerprint(self) -> str:
        """What the data were, in 16 hexadecimal digits: a hash of ids, targets, splits, and pixels or file sizes."""
        images = self.pool.images
        digest = hashlib.sha256("\n".join(map(str, self.pool.ids.tolist())).encode(errors="surrogateescape"))
        digest.update(self.pool.targets.numpy())
        for part in (self.train, self.query, self.database, self.validation):
            digest.update(part.indices.numpy())
        digest.update(images.cpu().numpy() if isinstance(images, Tensor) else images.files[:, 0].copy())
        return digest.hexdigest()[:16]


def one_hot(labels: np.ndarray, classes: int | None = None) -> Tensor:
    """(M, C) uint8 from (M,) class numbers; C is one more than the largest unless it is given.

    Example:
        >>> one_hot(np.array([1, 0]))
        tensor([[0, 1],
                [1, 0]], dtype=torch.uint8)
    """
    numbers = torch.as_tensor(labels, dtype=torch.long)[:, None]  # (M, 1)
    width = int(numbers.max()) + 1 if classes is None else classes
    return torch.zeros(len(numbers), width, dtype=torch.uint8).scatter_(1, numbers, 1)


def split_pool(labels: np.ndarray, official_test: np.ndarray, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """CIFAR's splits by name, drawn evenly over the classes; they depend on the seed and on nothing else.

    | protocol     | query                        | train                        | database                 |
    |--------------|------------------------------|------------------------------|--------------------------|
    | `1`          | 1,000 of the pool            | 5,000 within the database    | the other 59,000         |
    | `1-disjoint` | 1,000 of the pool            | 5,000 outside the database   | the other 54,000         |
    | `2`          | 10,000 of the pool           | the database                 | the other 50,000         |
    | `2-official` | the 10,000 official test images | the database              | the 50,000 official training images |

    Args:
        labels: (M,) class of each item of the pool.
        official_test: (M,) bool, the official test set.
        protocol: One of the names above.
        seed: From 0 up.

    Returns:
        Positions in the pool, rising, for `train`, `query` and `database`.

    Example:
        >>> labels = np.arange(60_000) % 10
        >>> splits = split_pool(labels, labels < 0, "1", seed=0)
        >>> {name: len(positions) for name, positions in splits.items()}
        {'train': 5000, 'query': 1000, 'database': 59000}
    """
    if protocol == "2-official":
        database = np.flatnonzero(~official_test)
        return {"train": database, "query": np.flatnonzero(official_test), "database": database}
    queries, trains, disjoint = PROTOCOLS[protocol]
    classes = np.unique(labels)
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in classes]
    cut = queries // len(classes)
    end = cut + trains // len(classes) if trains else None
    query = np.sort(np.concatenate([order[:cut] for order in orders]))
    train = np.sort(np.concatenate([order[cut:end] for order in orders]))
    database = np.sort(np.concatenate([order[end if disjoint else cut :] for order in orders]))
    return {"train": train, "query": query, "database": database}

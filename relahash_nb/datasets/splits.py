"""A data set as a pool of images and four lists of positions in it: train, query, database, validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relahash_nb.datasets.images import FileImages

# Counts of the literature over all classes: query, train, and whether the database leaves the training images out; "2"
# trains on its whole database.
PROTOCOLS = {"1": (1_000, 5_000, False), "1-disjoint": (1_000, 5_000, True), "2": (10_000, None, False)}
# What is listed contradicts itself or cannot be read, or the queries were learned from: nothing is trained.
ERRORS = ("missing list", "list", "labels differ", "one class", "no labels", "query in train")
ERRORS += ("missing image", "leads out", "unreadable image")
# A run makes sense, but its score may mean something else than expected.
WARNINGS = ("class names", "query in database", "copies", "listed twice", "no label", "no item", "nothing to find")
WARNINGS += ("count", "unknown list")  # other than published
RULES = dict.fromkeys(ERRORS, "error") | dict.fromkeys(WARNINGS, "warning")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be: one of `RULES`, and a line that says how many, of what, and where.

    Example:
        >>> print(Finding("no label", "test.txt: 2 of 10 images have no label"))
        warning: test.txt: 2 of 10 images have no label
    """

    rule: str
    text: str

    @property
    def level(self) -> str:
        """`error` or `warning`."""
        return RULES[self.rule]

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of a data set; its splits are positions in it.

    Attributes:
        images: (M, 1 or 3, H, W) uint8, or the files of them.
        targets: (M, C) uint8, multi-hot.
        ids: (M,) names or numbers of the items.
        image_size: Pixels, height and width of what the model is given; `load_dataset` sets it from the config.
        centre: Whether a model is tested on the centre 7/8 of an image, as training with crops wants it.
        file_sizes: (M,) bytes of the files that decoded images come from.
    """

    images: Tensor | FileImages
    targets: Tensor
    ids: np.ndarray
    image_size: int
    centre: bool = False
    file_sizes: np.ndarray | None = None


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a data set, over one pool of images.

    Attributes:
        class_names: C names, without control characters, each once.
        train: What the model learns from; usually within the database.
        query: What is searched with; chooses nothing.
        validation: Queries that may choose the epoch, taken out of train; empty unless asked for.
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
        return cls(name, clean_names(class_names), **splits)

    @classmethod
    def from_arrays(
        cls, images: Any, targets: Any, *, train: Any, query: Any, database: Any = None,
        class_names: Sequence[str] | None = None, ids: Any = None, name: str = "own",
    ) -> Dataset:  # fmt: skip
        """A data set from images in memory.

        Args:
            images: (M, H, W), (M, H, W, 1 or 3) or (M, 1 or 3, H, W) uint8, array or tensor.
            targets: (M,) class numbers, or (M, C) multi-hot.
            train: Positions (N,) in the images of what is learned from.
            query: Of what is searched with; none of it should be in train or database.
            database: Of what is searched in; None: train.
            class_names: C names; None: numbers.
            ids: (M,) names or numbers of the items; None: their positions.
            name: Of the data set.

        Raises:
            ValueError: The images have another shape or type, or there are not as many targets.
        """
        pixels, labels = torch.as_tensor(images), np.asarray(targets)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels
        if pixels.ndim == 4 and pixels.shape[1] not in (1, 3):
            pixels = pixels.movedim(-1, 1).contiguous()
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
            kind = f"{tuple(pixels.shape)} {str(pixels.dtype).removeprefix('torch.')}"
            raise ValueError(f"images: {kind} given; allowed: (M, H, W), (M, H, W, 3) or (M, 3, H, W) uint8")
        if len(labels) != len(pixels) or labels.ndim not in (1, 2):
            raise ValueError(f"targets: {labels.shape} given for {len(pixels)} images; allowed: (M,) or (M, C)")
        rows = one_hot(labels) if labels.ndim == 1 else torch.as_tensor(labels > 0).to(torch.uint8)
        pool = Pool(pixels, rows, np.arange(len(pixels)) if ids is None else np.asarray(ids), pixels.shape[-1])
        positions = {"train": train, "query": query, "database": train if database is None else database}
        return cls.from_pool(name, class_names or [str(label) for label in range(rows.shape[1])], pool, positions)

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
        """The same with `per_class` training images of each class held out of training, to choose the epoch.

        They come out of train, since the other labels of the database are not given to a method; the final scores are
        still over the whole database. A ValueError says that there are too few.
        """
        if not per_class:
            return self
        generator = np.random.default_rng([seed, 1])  # another stream than the split's own
        left, taken = self.train.indices.numpy(), []
        for label in range(len(self.class_names)):
            members = left[self.pool.targets[left, label].numpy() > 0]
            taken.append(generator.permutation(np.unique(members))[:per_class])
            left = left[~np.isin(left, taken[-1])]
        found = np.sort(np.concatenate(taken))
        if len(found) < per_class * len(self.class_names) or not len(left):
            raise ValueError(f"validation_per_class: {per_class} given; {self.name} has too few training images for it")
        train, validation = (Split(self.pool, torch.from_numpy(rows)) for rows in (left, found))
        return replace(self, train=train, validation=validation)

    def to(self, device: torch.device | str) -> Dataset:
        """The pool moved to the device where it fits in half of what is free there; files stay files."""
        pixels = self.pool.images
        is_cuda = torch.device(device).type == "cuda"
        if not isinstance(pixels, Tensor) or (is_cuda and pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2):
            return self
        return self.with_pool(replace(self.pool, images=pixels.to(device)))

    def with_pool(self, pool: Pool) -> Dataset:
        """The same splits of another pool of the same items."""
        names = ("train", "query", "database", "validation")
        return replace(self, **{name: Split(pool, getattr(self, name).indices) for name in names})

    def fingerprint(self) -> str:
        """What the data were, in 16 hexadecimal digits: a hash of ids, targets, splits, and pixels or file sizes."""
        images, sizes = self.pool.images, self.pool.file_sizes
        digest = hashlib.sha256("\n".join(map(str, self.pool.ids.tolist())).encode(errors="surrogateescape"))
        digest.update(self.pool.targets.numpy())
        for part in (self.train, self.query, self.database, self.validation):
            digest.update(part.indices.numpy())
        if sizes is None:
            sizes = images.cpu().numpy() if isinstance(images, Tensor) else images.files[:, 0]
        digest.update(np.ascontiguousarray(sizes))
        return digest.hexdigest()[:16]


def clean_names(names: Sequence[str]) -> tuple[str, ...]:
    """Class names that can be printed and drawn: no control, undecodable or `$` characters, and each name once."""
    seen, cleaned = Counter(), []
    for name in names:
        name = "".join(letter if letter.isprintable() and letter != "$" else "\ufffd" for letter in str(name))
        seen[name] += 1
        cleaned.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(cleaned)


def one_hot(labels: np.ndarray) -> Tensor:
    """(M, C) uint8 from (M,) class numbers; C is one more than the largest."""
    numbers = torch.as_tensor(labels, dtype=torch.long)[:, None]  # (M, 1)
    return torch.zeros(len(numbers), int(numbers.max()) + 1, dtype=torch.uint8).scatter_(1, numbers, 1)


def split_pool(labels: np.ndarray, official_test: np.ndarray, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """CIFAR's splits, drawn evenly over the classes: rising positions in the pool of `train`, `query` and `database`.

    `labels` (M,) are the classes of the pool; `official_test` (M,) bool marks the queries of protocol `2-official`, the
    other protocols are those of `PROTOCOLS`. The split depends on the seed, from 0 up, and on nothing else.

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

"""A data set as a pool of images and four lists of positions in it: train, query, database, validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relahash_nb.datasets.images import FileImages

# What is listed contradicts itself or cannot be read, or the queries were learned from: nothing is trained.
ERRORS = (
    "missing list",
    "list",
    "labels differ",
    "one class",
    "no labels",
    "query in train",
    "missing image",
    "leads out",
    "unreadable image",
)
# A run makes sense, but its score may mean something else than expected.
WARNINGS = (
    "class names",
    "query in database",
    "copies",
    "listed twice",
    "no label",
    "no item",
    "nothing to find",
    "count",  # another than of the published list
    "unknown list",
    "single level",
)
# Worth knowing.
NOTES = ("splits", "left out", "drawn", "truncated")
RULES = dict.fromkeys(ERRORS, "error") | dict.fromkeys(WARNINGS, "warning") | dict.fromkeys(NOTES, "note")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be, or is worth knowing: one of `RULES`, and a line with how many and where.

    Example:
        >>> print(Finding("no label", "test.txt: 2 of 10 images have no label"))
        warning: test.txt: 2 of 10 images have no label
    """

    rule: str
    text: str

    @property
    def level(self) -> str:
        """`error`, `warning` or `note`."""
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
        """(N,) position of each item in another split of the same pool; −1: the item is not in it."""
        position = torch.full((len(self.pool.ids),), -1)
        position[other.indices] = torch.arange(len(other))
        return position[self.indices].numpy()

    def images(self, rows: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) uint8, the images at these positions of the split, as they are kept."""
        images = self.pool.images
        positions = self.indices[rows]
        if isinstance(images, Tensor):
            positions = positions.to(images.device)
        return images[positions]


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a data set, over one pool of images.

    Attributes:
        class_names: C names, without control characters, each once.
        train: What the model learns from; usually within the database.
        query: What is searched with; chooses nothing.
        validation: Queries that may choose the epoch, taken out of train; empty unless asked for.
        list_files: By the name of a split, the file of which line i + 1 is its row i.
        findings: What the checks found to be wrong with it, or worth knowing.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    query: Split
    database: Split
    validation: Split
    list_files: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @classmethod
    def from_pool(cls, name: str, class_names: Sequence[str], pool: Pool, positions: Mapping[str, Any]) -> Dataset:
        """A data set from a pool and the positions (N,) in it of `train`, `query` and `database`."""
        rows = {part: torch.as_tensor(positions[part], dtype=torch.long) for part in ("train", "query", "database")}
        return cls(
            name,
            clean_names(class_names),
            train=Split(pool, rows["train"]),
            query=Split(pool, rows["query"]),
            database=Split(pool, rows["database"]),
            validation=Split(pool, torch.zeros(0, dtype=torch.long)),
        )

    @classmethod
    def from_arrays(  # noqa: PLR0913  # by name, all but the first two
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
        pixels = _as_pixels(images)
        rows = _as_targets(targets, len(pixels))
        if ids is None:
            ids = np.arange(len(pixels))
        if database is None:
            database = train
        if class_names is None:
            class_names = [str(label) for label in range(rows.shape[1])]
        pool = Pool(pixels, rows, np.asarray(ids), image_size=pixels.shape[-1])
        return cls.from_pool(name, class_names, pool, {"train": train, "query": query, "database": database})

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
        generator = np.random.default_rng([seed, 1])  # another stream than the split's
        remaining = self.train.indices.numpy()
        held_out = []
        for label in range(len(self.class_names)):
            has_label = self.pool.targets[remaining, label].numpy() > 0
            members = np.unique(remaining[has_label])
            chosen = generator.permutation(members)[:per_class]
            held_out.append(chosen)
            remaining = remaining[~np.isin(remaining, chosen)]
        validation = np.sort(np.concatenate(held_out))
        if len(validation) < per_class * len(self.class_names) or not len(remaining):
            raise ValueError(f"validation_per_class: {per_class} given; {self.name} has too few training images for it")
        return replace(
            self,
            train=Split(self.pool, torch.from_numpy(remaining)),
            validation=Split(self.pool, torch.from_numpy(validation)),
        )

    def to(self, device: torch.device | str) -> Dataset:
        """Moves the pool to the device if it fits in half of what is free there; files stay files."""
        images = self.pool.images
        if not isinstance(images, Tensor):
            return self
        if torch.device(device).type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if images.nbytes > free / 2:
                return self
        return self.with_pool(replace(self.pool, images=images.to(device)))

    def with_pool(self, pool: Pool) -> Dataset:
        """The same splits of another pool of the same items."""
        return replace(
            self,
            train=Split(pool, self.train.indices),
            query=Split(pool, self.query.indices),
            database=Split(pool, self.database.indices),
            validation=Split(pool, self.validation.indices),
        )

    def fingerprint(self) -> str:
        """What the data were, in 16 hexadecimal digits: a hash of ids, targets, splits, and pixels or file sizes."""
        images = self.pool.images
        if self.pool.file_sizes is not None:
            content = self.pool.file_sizes
        elif isinstance(images, Tensor):
            content = images.cpu().numpy()
        else:
            content = images.files[:, 0]
        ids = "\n".join(map(str, self.pool.ids.tolist()))
        digest = hashlib.sha256(ids.encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.pool.targets.numpy()).data)
        for split in (self.train, self.query, self.database, self.validation):
            digest.update(np.ascontiguousarray(split.indices.numpy()).data)
        digest.update(np.ascontiguousarray(content).data)
        return digest.hexdigest()[:16]


def clean_names(names: Sequence[str]) -> tuple[str, ...]:
    """Class names that can be printed and drawn: no control, undecodable or `$` characters, and each name once."""
    times: Counter[str] = Counter()
    cleaned = []
    for name in names:
        letters = [letter if letter.isprintable() and letter != "$" else "\ufffd" for letter in str(name)]
        clean = "".join(letters)
        times[clean] += 1
        cleaned.append(clean if times[clean] == 1 else f"{clean} ({times[clean]})")
    return tuple(cleaned)


def one_hot(labels: np.ndarray, classes: int | None = None) -> Tensor:
    """(M, C) uint8 from (M,) class numbers; C is `classes`, or one more than the largest number."""
    numbers = torch.as_tensor(labels, dtype=torch.long)
    if classes is None:
        classes = int(numbers.max()) + 1
    return torch.zeros(len(numbers), classes, dtype=torch.uint8).scatter_(1, numbers[:, None], 1)


def _as_pixels(images: Any) -> Tensor:
    """(M, 1 or 3, H, W) uint8 from what `Dataset.from_arrays` takes."""
    pixels = torch.as_tensor(images)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3):
        pixels = pixels.movedim(-1, 1).contiguous()
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        given = f"{tuple(pixels.shape)} {str(pixels.dtype).removeprefix('torch.')}"
        raise ValueError(f"images: {given} given; allowed: (M, H, W), (M, H, W, 3) or (M, 3, H, W) uint8")
    return pixels


def _as_targets(targets: Any, count: int) -> Tensor:
    """(M, C) uint8, multi-hot, from class numbers (M,) or labels (M, C)."""
    labels = np.asarray(targets)
    if len(labels) != count or labels.ndim not in (1, 2):
        raise ValueError(f"targets: {labels.shape} given for {count} images; allowed: (M,) or (M, C)")
    if labels.ndim == 1:
        return one_hot(labels)
    return torch.as_tensor(labels > 0).to(torch.uint8)

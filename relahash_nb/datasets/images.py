"""Images of a data set: decoded from its files, and from a uint8 batch on its device to what a model is given.

Functions that need torchvision import it themselves: it takes a third of a second, and small images need none of it.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from relahash_nb.pictures import CROP_SHARE, ends_early, leads_out, open_picture, read_file, read_square

__all__ = [
    "AUGMENTATIONS", "MISSING", "OUTSIDE", "FileImages", "prepare",
]  # fmt: skip

MISSING = -1  # in place of a file's size: there is no such file
OUTSIDE = -2  # in place of a file's size: the path leads out of the root


class Examined(NamedTuple):
    """What there is to say of an image's file.

    Attributes:
        fault: Why it cannot be decoded; "" if it can.
        digest: Of its bytes.
        has_one_level: Whether all its pixels are alike.
        is_cut: Whether it is a JPEG file without its end.
    """

    fault: str = ""
    digest: bytes = b""
    has_one_level: bool = False
    is_cut: bool = False


class FileImages:
    """Images in files, decoded when asked for: the shorter side resized to `size`, then the middle square.

    Indexing with N positions gives (N, 3, size, size) uint8 RGB; a ValueError names a file that is missing, no
    readable image, or not below `root`. A link that stands directly in the root may lead to a folder elsewhere.

    Args:
        root: The folder that the paths are relative to.
        paths: Of the M images.
        size: Pixels of height and width.
        truncated: Whether JPEG files without their end are taken too.

    Attributes:
        cut: The positions of such files among those that were decoded.
    """

    def __init__(self, root: Path, paths: Sequence[str], size: int, truncated: bool = False) -> None:
        self.root = Path(os.path.realpath(root))
        self.places = [self.root, *linked_folders(self.root)]
        self.paths = list(paths)
        self.size = size
        self.truncated = truncated
        self.cut: set[int] = set()
        self.threads = ThreadPoolExecutor(os.cpu_count())  # decoding releases the interpreter's lock

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> Tensor:
        positions = torch.as_tensor(rows).tolist()
        return torch.stack(list(self.threads.map(self._decode, positions)))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(M, 3, size, size)."""
        return len(self), 3, self.size, self.size

    @cached_property
    def files(self) -> np.ndarray:
        """(M, 2) int64: bytes and time of change in ns of each file; `MISSING` or `OUTSIDE` twice where it has none."""
        return np.array([self._look_up(path) for path in self.paths], dtype=np.int64).reshape(-1, 2)

    def examine(self, row: int) -> Examined:
        """Decodes a file, and says what there is to say of it."""
        try:
            path = self._path(self.paths[row])
            content = read_file(path)
        except (OSError, ValueError) as error:
            return Examined(str(error))
        is_cut = ends_early(content)
        try:
            pixels = np.asarray(open_picture(content, truncated=self.truncated))  # (H, W, 3)
        except ValueError as error:
            remedy = "; --truncated True takes it" if is_cut and not self.truncated else ""
            return Examined(f"{path}: {error}{remedy}")
        return Examined(
            digest=hashlib.blake2b(content, digest_size=16).digest(),
            has_one_level=bool((pixels == pixels[0, 0]).all()),
            is_cut=is_cut,
        )

    def _path(self, path: str) -> str:
        """The file itself, links followed; a ValueError says that it is not below the root or a folder linked there."""
        full = os.path.realpath(self.root / path)  # unlike Path.resolve, no RuntimeError for a link loop
        if not any(Path(full).is_relative_to(place) for place in self.places):
            raise ValueError(f"{self.root / path}: leads out of {self.root}")
        return full

    def _look_up(self, path: str) -> tuple[int, int]:
        """Size and time of change of a file; see `files`."""
        try:
            full = self._path(path)
            found = os.stat(full)  # noqa: PTH116 - of many thousands in a second
        except OSError:
            return MISSING, MISSING
        except ValueError:
            return OUTSIDE, OUTSIDE
        if not stat.S_ISREG(found.st_mode):
            return MISSING, MISSING
        return found.st_size, found.st_mtime_ns

    def _decode(self, row: int) -> Tensor:
        path = self._path(self.paths[row])
        if self.truncated and ends_early(read_file(path)):
            self.cut.add(row)
        return torch.from_numpy(read_square(path, self.size, self.truncated))


def linked_folders(root: Path) -> list[Path]:
    """The folders elsewhere that links directly in a folder lead to: whoever has it has put them there."""
    with os.scandir(root) as entries:
        links = [entry.name for entry in entries if entry.is_symlink() and entry.is_dir()]
    return [Path(os.path.realpath(root / name)) for name in links if leads_out(name, str(root))]


def prepare(images: Tensor, image_size: int, augment: str = "none", generator: Generator | None = None) -> Tensor:
    """Augments and resizes a batch; the model normalises it, since that goes with the weights.

    Args:
        images: (B, 1 or 3, H, W) uint8.
        image_size: Pixels of the result's height and width.
        augment: A key of `AUGMENTATIONS`.
        generator: On the CPU, so that a seed means the same on every device; each image has random numbers of its own.
            None: torch's global one. `none` and `centre` draw nothing.

    Returns:
        (B, 3, image_size, image_size) float32 from 0 to 1, on the device of the images.

    Example:
        >>> prepare(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8), 4).unique()
        tensor([0.2000])
    """
    augmentation = AUGMENTATIONS[augment]
    if augmentation.cut:
        images = augmentation.cut(images, generator)
    if augmentation.steps:
        batch = images.float() / 255  # (B, C, H, W)
        for step in augmentation.steps:
            batch = step(batch, generator)
        images = (batch * 255).round().to(torch.uint8)
    if images.shape[-2:] != (image_size, image_size):
        from torchvision.transforms.v2 import functional

        # As uint8 and channels last it takes a tenth of the time that floats take on a CPU.
        images = images.contiguous(memory_format=torch.channels_last)
        images = functional.resize(images, [image_size, image_size], antialias=True)
    return (images.float() / 255).expand(-1, 3, -1, -1)


def crop(images: Tensor, generator: Generator | None, size: list[int] | None = None) -> Tensor:
    """Cuts a part out of each image, anywhere: of 7/8 of its sides, or of this height and width."""
    height, width = size or kept_size(images)
    count = len(images)
    tops = torch.randint(0, images.shape[-2] - height + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(0, images.shape[-1] - width + 1, (count,), generator=generator).tolist()
    parts = []
    for image, top, left in zip(images, tops, lefts, strict=True):
        parts.append(image[:, top : top + height, left : left + width])
    return torch.stack(parts)


def centre(images: Tensor, generator: Generator | None = None) -> Tensor:
    """Cuts out the middle 7/8 of each image's sides: what a model trained on crops is tested on."""
    from torchvision.transforms.v2 import functional

    return functional.center_crop(images, kept_size(images))


def resized_crop(images: Tensor, generator: Generator | None) -> Tensor:
    """Torchvision's `RandomResizedCrop` of each image, to 7/8 of its sides."""
    from torchvision.transforms import v2

    return transform_each(images, v2.RandomResizedCrop(kept_size(images), antialias=True), generator)


def trivial(images: Tensor, generator: Generator | None) -> Tensor:
    """A part of half of each image's area or more, mirrored or not, and one change of TrivialAugment (ICCV 2021)."""
    from torchvision.transforms import v2

    part = v2.RandomResizedCrop(images.shape[-2:], scale=(0.5, 1.0), antialias=True)
    steps = v2.Compose([part, v2.RandomHorizontalFlip(), v2.TrivialAugmentWide()])
    return transform_each(images, steps, generator)


def kept_size(images: Tensor) -> list[int]:
    """Height and width of what a crop keeps."""
    return [round(side * CROP_SHARE) for side in images.shape[-2:]]


def transform_each(images: Tensor, transform: nn.Module, generator: Generator | None) -> Tensor:
    """A transform of torchvision, drawn anew for each image; what it draws follows from the generator alone."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return torch.stack([transform(image) for image in images])


def flip(batch: Tensor, generator: Generator | None) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    mirrored = _uniform(batch, 0, 1, generator) < 0.5  # (B, 1, 1, 1)
    return torch.where(mirrored, batch.flip(-1), batch)


def jitter(batch: Tensor, generator: Generator | None, strength: float = 0.05) -> Tensor:
    """Brightness, then contrast of each image changed by up to `strength`, as torchvision's ColorJitter does."""
    brightness = _uniform(batch, 1 - strength, 1 + strength, generator)  # (B, 1, 1, 1)
    batch = (batch * brightness).clamp(0, 1)
    mean = grey(batch).mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    contrast = _uniform(batch, 1 - strength, 1 + strength, generator)
    return torch.lerp(mean, batch, contrast).clamp(0, 1)


def grey(batch: Tensor) -> Tensor:
    """The brightness of images (B, 1 or 3, H, W): (B, 1, H, W)."""
    if batch.shape[1] == 1:
        return batch
    from torchvision.transforms.v2 import functional

    return functional.rgb_to_grayscale(batch)


def shift(batch: Tensor, generator: Generator | None, share: float = 1 / 14) -> Tensor:
    """Each image moved by up to `share` of its height along both axes; the border repeats."""
    height, width = batch.shape[-2:]
    border = round(height * share)
    padded = F.pad(batch, (border, border, border, border), mode="replicate")
    return crop(padded, generator, [height, width])


def _uniform(batch: Tensor, low: float, high: float, generator: Generator | None) -> Tensor:
    """One number an image, (B, 1, 1, 1)."""
    numbers = torch.rand(len(batch), 1, 1, 1, generator=generator) * (high - low) + low
    return numbers.to(batch.device, non_blocking=True)


Step = Callable[[Tensor, Generator | None], Tensor]


class Augmentation(NamedTuple):
    """What is done to a batch of training images.

    Attributes:
        cut: From uint8 images to uint8 images, before anything else; None: nothing.
        steps: From float images, 0 to 1, to such images, one after another.
    """

    cut: Step | None = None
    steps: tuple[Step, ...] = ()


# `centre` is the evaluation's after a training with crops, and no choice of a config.
AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(steps=(flip,)),
    "jitter": Augmentation(steps=(flip, jitter)),
    "shift": Augmentation(steps=(shift, flip, jitter)),
    "crop": Augmentation(cut=crop, steps=(flip,)),
    "resized_crop": Augmentation(cut=resized_crop, steps=(flip,)),
    "centre": Augmentation(cut=centre),
    "trivial": Augmentation(cut=trivial),
}

"""Images as uint8, in memory or in files, and what is done to a batch of them on the device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as V
from tqdm.auto import tqdm

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
SMALLEST_SIDE_SAMPLE = 64  # images whose headers are read to find out at which size a folder is kept


class FileImages:
    """Images in files, decoded when asked for: the shorter side resized to `size`, the middle square cut out.

    Indexing with a list or tensor of N positions gives (N, 3, size, size) uint8.

    Args:
        root: The folder that every path stays under.
        paths: Relative to the root, of files that Pillow reads; of an animation the first frame.
        image_size: Pixels wanted by the model. Smaller images are kept as they are, and enlarged on the device.

    Raises:
        ValueError: When indexed: a path leads out of the root, or a file is missing or no readable image.
    """

    def __init__(self, root: Path, paths: Sequence[str], image_size: int) -> None:
        self.root, self.paths = root.resolve(), list(paths)
        step = max(1, len(self.paths) // SMALLEST_SIDE_SAMPLE)
        self.size = min(image_size, max(self._shorter_side(path) for path in self.paths[::step]))
        self.shape = (len(self.paths), 3, self.size, self.size)
        self._threads = ThreadPoolExecutor(os.cpu_count())  # decoding releases the interpreter's lock

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return torch.stack(list(self._threads.map(self._decode, indices.tolist())))  # (N, 3, size, size)

    def in_memory(self) -> Tensor:
        """All of them decoded, (N, 3, size, size) uint8."""
        images = torch.empty(self.shape, dtype=torch.uint8)
        decoded = self._threads.map(self._decode, range(len(self)))
        for row, image in enumerate(
            tqdm(decoded, "decoding", len(self), unit=" images", leave=False, delay=2, mininterval=1)
        ):
            images[row] = image
        return images

    def file_sizes(self) -> np.ndarray:
        """(N,) bytes of each file: what the fingerprint of the data goes by."""
        return np.array([self._path(path).stat().st_size for path in self.paths])

    def _path(self, path: str) -> Path:
        full = (self.root / path).resolve()
        if not full.is_relative_to(self.root):
            raise ValueError(f"{path}: leads out of {self.root}")
        if not full.is_file():
            raise ValueError(f"{full}: no such image")
        return full

    def _shorter_side(self, path: str) -> int:
        with self._open(path) as image:  # the header alone
            return min(image.size)

    def _decode(self, index: int) -> Tensor:
        with self._open(self.paths[index]) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
        if image.size != (self.size, self.size):
            image = V.center_crop(V.resize(image, [self.size]), [self.size, self.size])
        return V.pil_to_tensor(image)  # (3, size, size)

    @contextmanager
    def _open(self, path: str) -> Iterator[Image.Image]:
        full = self._path(path)
        try:
            with Image.open(full) as image:
                yield image
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{full}: not a readable image ({str(error).splitlines()[0]})") from None


def prepare(images: Tensor, image_size: int, augment: str = "none", generator: Generator | None = None) -> Tensor:
    """A batch as the model wants it, on the device that it is on.

    The random numbers are drawn on the CPU, one set an image, so that a seed means the same on every device.

    Args:
        images: (B, 1 or 3, H, W) uint8.
        image_size: Pixels, height and width of the result.
        augment: One of `AUGMENTATIONS`.
        generator: Where the random numbers come from; needed by all but `none`.

    Returns:
        (B, 3, image_size, image_size) float32 from 0 to 1. Normalising is the model's, since it goes with the weights.

    Example:
        >>> prepare(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8), 4).unique()
        tensor([0.2000])
    """
    if AUGMENTATIONS[augment]:
        batch = images.float() / 255  # (B, C, H, W)
        for step in AUGMENTATIONS[augment]:
            batch = step(batch, generator)
        images = (batch * 255).round().to(torch.uint8)
    if images.shape[-2:] != (image_size, image_size):
        # As uint8 and channels last it takes a tenth of the time that floats take on a CPU.
        images = images.contiguous(memory_format=torch.channels_last)
        images = V.resize(images, [image_size, image_size], antialias=True)
    return (images.float() / 255).expand(-1, 3, -1, -1)


def flip(batch: Tensor, generator: Generator) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    mirrored = _uniform(batch, 0, 1, generator) < 0.5  # (B, 1, 1, 1)
    return torch.where(mirrored, batch.flip(-1), batch)


def jitter(batch: Tensor, generator: Generator, strength: float = 0.05) -> Tensor:
    """Brightness, then contrast of each image changed by up to `strength`, as torchvision's ColorJitter does."""
    batch = (batch * _uniform(batch, 1 - strength, 1 + strength, generator)).clamp(0, 1)
    grey = batch if batch.shape[1] == 1 else V.rgb_to_grayscale(batch)  # (B, 1, H, W)
    mean = grey.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return torch.lerp(mean, batch, _uniform(batch, 1 - strength, 1 + strength, generator)).clamp(0, 1)


def shift(batch: Tensor, generator: Generator, share: float = 1 / 14) -> Tensor:
    """Each image moved by up to `share` of its size along both axes; the border repeats."""
    count, _, height, width = batch.shape
    reach = round(height * share)
    padded = F.pad(batch, (reach,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=generator).to(batch.device)  # (B, 1) each
    rows = down + torch.arange(height, device=batch.device)  # (B, H)
    columns = right + torch.arange(width, device=batch.device)  # (B, W)
    item = torch.arange(count, device=batch.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)


AUGMENTATIONS = {"none": (), "flip": (flip,), "jitter": (flip, jitter), "shift": (shift, flip, jitter)}


def _uniform(batch: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """One number an image, (B, 1, 1, 1)."""
    numbers = torch.rand(len(batch), 1, 1, 1, generator=generator) * (high - low) + low
    return numbers.to(batch.device, non_blocking=True)

"""Images in files: found, looked at, and decoded to uint8 RGB of one size."""

from __future__ import annotations

import copy
import hashlib
import os
import stat
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as V

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # by content; none that runs a program, as EPS does
SMALLEST_SIDE_SAMPLE = 64  # images whose headers are read to find out at which size a folder is kept
AHEAD = 256  # images that are being decoded before the first of them is asked for


class OutsideError(ValueError):
    """A path that leads out of the data set's root, be it by a link."""


class FileImages:
    """Images in files, decoded when asked for: the shorter side resized to `size`, the middle square cut out.

    Indexing with a list or tensor of N positions gives (N, 3, size, size) uint8. Grey, palette and CMYK images become
    RGB, 16 bits become 8, what is transparent becomes white; they are turned as EXIF says; of an animation the first
    frame counts. A JPEG of more than four times the wanted size is decoded at a half, a quarter or an eighth, not below
    twice the wanted size, and resized from there.

    Args:
        root: The folder that every path stays under.
        paths: Relative to the root, of files that Pillow reads.
        image_size: Pixels wanted. Smaller images are kept as they are, and enlarged on the device.
        megapixels: An image of more is refused: a small file may hold one that fills the memory.

    Raises:
        ValueError: When indexed: a path leads out of the root, or a file is missing or no readable image.
    """

    def __init__(self, root: Path, paths: Sequence[str], image_size: int, megapixels: float = 100.0) -> None:
        self.root, self.paths = root.resolve(), list(paths)
        self.image_size, self.pixels = image_size, megapixels * 1e6
        self.decoded: Tensor | None = None
        self._folders: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(os.cpu_count())  # decoding releases the interpreter's lock
        if Image.MAX_IMAGE_PIXELS is not None:  # Pillow has a limit of its own, for the whole process
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(self.pixels))
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # here it is an error

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        if self.decoded is not None:
            return self.decoded[torch.as_tensor(indices).to(self.decoded.device)]
        return torch.stack(list(self._threads.map(self._decode, torch.as_tensor(indices).tolist())))

    @cached_property
    def size(self) -> int:
        """Pixels of height and width, at most `image_size`; less where no image has as many."""
        step = max(1, len(self.paths) // SMALLEST_SIDE_SAMPLE)
        return min([self.image_size, max(map(self._shorter_side, self.paths[::step]), default=1)])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, size, size)."""
        return (len(self), 3, self.size, self.size)

    @cached_property
    def files(self) -> np.ndarray:
        """(N, 2) bytes and time of change in nanoseconds of each file; −1 where there is none, −2 out of the root."""
        return np.array([self._stat(path) for path in self.paths], dtype=np.int64).reshape(-1, 2)

    def blocks(self, length: int, start: int = 0) -> Iterator[Tensor]:
        """All from `start` on, decoded, in blocks (≤ length, 3, size, size) uint8; a few are decoded ahead."""
        ahead: deque[list[Future[Tensor]]] = deque()
        try:
            for first in range(start, len(self), length):
                rows = range(first, min(first + length, len(self)))
                ahead.append([self._threads.submit(self._decode, row) for row in rows])
                if len(ahead) * length > AHEAD:
                    yield torch.stack([image.result() for image in ahead.popleft()])
            while ahead:
                yield torch.stack([image.result() for image in ahead.popleft()])
        finally:
            for block in ahead:
                for image in block:
                    image.cancel()

    def with_decoded(self, decoded: Tensor) -> Self:
        """The same images, taken from (N, 3, size, size) uint8 on any device from now on."""
        images = copy.copy(self)
        images.decoded = decoded
        return images

    def examine(self, rows: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """Reads and decodes these files whole.

        Yields:
            What is wrong with each, or nothing; and a digest of its bytes.
        """
        return self._threads.map(self._examine, rows)

    def path(self, path: str) -> Path:
        """Where an image lies.

        Raises:
            OutsideError: Out of the root.
            ValueError: There is no such file.
        """
        folder, name = os.path.split(path)
        full = Path(self._folder(folder), name)
        if full.is_symlink():
            full = full.resolve()
            self._folder(str(full.parent))
        if not full.is_file():
            raise ValueError(f"{full}: no such image")
        return full

    def _folder(self, folder: str) -> str:
        """A folder of the root, with no link in it."""
        if folder not in self._folders:  # a thousand images share one
            found = (self.root / folder).resolve()
            if not found.is_relative_to(self.root):
                raise OutsideError(f"{self.root / folder}: leads out of {self.root}")
            self._folders[folder] = str(found)
        return self._folders[folder]

    def _stat(self, path: str) -> tuple[int, int]:
        folder, name = os.path.split(path)
        try:
            found = os.lstat(os.path.join(self._folder(folder), name))  # noqa: PTH118 - of many thousands in a second
            if stat.S_ISLNK(found.st_mode):
                found = self.path(path).stat()
        except OutsideError:
            return -2, -2
        except (OSError, ValueError):
            return -1, -1
        return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (-1, -1)

    def _shorter_side(self, path: str) -> int:
        full = self.path(path)
        with self._open(full, full) as image:  # the header alone
            return min(image.size)

    def _examine(self, row: int) -> tuple[str, bytes]:
        content = b""
        try:
            full = self.path(self.paths[row])
            content = full.read_bytes()
            with self._open(full, BytesIO(content)) as image:
                to_rgb(image)
            fault = ""
        except (OSError, ValueError) as error:
            fault = str(error)
        return fault, hashlib.blake2b(content, digest_size=16).digest()

    def _decode(self, index: int) -> Tensor:
        full, size = self.path(self.paths[index]), self.size
        with self._open(full, full) as image:
            image.draft(None, (2 * size, 2 * size))
            image = to_rgb(image)
            if image.size != (size, size):
                image = V.center_crop(V.resize(image, [size]), [size, size])
            return V.pil_to_tensor(image)  # (3, size, size)

    @contextmanager
    def _open(self, path: Path, source: Path | BinaryIO) -> Iterator[Image.Image]:
        try:
            with Image.open(source, formats=FORMATS) as image:
                width, height = image.size
                # A long thin image grows when its shorter side is resized.
                pixels = max(width * height, self.image_size**2 * max(width, height) / min(width, height))
                if pixels > self.pixels:
                    limit = f"max_megapixels is {self.pixels / 1e6:g}"
                    raise ValueError(f"{width} × {height} pixels take {pixels / 1e6:.1f} megapixels; {limit}")
                yield image
        except Exception as error:  # what a broken file makes Pillow raise is no closed list
            reason = "no image in a format that is read" if isinstance(error, Image.UnidentifiedImageError) else error
            raise ValueError(f"{path}: not a readable image ({' '.join(str(reason).split())})") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any kind as 8-bit RGB, turned as its EXIF says; what is transparent becomes white.

    Args:
        image: May be changed.

    Raises:
        ValueError: Its levels have no agreed black and white, as in floating point and 32 bits.

    Example:
        >>> to_rgb(Image.new("I;16", (1, 1), 0x8000)).getpixel((0, 0))
        (128, 128, 128)
    """
    image.load()  # a broken file is found here
    ImageOps.exif_transpose(image, in_place=True)  # without a copy, as below: most images need neither
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise ValueError(f"mode {image.mode} with levels above 16 bits is not supported")
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("mode F, floating point, is not supported")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")

"""Images: from files to uint8 RGB of one size, and from a uint8 batch on its device to what a model is given."""

import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Generator, Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # by content; none that runs a program, as EPS does
CROP_SHARE = 7 / 8  # of height and width, as in 224 of 256 pixels


class FileImages:
    """Images in files, decoded when asked for: the shorter side resized to `size`, then the middle square.

    Indexing with N positions gives (N, 3, size, size) uint8 RGB; a ValueError names a file that is missing, no
    readable image, or not below `root`. A JPEG of more than four times the size is decoded at a half, a quarter or an
    eighth, which changes a pixel by a level or so.
    """

    def __init__(self, root: Path, paths: Sequence[str], size: int) -> None:
        self.root, self.paths, self.size = Path(os.path.realpath(root)), list(paths), size
        self.threads = ThreadPoolExecutor(os.cpu_count())  # decoding releases the interpreter's lock

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return torch.stack(list(self.threads.map(self._decode, torch.as_tensor(rows).tolist())))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, size, size)."""
        return len(self), 3, self.size, self.size

    @cached_property
    def files(self) -> np.ndarray:
        """(N, 2) int64, bytes and time of change in ns of each file; −1 where there is none, −2 out of the root."""
        return np.array([self._stat(path) for path in self.paths], dtype=np.int64).reshape(-1, 2)

    def examine(self, row: int) -> tuple[str, bytes]:
        """Decodes a file: what is wrong with it ("" if nothing), and a digest of its bytes."""
        try:
            path = self._path(self.paths[row])
            content = Path(path).read_bytes()
            self._open(path, BytesIO(content))
        except (OSError, ValueError) as error:
            return str(error), b""
        return "", hashlib.blake2b(content, digest_size=16).digest()

    def _path(self, path: str) -> str:
        full = os.path.realpath(self.root / path)  # unlike Path.resolve, no RuntimeError for a link loop
        if not Path(full).is_relative_to(self.root):
            raise ValueError(f"{self.root / path}: leads out of {self.root}")
        return full

    def _stat(self, path: str) -> tuple[int, int]:
        try:
            full = self._path(path)
            found = os.stat(full)  # noqa: PTH116 - of many thousands in a second
        except OSError:
            return -1, -1
        except ValueError:
            return -2, -2
        return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (-1, -1)

    def _open(self, path: str, source: str | BytesIO, least: int | None = None) -> Image.Image:
        """The image as RGB; of a large JPEG a smaller version, both sides at least `least` pixels where it had them."""
        try:
            with Image.open(source, formats=FORMATS) as image:
                if least:
                    image.draft(None, (least, least))
                return to_rgb(image)
        except Exception as error:  # what a broken file makes Pillow raise is no closed list
            reason = "no image in a format that is read" if isinstance(error, Image.UnidentifiedImageError) else error
            raise ValueError(f"{path}: not a readable image ({' '.join(str(reason).split())})") from None

    def _decode(self, row: int) -> Tensor:
        path, size = self._path(self.paths[row]), self.size
        return middle_square(self._open(path, path, 2 * size), size)


def decoded_size(image_size: int, augment: str) -> int:
    """Pixels at which files are decoded: more than the model's where crops are cut out of them, as 256 for 224."""
    return round(image_size / CROP_SHARE) if augment in CROPS else image_size


def middle_square(image: Image.Image, size: int) -> Tensor:
    """Of an RGB image, its shorter side resized to `size`, the middle: (3, size, size) uint8."""
    # torchvision's Resize, then CenterCrop, at once: a long thin image would fill the memory in between.
    sides = [size * side // min(image.size) for side in image.size]  # of the resized image
    corner = [round((side - size) / 2) for side in sides]
    axes = list(zip(corner, image.size, sides, strict=True))
    box = [(offset + end) * own / side for end in (0, size) for offset, own, side in axes]
    return V.pil_to_tensor(image.resize((size, size), Image.Resampling.BILINEAR, box))


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any kind as 8-bit RGB, turned as its EXIF says; what is transparent becomes white.

    A ValueError refuses levels without an agreed black and white, as in floating point and 32 bits.

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


def prepare(images: Tensor, image_size: int, augment: str = "none", generator: Generator | None = None) -> Tensor:
    """Images (B, 1 or 3, H, W) uint8 as (B, 3, image_size, image_size) float32 from 0 to 1, on the same device.

    Each image has random numbers of its own, drawn on the CPU from the generator, so that a seed means the same on
    every device; `none` and `centre` need none. The model normalises, since that goes with the weights.

    Example:
        >>> prepare(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8), 4).unique()
        tensor([0.2000])
    """
    if augment in CHANGES:
        images = CHANGES[augment](images, generator)
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


def crop(images: Tensor, generator: Generator, size: list[int] | None = None) -> Tensor:
    """A part of each image, cut out anywhere: of 7/8 of its sides, or of this height and width."""
    sides, size = images.shape[-2:], size or kept_size(images)
    top, left = (
        torch.randint(0, side - kept + 1, (len(images),), generator=generator).tolist()
        for side, kept in zip(sides, size, strict=True)
    )
    return torch.stack([V.crop(image, *corner, *size) for image, *corner in zip(images, top, left, strict=True)])


def centre(images: Tensor, generator: Generator | None = None) -> Tensor:
    """The middle 7/8 of each image's sides: what a model trained on crops is tested on."""
    return V.center_crop(images, kept_size(images))


def resized_crop(images: Tensor, generator: Generator) -> Tensor:
    """Torchvision's `RandomResizedCrop` of each image, to 7/8 of its sides."""
    return transform_each(images, v2.RandomResizedCrop(kept_size(images), antialias=True), generator)


def kept_size(images: Tensor) -> list[int]:
    """Height and width of what a crop keeps."""
    return [round(side * CROP_SHARE) for side in images.shape[-2:]]


def transform_each(images: Tensor, transform: nn.Module, generator: Generator) -> Tensor:
    """A transform of torchvision, drawn anew for each image; what it draws follows from the generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.randint(2**62, (), generator=generator).item())
        return torch.stack([transform(image) for image in images])


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
    """Each image moved by up to `share` of its height along both axes; the border repeats."""
    height, width = batch.shape[-2:]
    return crop(F.pad(batch, (round(height * share),) * 4, mode="replicate"), generator, [height, width])


def trivial(images: Tensor, generator: Generator) -> Tensor:
    """A part of half of each image's area or more, mirrored or not, and one change of TrivialAugment (ICCV 2021)."""
    cut = v2.RandomResizedCrop(images.shape[-2:], scale=(0.5, 1.0), antialias=True)
    steps = v2.Compose([cut, v2.RandomHorizontalFlip(), v2.TrivialAugmentWide()])
    return transform_each(images, steps, generator)


# Of uint8 images, before anything else; "centre" is the evaluation's, and no choice of a config.
CROPS = {"crop": crop, "resized_crop": resized_crop, "centre": centre}
CHANGES = CROPS | {"trivial": trivial}
AUGMENTATIONS = {"none": (), "flip": (flip,), "jitter": (flip, jitter), "shift": (shift, flip, jitter)}
AUGMENTATIONS |= {"crop": (flip,), "resized_crop": (flip,), "centre": (), "trivial": ()}


def _uniform(batch: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """One number an image, (B, 1, 1, 1)."""
    numbers = torch.rand(len(batch), 1, 1, 1, generator=generator) * (high - low) + low
    return numbers.to(batch.device, non_blocking=True)

"""What is done to a batch of images, uint8 on its device, before a model sees it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as V

CROP_SHARE = 7 / 8  # of height and width, as in 224 of 256 pixels


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
    if augment in CROPS:
        images = CROPS[augment](images, generator)
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


def kept_size(image_size: int, augment: str) -> int:
    """Pixels at which images are kept: more than the model sees where crops are cut out of them.

    Example:
        >>> kept_size(224, "crop"), kept_size(224, "flip")
        (256, 224)
    """
    return round(image_size / CROP_SHARE) if augment in CROPS else image_size


def crop(images: Tensor, generator: Generator) -> Tensor:
    """A square of 7/8 of each image's height, cut out anywhere."""
    count, size = len(images), round(images.shape[-1] * CROP_SHARE)
    top, left = torch.randint(0, images.shape[-1] - size + 1, (2, count), generator=generator).tolist()
    return torch.stack(
        [images[row, :, y : y + size, x : x + size] for row, y, x in zip(range(count), top, left, strict=True)]
    )


def centre(images: Tensor, generator: Generator | None = None) -> Tensor:
    """The middle square of 7/8 of each image's height: what a model trained on `crop` is tested on.

    Example:
        >>> centre(torch.zeros(1, 3, 256, 256)).shape
        torch.Size([1, 3, 224, 224])
    """
    return V.center_crop(images, [round(images.shape[-1] * CROP_SHARE)] * 2)


def resized_crop(images: Tensor, generator: Generator) -> Tensor:
    """A part of 8 to 100 % of each image's area, 3:4 to 4:3, resized to 7/8 of its size.

    As torchvision's `RandomResizedCrop`: of ten parts drawn the first that fits counts, or else the whole.
    """
    count, _, height, width = images.shape
    area = height * width * torch.empty(count, 10).uniform_(0.08, 1, generator=generator)
    ratio = torch.empty(count, 10).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator).exp()
    heights, widths = (area / ratio).sqrt().round().int(), (area * ratio).sqrt().round().int()  # (B, 10)
    places = torch.rand(count, 2, generator=generator)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    chosen = fits.int().argmax(1, keepdim=True)  # the first, and also where there is none
    none = ~fits.any(1)
    h = heights.gather(1, chosen)[:, 0].masked_fill(none, height)  # (B,)
    w = widths.gather(1, chosen)[:, 0].masked_fill(none, width)
    top = (places[:, 0] * (height - h + 1)).int()
    left = (places[:, 1] * (width - w + 1)).int()
    boxes = torch.stack([top, left, h, w], 1).tolist()
    size = [round(side * CROP_SHARE) for side in (height, width)]
    cut = [V.resized_crop(image, *box, size, antialias=True) for image, box in zip(images, boxes, strict=True)]
    return torch.stack(cut)  # (B, C, 7/8 H, 7/8 W)


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


# Of uint8 images, before anything else; "centre" is of the test, and no choice of a config.
CROPS = {"crop": crop, "resized_crop": resized_crop, "centre": centre}
AUGMENTATIONS = {
    "none": (),
    "flip": (flip,),
    "jitter": (flip, jitter),
    "shift": (shift, flip, jitter),
    "crop": (flip,),
    "resized_crop": (flip,),
    "centre": (),
}


def _uniform(batch: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """One number an image, (B, 1, 1, 1)."""
    numbers = torch.rand(len(batch), 1, 1, 1, generator=generator) * (high - low) + low
    return numbers.to(batch.device, non_blocking=True)

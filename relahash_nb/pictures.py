"""Pictures: from the files of a folder to 8-bit RGB pixels of one size. Pillow and NumPy, no torch."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # by content; none that runs a program, as EPS does
CROPS = ("crop", "resized_crop")  # augmentations that cut a part out of each image
CROP_SHARE = 7 / 8  # of height and width that a crop keeps, as in 224 of 256 pixels


def raise_error(error: OSError) -> None:
    """Raises the error of a folder that cannot be read."""
    raise error


def find_pictures(folder: Path, on_error: Callable[[OSError], object] = raise_error) -> list[str]:
    """Lists the pictures in a folder and in all folders below it; a file's suffix tells that it is a picture.

    Files and folders whose names begin with a dot are left out. A link to a file counts as a file; a link to a folder
    below the given one is not followed. What is no regular file, such as a named pipe, is left out.

    Args:
        folder: The folder, or a link to it.
        on_error: Is called with the error of each folder that cannot be read; by default it raises the error.

    Returns:
        Paths relative to the folder, with slashes, sorted as texts.

    Raises:
        OSError: The folder is missing, or it or one below it cannot be read.
    """
    found = []
    for place, subfolders, files in os.walk(folder, onerror=on_error):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]  # os.walk enters what is left here
        for name in files:
            path = Path(place, name)
            has_suffix = name.lower().endswith(IMAGE_SUFFIXES)
            if has_suffix and not name.startswith(".") and path.is_file():
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


def open_picture(source: str | Path | bytes, smallest: int = 0) -> Image.Image:
    """Decodes a picture as 8-bit RGB; see `to_rgb`.

    Args:
        source: A path, or the content of a file.
        smallest: Pixels. A JPEG is decoded at a half, a quarter or an eighth of its size as long as both sides keep at
            least so many pixels, which takes less time and changes a pixel by a level or so. 0 decodes the whole.

    Raises:
        ValueError: One line with the path, if there is one, and the reason why the picture cannot be decoded.
    """
    name = "" if isinstance(source, bytes) else f"{source}: "
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if smallest:
                image.draft(None, (smallest, smallest))
            return to_rgb(image)
    except UnidentifiedImageError:
        raise ValueError(f"{name}not a readable image (no image in a format that is read)") from None
    except Exception as error:  # what a broken file makes Pillow raise is no closed list
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}not a readable image ({reason})") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to 8-bit RGB, turned as its EXIF says; what is transparent becomes white.

    Args:
        image: Of any size. It is loaded, and turned in place.

    Raises:
        ValueError: The mode has no agreed levels of black and white: floating point, or integers above 16 bits.
    """
    image.load()  # a broken file is found here
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise ValueError(f"mode {image.mode} with levels above 16 bits is not supported")
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("mode F, floating point, is not supported")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """Resizes an RGB image until its shorter side has `size` pixels, and cuts out the middle square.

    It does what torchvision's `Resize` and `CenterCrop` do, but at once: a long thin image, resized as a whole, would
    fill the memory. A pixel may differ from theirs by one level.

    Returns:
        (3, size, size) uint8; in memory it lies as (size, size, 3).
    """
    width, height = image.size
    resized_width = size * width // min(width, height)
    resized_height = size * height // min(width, height)
    left = round((resized_width - size) / 2)
    top = round((resized_height - size) / 2)
    box = (
        left * width / resized_width,
        top * height / resized_height,
        (left + size) * width / resized_width,
        (top + size) * height / resized_height,
    )
    square = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.array(square).transpose(2, 0, 1)


def read_square(source: str | Path | bytes, size: int) -> np.ndarray:
    """Decodes a picture and gives its middle square as (3, size, size) uint8 RGB.

    A JPEG of more than four times the size is decoded smaller; see `open_picture`, which also says what is raised.
    """
    return middle_square(open_picture(source, smallest=2 * size), size)


def decoded_size(image_size: int, augment: str) -> int:
    """Pixels at which files are decoded: more than the model's where crops are cut out of them, as 256 for 224."""
    if augment in CROPS:
        return round(image_size / CROP_SHARE)
    return image_size

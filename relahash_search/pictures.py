"""Picture files: the list of a folder's, and each as an image."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from relahash_nb.datasets.images import FORMATS, IMAGE_SUFFIXES

File = str | Path | bytes  # a path, or the content of a file
Preprocess = Callable[[Image.Image], Tensor]  # what a model makes of an image: (3, S, S) float32
COMMIT = 32  # pictures that are read, and then kept in an index, at a time


@dataclass
class Batch:
    """What `read_pictures` found in a few files.

    Attributes:
        digests: SHA-256 of each file that was read, in hexadecimal digits.
        paths: The files' paths.
        images: The images, as the model takes them.
        known: Number of files that were passed over, since their content is known.
        faults: For each file that cannot be read, its path and the reason, in one line.
    """

    digests: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    known: int = 0
    faults: list[str] = field(default_factory=list)


def list_pictures(folder: str | Path) -> list[Path]:
    """List every picture below a folder, as absolute paths in alphabetical order; the files' suffixes tell them.

    Raises:
        ValueError: There is no such folder, or no picture in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {str(folder)!r} given, and there is no such folder")
    files = Path(folder).absolute().rglob("*")
    pictures = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures:
        raise ValueError(f"folder: {str(folder)!r} given, and no {', '.join(IMAGE_SUFFIXES)} is in it")
    return pictures


def open_picture(file: File) -> Image.Image:
    """Open a picture file, without decoding it yet; Pillow raises its errors where it is missing or no picture."""
    source = BytesIO(file) if isinstance(file, bytes) else file
    return Image.open(source, formats=FORMATS)


def read_picture(picture: File | Image.Image, preprocess: Preprocess) -> Tensor:
    """Give one picture to a model's `preprocess`: (3, S, S) float32 from 0 to 1.

    Raises:
        ValueError: It cannot be read; the message is one line, and begins with the path where there is one.
    """
    if isinstance(picture, Image.Image):
        return preprocess(picture)
    try:
        with open_picture(picture) as image:
            return preprocess(image)
    except Exception as error:  # a broken file makes Pillow raise errors of many types
        prefix = "" if isinstance(picture, bytes) else f"{picture}: "
        raise ValueError(prefix + reason(error)) from None


def read_pictures(
    paths: Sequence[Path], preprocess: Preprocess, is_known: Callable[[str], bool] | None = None
) -> Iterator[Batch]:
    """Read picture files, `COMMIT` at a time, each on a thread of its own.

    Args:
        paths: The files.
        preprocess: Of the model.
        is_known: Whether the content with a digest need not be decoded again. It is called from several threads.
    """

    def read(path: Path) -> tuple[str, Tensor] | None:
        """The digest and the image of a file, or None where its content is known."""
        str(path).encode()  # a name that is not UTF-8 is a ValueError: no table can hold it
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if is_known is not None and is_known(digest):
            return None
        return digest, read_picture(content, preprocess)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), COMMIT):
            chosen = paths[start : start + COMMIT]
            futures = [pool.submit(read, path) for path in chosen]
            batch = Batch()
            for path, future in zip(chosen, futures, strict=True):
                try:
                    found = future.result()
                except (OSError, ValueError) as error:
                    printable = os.fsencode(path).decode(errors="replace")
                    batch.faults.append(f"{printable}: {reason(error)}")
                    continue
                if found is None:
                    batch.known += 1
                    continue
                digest, image = found
                batch.digests.append(digest)
                batch.paths.append(str(path))
                batch.images.append(image)
            yield batch


def reason(error: BaseException) -> str:
    """An error's message in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not a readable picture"
    message = getattr(error, "strerror", None) or str(error)
    return " ".join(message.split())

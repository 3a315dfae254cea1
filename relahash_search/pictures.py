"""Picture files: the list of a folder's, and each as an image."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from relahash_nb.models import HashModel
from relahash_nb.pictures import SUFFIXES, open_picture, scan

File = str | Path | bytes  # a path, or the content of a file
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
    """List the pictures below a folder, as absolute paths in alphabetical order; see `scan`.

    Raises:
        ValueError: There is no such folder, or no picture in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {str(folder)!r} given, and there is no such folder")
    pictures = [Path(folder).absolute() / path for path in scan(folder).files]
    if not pictures:
        raise ValueError(f"folder: {str(folder)!r} given, and no {', '.join(SUFFIXES)} is in it")
    return pictures


def read_picture(picture: File | Image.Image, model: HashModel) -> Tensor:
    """Prepare one picture for a model: (3, S, S) float32 from 0 to 1.

    Raises:
        ValueError: It cannot be read; the message is one line, and begins with the path where there is one.
    """
    if isinstance(picture, Image.Image):
        return model.preprocess(picture)
    return model.preprocess(open_picture(picture))


def read_pictures(
    paths: Sequence[Path], model: HashModel, is_known: Callable[[str], bool] | None = None
) -> Iterator[Batch]:
    """Read picture files, `COMMIT` at a time, each on a thread of its own.

    Args:
        paths: The files.
        model: Whose images they become.
        is_known: Whether the content with a digest need not be decoded again. It is called from several threads.
    """

    def read(path: Path) -> tuple[str, Tensor] | None:
        """The digest and the image of a file, or None where its content is known."""
        str(path).encode()  # a name that is not UTF-8 is a ValueError: no table can hold it
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if is_known is not None and is_known(digest):
            return None
        return digest, read_picture(content, model)

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
    message = getattr(error, "strerror", None) or str(error)
    return " ".join(message.split())

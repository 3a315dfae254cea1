"""From picture files to what an index keeps of them: what the file is, its digest, and its packed code."""

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from relahash_nb.pictures import LARGEST_FILE
from relahash_nb.threads import map_in_threads
from relahash_search.model import Model
from relahash_search.tables import File, Folder, Reading, Tables, batched

COMMIT = 32  # pictures that are kept in an index at a time


class Fault(NamedTuple):
    """A picture that was skipped, and why, in one line."""

    path: str
    reason: str


class Fitted(NamedTuple):
    """What is known of a folder's pictures since a baseline was fitted to them.

    Attributes:
        codes: Packed codes by path in the folder.
        began: Nanoseconds: a file that was written later may be another picture.
    """

    codes: Mapping[str, bytes]
    began: int


class Batch(NamedTuple):
    """What became of a few pictures: the digest of each that is in the index now, and those that were skipped."""

    digests: dict[str, str]
    faults: list[Fault]


def describe_file(path: Path) -> File:
    """What tells that a file is as it was.

    Raises:
        OSError: It is gone, or the folder may not be read.
        ValueError: It is no regular file, such as a named pipe; or too large for a picture; or no table can hold its
            name.
    """
    check_name(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("no regular file")
    if found.st_size > LARGEST_FILE:  # one with holes may claim to have more than a disk holds
        raise ValueError(f"{found.st_size:,} bytes; allowed: {LARGEST_FILE:,}")
    return File(found.st_size, found.st_mtime_ns)


def check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("its name is not UTF-8") from None


def digest_of(picture: Path | bytes) -> str:
    """SHA-256 of a file or of its content, in hexadecimal digits."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    with picture.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Reader:
    """Reads pictures of a folder into an index.

    Args:
        tables: Of the index.
        folder: Whose pictures they are.
        model: Gives the model; it is called for the first picture whose content is not known.
        fitted: Codes that need not be computed again.
    """

    def __init__(
        self, tables: Tables, folder: Folder, model: Callable[[], Model], fitted: Fitted | None = None
    ) -> None:
        self.tables = tables
        self.folder = folder
        self.model = model
        self.fitted = fitted

    def read(self, paths: Sequence[str]) -> Iterator[Batch]:
        """Read the pictures at these paths, each on a thread, and keep `COMMIT` of them at a time.

        What cannot be read is taken out of the index where it was there: its old code is of another picture.
        """
        for outcomes in batched(map_in_threads(self._read, paths), COMMIT):
            readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
            faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
            self.tables.put(self.folder, readings)
            self.tables.remove(self.folder, [fault.path for fault in faults])
            yield Batch({reading.path: reading.digest for reading in readings}, faults)

    def _read(self, path: str) -> Reading | Fault:
        place = Path(self.folder.place, path)
        try:
            before = describe_file(place)
            digest = digest_of(place)
            code = self.tables.known_code(digest) or self._fitted_code(path, before)
            if code is None:
                code = self.model().hash(place).tobytes()
            if describe_file(place) != before:
                raise ValueError("it was written to while it was read")
        except (OSError, ValueError) as error:
            return Fault(path, reason(error, place))
        return Reading(path, digest, before, code)

    def _fitted_code(self, path: str, file: File) -> bytes | None:
        if self.fitted is None or file.changed >= self.fitted.began:
            return None
        return self.fitted.codes.get(path)


def reason(error: BaseException, path: str | Path) -> str:
    """An error's message in one line, without the path, which stands before it."""
    message = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
    return " ".join(message.split()) or type(error).__name__

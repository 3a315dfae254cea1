"""The tables of an index, and every statement on them, in the SQL that SQLite and PostgreSQL share.

| table | a row is |
|---|---|
| `relahash_model` | the model: `model.onnx`, its card, and `state`, another text after each change of the codes |
| `relahash_folders` | a folder of pictures: its absolute place when it was last indexed |
| `relahash_codes` | a code that at least one picture has; no code stands twice |
| `relahash_items` | a picture: its folder, its path in it, digest, size and time of change of the file, its code |

What a transaction changes is there whole or not at all, and writers follow one another.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

VERSION = 3  # of the tables
AT_ONCE = 1_000  # values of one statement


class File(NamedTuple):
    """What tells that a file is as it was: its size in bytes, and its time of change in nanoseconds."""

    size: int
    changed: int


class Item(NamedTuple):
    """A picture in an index."""

    place: str  # of its folder
    path: str  # in its folder, with slashes
    digest: str  # SHA-256 of the file, in hexadecimal digits
    file: File

    @property
    def full_path(self) -> str:
        """Where the file was when it was indexed."""
        return f"{self.place}/{self.path}"


class Known(NamedTuple):
    """What an index has of a file."""

    digest: str
    file: File


class Reading(NamedTuple):
    """A picture that was read: its path in its folder, what its file is, and its packed code."""

    path: str
    digest: str
    file: File
    code: bytes


@dataclass(frozen=True)
class Folder:
    """A folder of pictures in an index."""

    number: int
    place: str


class Tables(ABC):
    """The tables in one place; `sqlite` and `postgres` say how they are reached.

    Attributes:
        card: What names the model; None until there is one.
    """

    kinds: tuple[str, ...]  # of a search in them; the first is exact
    card: dict[str, Any] | None = None

    # How a database is reached.

    @abstractmethod
    def execute(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement whose values stand as `?`; give all its rows."""

    @abstractmethod
    def execute_many(self, text: str, rows: Sequence[Sequence[Any]]) -> int:
        """Execute a statement for each row of values; give the number of rows that it changed."""

    @abstractmethod
    def begin(self) -> Any:
        """A `with` block that is done whole or not at all, and that no other writer's begins in."""

    @abstractmethod
    def to_column(self, code: bytes) -> Any:
        """A packed code as the database keeps it."""

    @abstractmethod
    def from_column(self, value: Any) -> bytes:
        """A packed code as the database gives it."""

    @abstractmethod
    def nearest_codes(self, code: bytes, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Distances (at most `count`,), ascending, and numbers of the codes that are nearest to a packed code."""

    @abstractmethod
    def codes_at(self, code: bytes, distance: int) -> list[int]:
        """Numbers of all codes that are at this distance from a packed code."""

    @abstractmethod
    def prepare(self, kind: str) -> None:
        """Make ready what a search of this kind needs beside the tables."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    # The model

    @property
    def code_bytes(self) -> int:
        """Bytes of a packed code."""
        assert self.card is not None
        return ceil(self.card["bits"] / 8)

    def read_card(self) -> None:
        """Read the card, where there is a model."""
        rows = self.execute("SELECT card FROM relahash_model")
        if rows:
            self.card = json.loads(rows[0][0])

    def put_model(self, content: bytes, card: dict[str, Any]) -> None:
        """Keep the model; where another writer was faster, its model stays."""
        with self.begin():
            text = "INSERT INTO relahash_model (id, version, state, card, content) VALUES (1, ?, ?, ?, ?)"
            values = (VERSION, uuid4().hex, json.dumps(card, indent=1), content)
            self.execute(f"{text} ON CONFLICT DO NOTHING", values)
        self.read_card()

    def model_content(self) -> bytes:
        """The bytes of `model.onnx`."""
        return bytes(self.execute("SELECT content FROM relahash_model")[0][0])

    def state(self) -> str:
        """A text that another one replaces whenever a code comes or goes."""
        return self.execute("SELECT state FROM relahash_model")[0][0]

    def _change_state(self) -> None:
        self.execute("UPDATE relahash_model SET state = ?", (uuid4().hex,))

    # Folders

    def folders(self) -> list[Folder]:
        """All folders, by place."""
        return [Folder(*row) for row in self.execute("SELECT id, place FROM relahash_folders ORDER BY place")]

    # The next three are called within `begin`.

    def add_folder(self, place: str) -> Folder:
        """Add a folder."""
        self.execute("INSERT INTO relahash_folders (place) VALUES (?)", (place,))
        return Folder(*self.execute("SELECT id, place FROM relahash_folders WHERE place = ?", (place,))[0])

    def move_folder(self, folder: Folder, place: str) -> Folder:
        """Say that a folder lies somewhere else now."""
        self.execute("UPDATE relahash_folders SET place = ? WHERE id = ?", (place, folder.number))
        return Folder(folder.number, place)

    def absorb(self, inner: Folder, outer: Folder) -> None:
        """Take the pictures of a folder that lies in another one as pictures of that one."""
        prefix = f"{Path(inner.place).relative_to(outer.place).as_posix()}/"
        columns = "path, digest, size, changed, code"
        text = f"SELECT {columns} FROM relahash_items WHERE folder = ?"
        rows = [(outer.number, f"{prefix}{path}", *rest) for path, *rest in self.execute(text, (inner.number,))]
        insert = f"INSERT INTO relahash_items (folder, {columns}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self.execute_many(insert, rows)
        self._remove_folder(inner)

    def remove_folder(self, folder: Folder) -> int:
        """Take a folder and its pictures out; give the number of pictures. No file is touched."""
        with self.begin():
            count = self.count(folder)
            self._remove_folder(folder)
        self.remove_unused_codes()
        return count

    def _remove_folder(self, folder: Folder) -> None:
        self.execute("DELETE FROM relahash_items WHERE folder = ?", (folder.number,))
        self.execute("DELETE FROM relahash_folders WHERE id = ?", (folder.number,))

    # Pictures

    def count(self, folder: Folder | None = None) -> int:
        """The number of pictures, in all or in a folder."""
        if folder is None:
            return self.execute("SELECT count(*) FROM relahash_items")[0][0]
        return self.execute("SELECT count(*) FROM relahash_items WHERE folder = ?", (folder.number,))[0][0]

    def count_codes(self) -> int:
        """The number of distinct codes."""
        return self.execute("SELECT count(*) FROM relahash_codes")[0][0]

    def known_files(self, folder: Folder) -> dict[str, Known]:
        """The files of a folder as they were when they were indexed, by path."""
        text = "SELECT path, digest, size, changed FROM relahash_items WHERE folder = ?"
        rows = self.execute(text, (folder.number,))
        return {path: Known(digest, File(size, changed)) for path, digest, size, changed in rows}

    def items(self) -> list[tuple[Item, int]]:
        """All pictures, each with the number of its code, in order of their full paths."""
        return self._select_items("TRUE", ())

    def items_with_codes(self, numbers: Sequence[int], limit: int) -> list[tuple[Item, int]]:
        """The first pictures, in order of their full paths, that have one of these codes."""
        found = []
        for part in batched(numbers, AT_ONCE):
            found += self._select_items(f"items.code IN ({marks(part)})", part, limit)
        return sorted(found, key=lambda pair: pair[0].full_path)[:limit]

    def items_with_digests(self, digests: Sequence[str]) -> list[tuple[Item, int]]:
        """The pictures whose files have one of these contents."""
        found = []
        for part in batched(digests, AT_ONCE):
            found += self._select_items(f"items.digest IN ({marks(part)})", part)
        return found

    def _select_items(self, condition: str, values: Sequence[Any], limit: int | None = None) -> list[tuple[Item, int]]:
        """Pictures that meet a condition, each with the number of its code, in order of their full paths."""
        order = f"ORDER BY {self.by_path}"
        most = "" if limit is None else f"LIMIT {int(limit)}"
        # The inner part needs no more than what is in the indexes: a code may have a million pictures.
        text = f"""
            SELECT folders.place, items.path, items.digest, items.size, items.changed, items.code
            FROM (
                SELECT items.folder, items.path
                FROM relahash_items AS items JOIN relahash_folders AS folders ON folders.id = items.folder
                WHERE {condition} {order} {most}
            ) AS chosen
            JOIN relahash_items AS items ON items.folder = chosen.folder AND items.path = chosen.path
            JOIN relahash_folders AS folders ON folders.id = items.folder
            {order}
        """
        return [
            (Item(place, path, digest, File(size, changed)), code)
            for place, path, digest, size, changed, code in self.execute(text, values)
        ]

    by_path = "folders.place || '/' || items.path"  # in the order of Unicode's numbers, as Python sorts

    def known_code(self, digest: str) -> bytes | None:
        """The packed code of a file's content; None where no picture has this content."""
        text = """
            SELECT codes.code FROM relahash_codes AS codes JOIN relahash_items AS items ON items.code = codes.id
            WHERE items.digest = ? LIMIT 1
        """
        rows = self.execute(text, (digest,))
        return self.from_column(rows[0][0]) if rows else None

    def put(self, folder: Folder, readings: Sequence[Reading]) -> None:
        """Keep pictures that were read, all or none; what was known by these paths is replaced."""
        if not readings:
            return
        text = """
            INSERT INTO relahash_items (folder, path, digest, size, changed, code) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (folder, path) DO UPDATE
            SET digest = excluded.digest, size = excluded.size, changed = excluded.changed, code = excluded.code
        """
        with self.begin():
            numbers = self._put_codes({reading.code for reading in readings})
            rows = [(folder.number, path, digest, *file, numbers[code]) for path, digest, file, code in readings]
            self.execute_many(text, rows)

    def _put_codes(self, codes: Iterable[bytes]) -> dict[bytes, int]:
        """Keep distinct codes, and give the number of each."""
        values = [self.to_column(code) for code in sorted(codes)]
        cast = self.code_mark
        added = self.execute_many(
            f"INSERT INTO relahash_codes (code) VALUES ({cast}) ON CONFLICT DO NOTHING", [(value,) for value in values]
        )
        if added:
            self._change_state()
        found = []
        for part in batched(values, AT_ONCE):
            text = f"SELECT code, id FROM relahash_codes WHERE code IN ({', '.join([cast] * len(part))})"
            found += self.execute(text, part)
        return {self.from_column(value): number for value, number in found}

    code_mark = "?"  # where a code stands in a statement

    def remove(self, folder: Folder, paths: Sequence[str]) -> None:
        """Take pictures out of the index, all or none."""
        with self.begin():
            text = "DELETE FROM relahash_items WHERE folder = ? AND path = ?"
            self.execute_many(text, [(folder.number, path) for path in paths])

    def remove_unused_codes(self) -> None:
        """Take out the codes that no picture has any more."""
        unused = "NOT EXISTS (SELECT 1 FROM relahash_items AS items WHERE items.code = relahash_codes.id)"
        if not self.execute(f"SELECT 1 FROM relahash_codes WHERE {unused} LIMIT 1"):
            return
        with self.begin():
            self.execute(f"DELETE FROM relahash_codes WHERE {unused}")
            self._change_state()

    # Codes

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (D,) int64, ascending, and packed codes (D, ⌈K/8⌉) uint8 of all distinct codes."""
        rows = self.execute("SELECT id, code FROM relahash_codes ORDER BY id")
        numbers = np.array([number for number, _ in rows], np.int64)
        return numbers, self.as_array([self.from_column(code) for _, code in rows])

    def as_array(self, codes: Sequence[bytes]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8."""
        return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, self.code_bytes)


def marks(values: Sequence[Any]) -> str:
    """A mark for each of the values of a statement."""
    return ", ".join("?" * len(values))


def batched(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The values in order, `size` at a time."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part

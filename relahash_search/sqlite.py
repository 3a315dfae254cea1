"""The tables of an index in a folder: a file of SQLite, and beside it FAISS's files, which are made from it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from relahash_search.neighbours import KINDS, Neighbours
from relahash_search.tables import Tables

NAME = "index.sqlite"
OLD_NAME = "items.sqlite"  # of versions before 0.3
WAIT = 600  # seconds that a writer waits for others
CREATE = """
CREATE TABLE IF NOT EXISTS relahash_model (
    id INTEGER PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL, card TEXT NOT NULL, content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS relahash_folders (id INTEGER PRIMARY KEY, place TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS relahash_codes (id INTEGER PRIMARY KEY AUTOINCREMENT, code BLOB UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS relahash_items (
    folder INTEGER NOT NULL REFERENCES relahash_folders (id),
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    code INTEGER NOT NULL REFERENCES relahash_codes (id),
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS relahash_items_digest ON relahash_items (digest);
CREATE INDEX IF NOT EXISTS relahash_items_code ON relahash_items (code);
"""
# What is to be done, by the beginnings of SQLite's names of its errors.
REMEDIES = {
    "SQLITE_FULL": "the disk is full: nothing is lost, and the same command goes on once there is room",
    "SQLITE_NOTADB": "the file is damaged: index the folders again into a new index",
    "SQLITE_CORRUPT": "the file is damaged: index the folders again into a new index",
    "SQLITE_READONLY": "it cannot be written to: allow it, or index into another folder",
    "SQLITE_CANTOPEN": "the file cannot be opened: look at the rights of the folder",
    "SQLITE_BUSY": "another process has been writing for ten minutes: try again",
    "SQLITE_IOERR": "the drive cannot be read, is full, or has no file locks: copy the index to a local one",
    "SQLITE_CONSTRAINT": "another process has changed its folders: the same command again goes on",
    "SQLITE_PROTOCOL": "the drive has no file locks: copy the index to a local one",
}


class FolderTables(Tables):
    """An index in a folder. `index.sqlite` alone is what counts.

    Args:
        folder: The folder.
        create: Make the folder and the tables where there are none.

    Raises:
        ValueError: There is no index, it is of an older version, or it cannot be read.
    """

    kinds = KINDS

    def __init__(self, folder: str | Path, create: bool = False) -> None:
        self.folder = Path(folder).expanduser()
        self._neighbours: dict[str, Neighbours] = {}
        self._check_files(create)
        if create:
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._explained():
            # Several threads ask whether a picture is known.
            path = self.folder / NAME
            self.connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self.connection.execute("PRAGMA foreign_keys = ON")
            if create and not self._has_tables():
                self._create()
            if not self._has_tables():
                raise ValueError(f"index: {str(self.folder)!r} given, and nothing is in it")
        self.read_card()

    def _check_files(self, create: bool) -> None:
        path = self.folder / NAME
        if (self.folder / OLD_NAME).exists() and not path.exists():
            remedy = "index the folders again into a new folder; this one stays as it is"
            raise ValueError(f"index: {str(self.folder)!r} was made by an older version: {remedy}")
        if path.exists() and not path.is_file():
            raise ValueError(f"index: {str(path)!r} is no regular file")
        if not create and not path.exists():
            raise ValueError(f"index: {str(self.folder)!r} given, and there is none; relahash index FOLDER begins one")

    def _has_tables(self) -> bool:
        text = "SELECT 1 FROM sqlite_master WHERE name = 'relahash_items_code'"  # which is made last
        return self.connection.execute(text).fetchone() is not None

    def _create(self) -> None:
        with self.begin():
            for text in CREATE.strip().split(";\n"):
                self.connection.execute(text)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into a ValueError of one line that says what is to be done."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            remedies = [text for start, text in REMEDIES.items() if name.startswith(start)]
            remedy = remedies[0] if remedies else " ".join(str(error).split())
            raise ValueError(f"index: {str(self.folder)!r}: {remedy}") from None

    def execute(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As `Tables` says."""
        with self._explained():
            return self.connection.execute(text, values).fetchall()

    def execute_many(self, text: str, rows: Sequence[Sequence[Any]]) -> int:
        """As `Tables` says."""
        with self._explained():
            return self.connection.executemany(text, rows).rowcount

    @contextmanager
    def begin(self) -> Iterator[None]:
        """As `Tables` says."""
        with self._explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk may have ended it
                    self.connection.execute("ROLLBACK")
                raise

    def to_column(self, code: bytes) -> bytes:
        """As `Tables` says."""
        return code

    def from_column(self, value: bytes) -> bytes:
        """As `Tables` says."""
        return value

    def nearest_codes(self, code: bytes, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """As `Tables` says."""
        return self._faiss(kind).nearest(self.as_array([code])[0], count)

    def codes_at(self, code: bytes, distance: int) -> list[int]:
        """As `Tables` says."""
        return self._faiss("flat").at(self.as_array([code])[0], distance)

    def prepare(self, kind: str) -> None:
        """As `Tables` says."""
        self._faiss(kind)

    def _faiss(self, kind: str) -> Neighbours:
        """FAISS's index of the codes as they are now."""
        state = self.state()
        neighbours = self._neighbours.get(kind)
        if neighbours is None or neighbours.state != state:
            neighbours = Neighbours.open(self.folder, kind, state, self.codes, 8 * self.code_bytes)
            self._neighbours[kind] = neighbours
        return neighbours

    def close(self) -> None:
        """As `Tables` says."""
        self.connection.close()


def is_index(folder: str) -> bool:
    """Whether a folder holds an index, be it of an older version."""
    place = Path(folder).expanduser()
    return (place / NAME).exists() or (place / OLD_NAME).exists()

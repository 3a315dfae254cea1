"""An index of codes and the model that made them: a folder (SQLite and FAISS), or PostgreSQL with pgvector."""

from __future__ import annotations

import importlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from relahash_nb.files import write
from relahash_nb.search.hasher import Hasher, Picture, reason


def need(module: str) -> Any:
    """A module of the extra [search]."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"index: {module} is missing; pip install 'relahash-nb[search]'") from None


class Store:
    """The tables of an index, in SQL that SQLite and PostgreSQL share. What is given is a parameter, never text of it.

    A killed writer leaves what it committed and nothing half; two writers wait for each other.
    """

    def __init__(self, location: str, name: str, hasher: Hasher | None) -> None:
        self.card, self.width = (hasher.card, -(-hasher.card["bits"] // 8)) if hasher else ({}, 1)  # bytes of a code
        self.connect(location, name, create=hasher is not None)
        if hasher:
            with self.transaction():
                self.create(name)
            row = json.dumps(hasher.card, indent=1), hasher.content
            self.write("INSERT INTO {model} VALUES (1, ?, ?) ON CONFLICT DO NOTHING", [row])
        try:
            self.card = json.loads(self.read("SELECT card FROM {model}")[0][0])
            self.width = -(-self.card["bits"] // 8)
        except Exception as error:  # each database has its own for a table that is not there
            raise ValueError(f"index: there is none ({reason(error)})") from None

    def read(self, text: str, *values: Any) -> list[tuple]:
        """Rows that a query gives."""
        return self.connection.execute(self.sql(text), values).fetchall()

    def write(self, text: str, rows: Sequence[tuple]) -> int:
        """Writes rows, all or none; gives the number of those that were not there."""
        with self.transaction():
            cursor = self.connection.cursor()
            cursor.executemany(self.sql(text), rows)
        return cursor.rowcount

    def append(self, pictures: Sequence[Picture], codes: np.ndarray) -> int:
        """Adds those that are not there; in order, so that two writers never wait for each other in a ring."""
        rows = sorted((p.digest, p.path, self.to_value(c.tobytes())) for p, c in zip(pictures, codes, strict=True))
        text = "INSERT INTO {items} (digest, path, code) VALUES (?, ?, {code}) ON CONFLICT (digest) DO NOTHING"
        return self.write(text, rows) if rows else 0

    def find(self, digest: str) -> str | None:
        """The path of the picture with a content, or None."""
        rows = self.read("SELECT path FROM {items} WHERE digest = ?", digest)
        return rows[0][0] if rows else None

    def codes(self, rows: Sequence[tuple]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) of rows that hold just these."""
        return np.frombuffer(b"".join(self.to_bytes(code) for (code,) in rows), np.uint8).reshape(-1, self.width)


class FolderStore(Store):
    """A folder with an SQLite file; FAISS searches the codes in memory, where row i is the item with the id i + 1."""

    def connect(self, location: str, name: str, create: bool) -> None:
        """Opens the file of items."""
        self.folder, self._faiss, self._index = Path(location), need("faiss"), None
        path = self.folder / "items.sqlite"
        if create:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise ValueError(f"index: {location!r} given, and there is none; a run or a backbone begins one")
        self.connection = sqlite3.connect(path, timeout=600, isolation_level="IMMEDIATE", check_same_thread=False)
        self.transaction, self.to_value, self.to_bytes = lambda: self.connection, bytes, bytes
        self.sql = lambda text: text.format(items="items", model="model", code="?")

    def create(self, name: str) -> None:
        """Makes the tables, and a copy of the card for people to read."""
        columns = "id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, path TEXT NOT NULL, code BLOB NOT NULL"
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS items ({columns})")
        self.connection.execute("CREATE TABLE IF NOT EXISTS model (id INTEGER PRIMARY KEY, card TEXT, content BLOB)")
        if not (path := self.folder / "model.json").exists():
            write(path, lambda temporary: temporary.write_text(json.dumps(self.card, indent=1) + "\n"))

    def nearest(self, code: np.ndarray, k: int) -> list[tuple[int, str]]:
        """Distances and paths of the k nearest and of all that tie with the last."""
        self._index = index = self._index or self._faiss.IndexBinaryFlat(8 * self.width)
        new = self.read("SELECT code FROM items WHERE id > ? ORDER BY id", index.ntotal)
        if new:  # since the last search, or all
            index.add(self.codes(new))
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # they share queries, not codes: for one, all but one are only waited for
        last = index.search(code[None], min(k, index.ntotal))[0][0, -1]
        _, distances, rows = index.range_search(code[None], int(last) + 1)
        self._faiss.omp_set_num_threads(threads)
        found = {int(row) + 1: int(distance) for row, distance in zip(rows, distances, strict=True)}
        text = "SELECT id, path FROM items WHERE id IN (SELECT value FROM json_each(?))"
        return [(found[row], path) for row, path in self.read(text, json.dumps(list(found)))]


class PostgresStore(Store):
    """Two tables in PostgreSQL with pgvector, NAME_items and NAME_model."""

    def connect(self, location: str, name: str, create: bool) -> None:
        """Connects; the address, which may hold a password, is not kept and in no message."""
        psycopg = need("psycopg")
        try:
            self.connection = psycopg.connect(location, autocommit=True)
        except psycopg.Error as error:  # what is said of an address that is none quotes it
            plain = type(error) is psycopg.OperationalError
            fault = reason(error) if plain else "no address; allowed: postgresql://USER@HOST/DATABASE"
            raise ValueError(f"index: PostgreSQL: {fault}") from None
        names = {part: psycopg.sql.Identifier(f"{name}_{part}").as_string() for part in ("items", "model")}
        self.transaction, self.to_value = self.connection.transaction, lambda code: f"x{code.hex()}"
        self.to_bytes, bits = lambda text: int(text, 2).to_bytes(self.width), lambda: f"bit({8 * self.width})"
        self.sql = lambda text: text.replace("?", "%s").format(**names, bits=bits(), code=f"%s::{bits()}")

    def create(self, name: str) -> None:
        """Makes the tables."""
        self.connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))  # another may be making them
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        columns = "(digest text PRIMARY KEY, path text NOT NULL, code {bits} NOT NULL)"
        self.connection.execute(self.sql(f"CREATE TABLE IF NOT EXISTS {{items}} {columns}"))
        columns = "(id int PRIMARY KEY, card text, content bytea)"
        self.connection.execute(self.sql(f"CREATE TABLE IF NOT EXISTS {{model}} {columns}"))

    def nearest(self, code: np.ndarray, k: int) -> list[tuple[int, str]]:
        """Distances and paths of the k nearest; ties at the last distance are cut by path."""
        text = (
            'SELECT (code <~> {code})::int AS distance, path FROM {items} ORDER BY distance, path COLLATE "C" LIMIT ?'
        )
        return self.read(text, self.to_value(code.tobytes()), k)


class HashIndex:
    """Codes of pictures and the model that made them, in a folder or in PostgreSQL with pgvector.

    Args:
        location: A folder, or `postgresql://USER@HOST/DATABASE`.
        hasher: Begins an index; with one that is there, it has to be the model that made its codes.
        name: Of the tables in PostgreSQL.

    Attributes:
        card: What names the model.
        counts: Of the last `add`: `added`, `known` (the content was there), `skipped` (could not be read).

    Raises:
        ValueError: There is no index, it cannot be reached, or it holds codes of another model; which, in one line.
    """

    def __init__(self, location: str | Path, hasher: Hasher | None = None, name: str = "relahash") -> None:
        store = PostgresStore if str(location).startswith(("postgresql:", "postgres:")) else FolderStore
        self._store, self._hasher, self.counts = store(str(location), name, hasher), hasher, {}
        self.card = self._store.card
        if hasher and hasher.card["model"] != self.card["model"]:
            raise ValueError(f"index: it holds codes of {describe(self.card)}; given: {describe(hasher.card)}")

    @classmethod
    def build(cls, hasher: Hasher, folder: str | Path, location: str | Path, **options: str) -> HashIndex:
        """Begins an index, or goes on with one, and adds a folder's pictures; options as for the class."""
        index = cls(location, hasher, **options)
        index.add(folder)
        return index

    def __len__(self) -> int:
        return self._store.read("SELECT count(*) FROM {items}")[0][0]

    @property
    def hasher(self) -> Hasher:
        """The model, from the index; ValueError: its backbone's weights are not those of then."""
        if self._hasher is None:
            card = {name: self.card[name] for name in ("run", "loss")}
            self._hasher = Hasher.from_content(self._store.read("SELECT content FROM {model}")[0][0], **card)
            if self._hasher.card["model"] != self.card["model"]:
                raise ValueError(f"weights: {self.card['weights']} are not those that the index was made with")
        return self._hasher

    def add(self, folder: str | Path) -> dict[str, int]:
        """Adds a folder's pictures whose content is not there, and gives `counts`; after an interruption it goes on."""
        counts = self.counts = dict(added=0, known=0, skipped=0)
        for pictures, codes in self.hasher.hash_folder(folder, self._store.find):
            counts["added"] += self._store.append([p for p in pictures if p.image is not None], codes)
            counts["skipped"] += sum(bool(picture.fault) for picture in pictures)
            counts["known"] += len(pictures)
        counts["known"] -= counts["added"] + counts["skipped"]
        return counts

    def search(self, images: Sequence[Any], k: int = 20) -> tuple[list[np.ndarray], list[list[str]]]:
        """Hamming distances (≤ k,) int and paths of the k nearest of each image (path or PIL image), ties by path."""
        codes = self.hasher(images)
        some = self._store.read("SELECT 1 FROM {items} LIMIT 1")
        found = [sorted(self._store.nearest(code, k))[:k] if some else [] for code in codes]
        return [np.array([d for d, _ in one], int) for one in found], [[path for _, path in one] for one in found]

    def duplicates(self, radius: int = 4) -> list[list[str]]:
        """Groups of paths, each linked to another of its group by a distance of at most `radius` bits."""
        rows = sorted(self._store.read("SELECT path, code FROM {items}"))
        codes, of_code = np.unique(self._store.codes([row[1:] for row in rows]), axis=0, return_inverse=True)
        count, flat = len(codes), need("faiss").IndexBinaryFlat(8 * codes.shape[1])
        flat.add(codes)
        limits, _, near = flat.range_search(codes, radius + 1)
        links = csr_array((np.ones(len(near), bool), near, limits.astype(np.int64)), (count, count))
        group = connected_components(links, directed=False)[1]
        found: dict[int, list[str]] = {}
        for (path, _), number in zip(rows, group[of_code.ravel()], strict=True):
            found.setdefault(int(number), []).append(path)
        return sorted(paths for paths in found.values() if len(paths) > 1)


def describe(card: dict[str, Any]) -> str:
    """A model in words."""
    name = card["run"] or f"{card['loss']} of {card['backbone']} ({Path(card['weights']).name}), {card['bits']} bits"
    return f"{name}, model {card['model']}"

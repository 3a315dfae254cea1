"""Where an index lies: a folder (SQLite and FAISS), or PostgreSQL with pgvector. Both stores have the same methods.

Two tables hold an index. `relahash_items` has a row for each picture: the SHA-256 of its file, its path and its packed
code. `relahash_model` has one row: the card that names the model, and the content of the model's file.
"""

import importlib
import json
import sqlite3
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from relahash_nb.files import write
from relahash_search.hasher import Hasher
from relahash_search.pictures import reason

PROBES = 32  # lists of ivf that a search looks into
CANDIDATES = 128  # items that a search with hnsw keeps in sight, if k is not larger


class FolderStore:
    """An index in a folder: its tables in `items.sqlite`, and the codes once more in a FAISS file for each kind.

    Row i of a FAISS file is the item with the id i + 1. SQLite's file alone is what counts: the others are made from
    it again where they are missing.

    Args:
        folder: The folder; it is made where there is a hasher.
        hasher: Begins the index where there is none. Without it, the index has to exist.

    Attributes:
        card: What names the model of the index.

    Raises:
        ValueError: FAISS is not installed, or there is no index in the folder.
    """

    kinds = ("flat", "ivf", "hnsw")

    def __init__(self, folder: str | Path, hasher: Hasher | None = None) -> None:
        self._faiss = import_extra("faiss")
        self._indexes: dict[str, Any] = {}  # FAISS's, by kind
        self.folder = Path(folder)
        path = self.folder / "items.sqlite"
        if hasher is None and not path.is_file():
            advice = "relahash index begins one, with --run or --backbone"
            raise ValueError(f"index: {str(folder)!r} given, and there is none; {advice}")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # Several threads ask whether a picture is known, and another process may write for minutes.
            self.connection = sqlite3.connect(path, timeout=600, isolation_level="IMMEDIATE", check_same_thread=False)
            if hasher is not None:
                self._create_tables(hasher)
            model = self.connection.execute("SELECT card FROM relahash_model").fetchone()
        except sqlite3.Error as error:
            raise ValueError(f"index: {str(folder)!r} given, and it cannot be read ({reason(error)})") from None
        if model is None:
            raise ValueError(f"index: {str(folder)!r} given, and no model is in it")
        self.card: dict[str, Any] = json.loads(model[0])
        self._code_bytes = ceil(self.card["bits"] / 8)
        if hasher is not None:
            self._write_card()

    def __len__(self) -> int:
        return self.connection.execute("SELECT count(*) FROM relahash_items").fetchone()[0]

    def model_content(self) -> bytes:
        """Content of the model's file."""
        return self.connection.execute("SELECT content FROM relahash_model").fetchone()[0]

    def has(self, digest: str) -> bool:
        """Whether a picture's content is in the index."""
        found = self.connection.execute("SELECT 1 FROM relahash_items WHERE digest = ?", (digest,))
        return found.fetchone() is not None

    def append(self, digests: Sequence[str], paths: Sequence[str], codes: np.ndarray) -> int:
        """Add pictures and their packed codes (N, ⌈K/8⌉) uint8, all or none; return how many were not there."""
        if not digests:
            return 0
        values = [code.tobytes() for code in codes]
        rows = sorted(zip(digests, paths, values, strict=True))
        text = "INSERT INTO relahash_items (digest, path, code) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"
        with self.connection:
            return self.connection.executemany(text, rows).rowcount

    def codes(self) -> tuple[list[str], np.ndarray]:
        """Paths in alphabetical order, and packed codes (N, ⌈K/8⌉) uint8."""
        rows = sorted(self.connection.execute("SELECT path, code FROM relahash_items"))
        return [path for path, _ in rows], self._as_array([code for _, code in rows])

    def sample(self, count: int) -> np.ndarray:
        """Packed codes (at most `count`, ⌈K/8⌉) uint8 of pictures in order of their digests, so of no order."""
        rows = self.connection.execute("SELECT code FROM relahash_items ORDER BY digest LIMIT ?", (count,))
        return self._as_array([code for (code,) in rows])

    def nearest(self, code: np.ndarray, k: int, kind: str, query_path: str = "") -> list[tuple[int, str]]:
        """Find the pictures whose codes are nearest to one.

        Args:
            code: The packed code (⌈K/8⌉,) uint8.
            k: Number of pictures.
            kind: One of `kinds`.
            query_path: Not needed here, since no tie is cut off.

        Returns:
            Hamming distances and paths in no order; with `flat` more than k, where others tie with the last.
        """
        index = self.prepare(kind)
        if index is None:
            return []
        if kind == "ivf":
            index.nprobe = PROBES
        if kind == "hnsw":
            index.hnsw.efSearch = max(k, CANDIDATES)
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # FAISS shares queries among threads; of one query, all but one would wait
        query = code[None]  # (1, ⌈K/8⌉)
        distances, rows = (found[0] for found in index.search(query, min(k, index.ntotal)))
        if kind == "flat":
            _, distances, rows = index.range_search(query, int(distances[-1]) + 1)
        self._faiss.omp_set_num_threads(threads)
        distance_of = {int(row) + 1: int(distance) for row, distance in zip(rows, distances, strict=True)}
        text = "SELECT id, path FROM relahash_items WHERE id IN (SELECT value FROM json_each(?))"
        found = self.connection.execute(text, (json.dumps(list(distance_of)),))
        return [(distance_of[number], path) for number, path in found]

    def prepare(self, kind: str) -> Any:
        """Load FAISS's index of all codes, mapped into memory; what was added since is put into its file first.

        Returns:
            The index; None where there are no codes.
        """
        index = self._indexes.get(kind)
        path = self._faiss_path(kind)
        if index is None and path.exists():
            index = self._faiss.read_index_binary(str(path), self._faiss.IO_FLAG_MMAP_IFC)
        count = self.connection.execute("SELECT max(id) FROM relahash_items").fetchone()[0] or 0
        indexed = 0 if index is None else index.ntotal
        if count == 0:
            index = None
        elif indexed != count:
            index = self._write_faiss(kind, indexed, count)
        self._indexes[kind] = index
        return index

    def _write_faiss(self, kind: str, indexed: int, count: int) -> Any:
        """Extend FAISS's index of so many codes to all of them, or begin another where that is of no use."""
        is_of_other_codes = indexed > count
        has_too_few_lists = kind == "ivf" and indexed < count / 2
        if indexed == 0 or is_of_other_codes or has_too_few_lists:
            index = self._new_faiss(kind, count)
        else:
            index = self._faiss.read_index_binary(str(self._faiss_path(kind)))  # an index that is mapped cannot grow
        rows = self.connection.execute("SELECT code FROM relahash_items WHERE id > ? ORDER BY id", (index.ntotal,))
        codes = self._as_array([code for (code,) in rows])
        if not index.is_trained:
            index.train(codes)
        index.add(codes)
        content = self._faiss.serialize_index_binary(index).data
        write(self._faiss_path(kind), lambda temporary: temporary.write_bytes(content))
        return index

    def _new_faiss(self, kind: str, count: int) -> Any:
        """Make an empty index of FAISS for so many codes."""
        lists = max(1, min(int(count**0.5), count // 39))  # FAISS warns where a list has fewer than 39 codes
        descriptions = {"flat": "BFlat", "ivf": f"BIVF{lists}", "hnsw": "BHNSW16"}
        return self._faiss.index_binary_factory(8 * self._code_bytes, descriptions[kind])

    def _faiss_path(self, kind: str) -> Path:
        return self.folder / f"{kind}.faiss"

    def _create_tables(self, hasher: Hasher) -> None:
        """Make the tables where they are missing, and put the model in where there is none."""
        columns = "id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, path TEXT NOT NULL, code BLOB NOT NULL"
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS relahash_items ({columns})")
        self.connection.execute("CREATE TABLE IF NOT EXISTS relahash_model (id INTEGER PRIMARY KEY, card, content)")
        model = (json.dumps(hasher.card, indent=1), hasher.content)
        with self.connection:
            self.connection.execute("INSERT INTO relahash_model VALUES (1, ?, ?) ON CONFLICT DO NOTHING", model)

    def _write_card(self) -> None:
        """Write the card once more, for people to read."""
        path = self.folder / "model.json"
        text = json.dumps(self.card, indent=1) + "\n"
        if not path.exists():
            write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def _as_array(self, codes: Sequence[bytes]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8."""
        return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, self._code_bytes)


class PostgresStore:
    """An index in PostgreSQL with pgvector: two tables in the first schema of the address's search_path.

    The address may hold a password, so it is not kept, and stands in no message.

    Args:
        address: `postgresql://USER@HOST/DATABASE`.
        hasher: Begins the index where there is none. Without it, the index has to exist.

    Attributes:
        card: What names the model of the index.

    Raises:
        ValueError: psycopg is not installed, PostgreSQL cannot be reached, or there is no index.
    """

    kinds = ("flat", "hnsw")
    # Of two processes that make the same table at once, one would fail: the second waits for the end of the first.
    LOCK = "SELECT pg_advisory_xact_lock(hashtext('relahash'))"

    def __init__(self, address: str, hasher: Hasher | None = None) -> None:
        psycopg = import_extra("psycopg")
        try:
            self.connection = psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError as error:
            raise ValueError(f"index: PostgreSQL: {reason(error)}") from None
        except psycopg.Error:  # its message quotes what is no address
            allowed = "postgresql://USER@HOST/DATABASE"
            raise ValueError(f"index: PostgreSQL: the address given is none; allowed: {allowed}") from None
        try:
            if hasher is not None:
                self._create_tables(hasher)
            model = self.connection.execute("SELECT card FROM relahash_model").fetchone()
        except psycopg.errors.UndefinedTable:
            raise ValueError("index: PostgreSQL: there is none in this schema") from None
        except psycopg.Error as error:
            raise ValueError(f"index: PostgreSQL: {reason(error)}") from None
        if model is None:
            raise ValueError("index: PostgreSQL: no model is in it")
        self.card: dict[str, Any] = json.loads(model[0])
        self._code_bytes = ceil(self.card["bits"] / 8)

    def __len__(self) -> int:
        return self.connection.execute("SELECT count(*) FROM relahash_items").fetchone()[0]

    def model_content(self) -> bytes:
        """Content of the model's file."""
        return self.connection.execute("SELECT content FROM relahash_model").fetchone()[0]

    def has(self, digest: str) -> bool:
        """Whether a picture's content is in the index."""
        found = self.connection.execute("SELECT 1 FROM relahash_items WHERE digest = %s", (digest,))
        return found.fetchone() is not None

    def append(self, digests: Sequence[str], paths: Sequence[str], codes: np.ndarray) -> int:
        """Add pictures and their packed codes (N, ⌈K/8⌉) uint8, all or none; return how many were not there."""
        if not digests:
            return 0
        bits = [self._to_bits(code) for code in codes]
        rows = sorted(zip(digests, paths, bits, strict=True))  # so that no two writers wait for each other
        text = f"""
            INSERT INTO relahash_items (digest, path, code) VALUES (%s, %s, %s::bit({8 * self._code_bytes}))
            ON CONFLICT (digest) DO NOTHING
        """
        with self.connection.transaction():
            cursor = self.connection.cursor()
            cursor.executemany(text, rows)
        return cursor.rowcount

    def codes(self) -> tuple[list[str], np.ndarray]:
        """Paths in alphabetical order, and packed codes (N, ⌈K/8⌉) uint8."""
        rows = sorted(self.connection.execute("SELECT path, code FROM relahash_items"))
        return [path for path, _ in rows], self._as_array([code for _, code in rows])

    def sample(self, count: int) -> np.ndarray:
        """Packed codes (at most `count`, ⌈K/8⌉) uint8 of pictures in order of their digests, so of no order."""
        rows = self.connection.execute("SELECT code FROM relahash_items ORDER BY digest LIMIT %s", (count,))
        return self._as_array([code for (code,) in rows])

    def nearest(self, code: np.ndarray, k: int, kind: str, query_path: str = "") -> list[tuple[int, str]]:
        """Find the k pictures whose codes are nearest to one.

        Args:
            code: The packed code (⌈K/8⌉,) uint8.
            k: Number of pictures.
            kind: One of `kinds`.
            query_path: A picture that is not cut off where several tie with the last.

        Returns:
            Hamming distances and paths. Of ties with the last, `flat` takes the first by path, and `hnsw` any.
        """
        bits = self._to_bits(code)
        distance = f"code <~> %s::bit({8 * self._code_bytes})"
        select = f"SELECT ({distance})::int AS distance, path FROM relahash_items"
        if kind == "flat":
            text = f'{select} ORDER BY distance, path <> %s, path COLLATE "C" LIMIT %s'
            return self.connection.execute(text, (bits, query_path, k)).fetchall()
        candidates = min(1000, max(k, CANDIDATES))  # 1000 is pgvector's limit
        self.connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", (str(candidates),))
        text = f"{select} ORDER BY {distance} LIMIT %s"
        return self.connection.execute(text, (bits, bits, k)).fetchall()

    def prepare(self, kind: str) -> None:
        """Make the approximate index where there is none; PostgreSQL keeps it up to date."""
        if kind == "hnsw":
            text = "CREATE INDEX IF NOT EXISTS relahash_hnsw ON relahash_items USING hnsw (code bit_hamming_ops)"
            with self.connection.transaction():
                self.connection.execute(self.LOCK)
                self.connection.execute("SET LOCAL maintenance_work_mem = '1GB'")  # in less, a million codes take hours
                self.connection.execute(text)

    def _create_tables(self, hasher: Hasher) -> None:
        """Make the tables where they are missing, and put the model in where there is none."""
        bits = 8 * ceil(hasher.card["bits"] / 8)
        columns = f"digest text PRIMARY KEY, path text NOT NULL, code bit({bits}) NOT NULL"
        model = (json.dumps(hasher.card, indent=1), hasher.content)
        with self.connection.transaction():
            self.connection.execute(self.LOCK)
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS relahash_items ({columns})")
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS relahash_model (id int PRIMARY KEY, card text, content bytea)"
            )
            self.connection.execute("INSERT INTO relahash_model VALUES (1, %s, %s) ON CONFLICT DO NOTHING", model)

    def _to_bits(self, code: np.ndarray) -> str:
        """A packed code as PostgreSQL reads it: in hexadecimal digits after an x."""
        return f"x{code.tobytes().hex()}"

    def _as_array(self, codes: Sequence[str]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8 of texts of K zeros and ones."""
        content = b"".join(int(code, 2).to_bytes(self._code_bytes) for code in codes)
        return np.frombuffer(content, np.uint8).reshape(-1, self._code_bytes)


def import_extra(name: str) -> Any:
    """Import a package of the extra `search`; a ValueError says that it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"index: {name} is missing; pip install 'relahash-nb[search]'") from None

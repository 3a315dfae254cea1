"""An index of codes and the model that made them: a folder (SQLite and FAISS), or PostgreSQL with pgvector."""

import json
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from pydantic import SecretStr
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from relahash_nb.cluster import on_cluster
from relahash_nb.files import watch, write
from relahash_nb.search.hasher import BASELINE, COMMIT, Hasher, list_pictures, load_hasher, reason

Place = str | Path
PROBES, CANDIDATES = 32, 128  # lists of ivf that a search looks into; items that it keeps in sight in hnsw, or k
PART = 512  # pictures, at most, that a worker of a cluster takes at a time, for which it loads the model
LOCK = "SELECT pg_advisory_xact_lock(hashtext('relahash'))"  # in PostgreSQL, where another may be making the same


class Store:
    """The tables of an index, in SQL that SQLite and PostgreSQL share; what is given is a parameter, never its text."""

    def __init__(self, location: str, hasher: Hasher | None) -> None:
        self.card, self.width = (hasher.card, -(-hasher.card["bits"] // 8)) if hasher else ({}, 1)  # bytes of a code
        try:
            self.connect(location, create=hasher is not None)
        except ImportError as error:
            raise ValueError(f"index: {error.name} is missing; pip install 'relahash-nb[search]'") from None
        if hasher:
            row = json.dumps(hasher.card, indent=1), hasher.content
            self.write("INSERT INTO relahash_model VALUES (1, ?, ?) ON CONFLICT DO NOTHING", [row])
        try:
            self.card = json.loads(self.read("SELECT card FROM relahash_model")[0][0])
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

    def append(self, pictures: Sequence[tuple[str, str]], codes: np.ndarray) -> int:
        """Adds digests, paths and codes that are not there; sorted, so that two writers never wait in a ring."""
        rows = sorted((*picture, self.to_value(code.tobytes())) for picture, code in zip(pictures, codes, strict=True))
        text = "INSERT INTO relahash_items (digest, path, code) VALUES (?, ?, {code}) ON CONFLICT (digest) DO NOTHING"
        return self.write(text, rows) if rows else 0

    def codes(self, rows: Sequence[tuple]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) of rows that end in these."""
        return np.frombuffer(b"".join(self.to_bytes(row[-1]) for row in rows), np.uint8).reshape(-1, self.width)


class FolderStore(Store):
    """A folder: items in an SQLite file, codes once more in FAISS's, where row i is the item with the id i + 1."""

    kinds = ("flat", "ivf", "hnsw")

    def connect(self, location: str, create: bool) -> None:
        """Opens the file of items, or makes it."""
        import faiss

        self.folder, self._faiss, self._indexes = Path(location), faiss, {}
        path = self.folder / "items.sqlite"
        if not create and not path.is_file():
            raise ValueError(
                f"index: {location!r} given, and there is none; relahash index begins one, with --run or --backbone"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, timeout=600, isolation_level="IMMEDIATE", check_same_thread=False)
        self.transaction, self.to_value, self.to_bytes = lambda: self.connection, bytes, bytes
        self.sql = lambda text: text.replace("{code}", "?")
        if create:
            columns = "id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, path TEXT NOT NULL, code BLOB NOT NULL"
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS relahash_items ({columns})")
            self.connection.execute("CREATE TABLE IF NOT EXISTS relahash_model (id INTEGER PRIMARY KEY, card, content)")
            if not (path := self.folder / "model.json").exists():  # a copy for people to read
                write(path, lambda temporary: temporary.write_text(json.dumps(self.card, indent=1) + "\n"))

    def nearest(self, code: np.ndarray, k: int, kind: str, own: str = "") -> list[tuple[int, str]]:
        """Distances and paths of the k nearest; with flat, also of all that tie with the last, `own` among them."""
        if (index := self.prepare(kind)) is None:
            return []
        if kind == "ivf":
            index.nprobe = PROBES
        if kind == "hnsw":
            index.hnsw.efSearch = max(k, CANDIDATES)
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # they share queries, not codes: for one, all but one are only waited for
        distances, rows = (found[0] for found in index.search(code[None], min(k, index.ntotal)))
        if kind == "flat":
            _, distances, rows = index.range_search(code[None], int(distances[-1]) + 1)
        self._faiss.omp_set_num_threads(threads)
        found = {int(row) + 1: int(distance) for row, distance in zip(rows, distances, strict=True)}
        text = "SELECT id, path FROM relahash_items WHERE id IN (SELECT value FROM json_each(?))"
        return [(found[row], path) for row, path in self.read(text, json.dumps(list(found)))]

    def prepare(self, kind: str) -> Any:
        """FAISS's index of all codes: its file, mapped into memory, once what was added since is in it; or None."""
        faiss, path, index = self._faiss, self.folder / f"{kind}.faiss", self._indexes.get(kind)
        if index is None and path.exists():
            index = faiss.read_index_binary(str(path), faiss.IO_FLAG_MMAP_IFC)
        count, there = self.read("SELECT max(id) FROM relahash_items")[0][0] or 0, index.ntotal if index else 0
        if there != count:
            if not 0 < there < count or (kind == "ivf" and there < count / 2):  # other codes; lists for far fewer
                names = dict(flat="BFlat", ivf=f"BIVF{max(1, min(int(count**0.5), count // 39))}", hnsw="BHNSW16")
                index = faiss.index_binary_factory(8 * self.width, names[kind])
            else:
                index = faiss.read_index_binary(str(path))  # one that is mapped cannot grow
            new = self.codes(self.read("SELECT code FROM relahash_items WHERE id > ? ORDER BY id", index.ntotal))
            if not index.is_trained:
                index.train(new)
            index.add(new)
            write(path, lambda temporary: temporary.write_bytes(faiss.serialize_index_binary(index).data))
        self._indexes[kind] = index
        return index


class PostgresStore(Store):
    """Two tables in PostgreSQL with pgvector, in the first schema of the address's search_path."""

    kinds = ("flat", "hnsw")

    def connect(self, location: str, create: bool) -> None:
        """Connects, and makes the tables; the address, which may hold a password, is not kept and in no message."""
        import psycopg

        try:
            self.connection = psycopg.connect(location, autocommit=True)
        except psycopg.Error as error:  # what is said of an address that is none quotes it
            plain = type(error) is psycopg.OperationalError
            fault = reason(error) if plain else "no address; allowed: postgresql://USER@HOST/DATABASE"
            raise ValueError(f"index: PostgreSQL: {fault}") from None
        self.transaction, self.to_value = self.connection.transaction, lambda code: f"x{code.hex()}"
        self.to_bytes = lambda text: int(text, 2).to_bytes(self.width)
        self.sql = lambda text: text.replace("?", "%s").replace("{code}", f"%s::bit({8 * self.width})")
        columns = f"digest text PRIMARY KEY, path text NOT NULL, code bit({8 * self.width}) NOT NULL"
        texts = (
            LOCK,
            "CREATE EXTENSION IF NOT EXISTS vector",
            f"CREATE TABLE IF NOT EXISTS relahash_items ({columns})",
            "CREATE TABLE IF NOT EXISTS relahash_model (id int PRIMARY KEY, card text, content bytea)",
        )
        if create:
            self.connection.execute("; ".join(texts))  # in one transaction

    def nearest(self, code: np.ndarray, k: int, kind: str, own: str = "") -> list[tuple[int, str]]:
        """Distances and paths of the k nearest; ties are cut by path, but not the path `own`; with hnsw by chance."""
        code = self.to_value(code.tobytes())
        text = "SELECT (code <~> {code})::int AS distance, path FROM relahash_items ORDER BY "
        if kind == "flat":
            return self.read(text + 'distance, path <> ?, path COLLATE "C" LIMIT ?', code, own, k)
        self.read("SELECT set_config('hnsw.ef_search', ?, false)", str(min(1000, max(k, CANDIDATES))))
        return self.read(text + "code <~> {code} LIMIT ?", code, code, k)

    def prepare(self, kind: str) -> None:
        """Makes the approximate index where there is none; PostgreSQL keeps it up to date."""
        if kind == "hnsw":
            text = "CREATE INDEX IF NOT EXISTS relahash_hnsw ON relahash_items USING hnsw (code bit_hamming_ops)"
            with self.transaction():  # in less memory, a million take hours
                self.connection.execute(f"{LOCK}; SET LOCAL maintenance_work_mem = '1GB'; {text}")


class HashIndex:
    """Codes of pictures and the model that made them, in a folder or in PostgreSQL with pgvector.

    A ValueError says in one line that there is no index, that it cannot be reached, or that its codes are of another
    model, and of which.

    Args:
        location: A folder, or `postgresql://USER@HOST/DATABASE`.
        hasher: Begins an index; with one that is there, it has to be the model that made its codes.
        kind: `flat` is exact; `hnsw`, and in a folder `ivf`, are faster and miss some: see `recall`.
        device: `auto`, `cpu`, `cuda`: of the model that the index holds.

    Attributes:
        card: What names the model.
        counts: Of the last `add`: `added`, `known` (the content was there), `skipped` (could not be read).
    """

    def __init__(self, location: Place, hasher: Hasher | None = None, kind: str = "flat", device: str = "auto") -> None:
        store = PostgresStore if str(location).startswith(("postgresql:", "postgres:")) else FolderStore
        if kind not in store.kinds:
            raise ValueError(f"kind: {kind!r} given; allowed there: {', '.join(store.kinds)}")
        self._store, self.kind, self._hasher, self.counts = store(str(location), hasher), kind, hasher, {}
        self._place = SecretStr(str(location if store is PostgresStore else Path(location).absolute()))
        self.card, self._device = self._store.card, hasher.device if hasher else device
        if hasher and hasher.card["model"] != self.card["model"]:
            raise ValueError(f"index: it holds codes of {describe(self.card)}; given: {describe(hasher.card)}")
        self._store.prepare(kind)

    @classmethod
    def build(cls, hasher: Hasher, folder: Place, location: Place, kind: str = "flat") -> "HashIndex":
        """Begins an index, or goes on with one, and adds a folder's pictures; arguments as for the class."""
        index = cls(location, hasher, kind)
        index.add(folder)
        return index

    def __len__(self) -> int:
        return self._store.read("SELECT count(*) FROM relahash_items")[0][0]

    @property
    def hasher(self) -> Hasher:
        """The model, from the index; ValueError: its backbone's weights are not those of then."""
        if self._hasher is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.safetensors")
                path.write_bytes(self._store.read("SELECT content FROM relahash_model")[0][0])
                self._hasher = Hasher(path, None, self._device, run=self.card["run"], loss=self.card["loss"])
            if self._hasher.card["model"] != self.card["model"]:
                raise ValueError(f"weights: {self.card['weights']} are not those that the index was made with")
        return self._hasher

    def add(self, folder: Place, workers: int | None = None, scheduler: str | None = None) -> Counter[str]:
        """Adds a folder's pictures that are not there, here or by Dask's workers, as a sweep; gives `counts`."""
        paths, self.counts = list_pictures(folder), Counter(added=0, known=0, skipped=0)
        batches = self._share(paths, workers, scheduler) if workers or scheduler else self._add(paths)
        for added, known, faults in watch(batches, -(-len(paths) // COMMIT), "pictures"):
            sys.stderr.writelines(f"skipped: {fault}\n" for fault in faults)
            self.counts.update(added=added, known=known, skipped=len(faults))
        self._store.prepare(self.kind)
        return self.counts

    def _add(self, paths: Sequence[Path]) -> Iterator[tuple[int, int, list[str]]]:
        """Adds pictures; of each batch how many were added and known, and what is wrong with others."""
        find = lambda digest: self._store.read("SELECT 1 FROM relahash_items WHERE digest = ?", digest)
        for pictures, codes, known, faults in self.hasher.hash_files(paths, find):
            added = self._store.append(pictures, codes)
            yield added, known + len(pictures) - added, faults

    def _share(self, paths: Sequence[Path], *cluster: Any) -> Iterator[tuple[int, int, list[str]]]:
        """The same by the workers of a cluster, part by part; no other part in a shared scheduler has its key."""
        parts = [(self._place, self._device, paths[start : start + PART]) for start in range(0, len(paths), PART)]
        for future in on_cluster(_add_part, {uuid4().hex: part for part in parts}, *cluster):
            if error := future.exception():
                raise ChildProcessError(f"workers: {reason(error)}")
            yield from future.result()

    def search(self, images: Sequence[Any], k: int = 20) -> tuple[list[np.ndarray], list[list[str]]]:
        """Hamming distances (≤ k,) int and paths of the k nearest to each image, path or PIL image; itself first."""
        found = []
        for image, code in zip(images, self.hasher(images), strict=True):
            own = str(Path(image).absolute()) if isinstance(image, Place) else ""
            found.append(sorted((d, path != own, path) for d, path in self._store.nearest(code, k, self.kind, own))[:k])
        return [np.array([far for far, *_ in one], int) for one in found], [[path for *_, path in one] for one in found]

    def recall(self, k: int = 20, queries: int = 100) -> float:
        """Of so many of its own codes, the share of the answers that are as near as the exact ones."""
        shares, rows = [], self._store.read("SELECT code FROM relahash_items ORDER BY digest LIMIT ?", queries)
        for code in self._store.codes(rows):
            exact, found = (sorted(self._store.nearest(code, k, kind))[:k] for kind in ("flat", self.kind))
            shares.append(sum(distance <= exact[-1][0] for distance, _ in found) / len(exact))
        return float(np.mean(shares))

    def codes(self) -> tuple[list[str], np.ndarray]:
        """Paths, sorted, and packed codes (N, ⌈K/8⌉) uint8."""
        rows = sorted(self._store.read("SELECT path, code FROM relahash_items"))
        return [path for path, _ in rows], self._store.codes(rows)

    def duplicates(self, radius: int = 4) -> list[list[str]]:
        """Groups of paths, each linked to another of its group by a distance of at most `radius` bits."""
        import faiss

        paths, codes = self.codes()
        codes, of_code = np.unique(codes, axis=0, return_inverse=True)
        flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
        flat.add(codes)
        limits, _, near = flat.range_search(codes, radius + 1)
        links = csr_array((np.ones(len(near), bool), near, limits.astype(np.int64)), (len(codes), len(codes)))
        found: dict[int, list[str]] = {}
        for path, group in zip(paths, connected_components(links, directed=False)[1][of_code.ravel()], strict=True):
            found.setdefault(int(group), []).append(path)
        return sorted(paths for paths in found.values() if len(paths) > 1)


def _add_part(place: SecretStr, device: str, paths: Sequence[Path]) -> list[tuple[int, int, list[str]]]:
    """On a worker: `HashIndex._add`, by a connection of its own."""
    return list(HashIndex(place.get_secret_value(), device=device)._add(paths))


def open_index(location: Place, run: Place | None, folder: Place, kind: str = "flat", **settings: Any) -> HashIndex:
    """The index at a place, or a new one of a run or a baseline; arguments as for `HashIndex` and `load_hasher`."""
    card: dict[str, Any] = {}
    with suppress(ValueError):
        card = HashIndex(location).card
    asked = {"run": None, **BASELINE, **settings}
    fitted = card and all(asked.get(name, known) == known for name, known in card.items())  # once is enough
    begins = run or ("backbone" in settings and not fitted)
    hasher = load_hasher(run, folder=folder, **settings) if begins else None
    return HashIndex(location, hasher, kind, settings.get("device", "auto"))


def describe(card: dict[str, Any]) -> str:
    """A model in words."""
    name = card["run"] or f"{card['loss']} of {card['backbone']} ({Path(card['weights']).name}), {card['bits']} bits"
    return f"{name}, model {card['model']}"

"""Search your own pictures: hash a folder with a finished run's model, keep the codes, find the nearest.

hasher = load_hasher("results/runs/RUN_ID")
index = HashIndex.build(hasher, "photos", "photos.index")
distances, paths = index.search(["holiday.jpg"], k=20)
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from tyro.conf import Positional, arg

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets.images import FORMATS, IMAGE_SUFFIXES
from relahash_nb.features import for_inference
from relahash_nb.files import write
from relahash_nb.metrics import pack
from relahash_nb.models import HashModel, build_model, digest_of
from relahash_nb.training import find_device

BATCH = 16  # images of every forward pass: another shape may round a number near 0 to the other sign
COMMIT = 32  # pictures, after which those that were hashed are kept for good
FIT = 20_000  # pictures, at most, that a baseline is fitted to
MEGAPIXELS = 100  # a small file may hold a picture that fills the memory
Kind = Literal["flat", "ivf", "hnsw"]
Baseline = Literal["itq", "pcah", "lsh"]


class Hasher:
    """A model that hashes pictures; `load_hasher` makes it.

    Attributes:
        card: What names the model: run or baseline, bits, backbone, digests of weights and centroids, preprocessing;
            `model` is a digest of all its tensors and its preprocessing.
        content: The model's file, which an index keeps.
    """

    def __init__(self, model: HashModel, content: bytes, device: str = "auto", **card: Any) -> None:
        facts = {name: model.facts[name] for name in ("image_size", "kept_size", "mean", "std")}
        card |= {name: model.facts[name] for name in ("bits", "backbone", "weights")}
        card |= {"weights_digest": model.weights_digest, "preprocessing": facts}
        self.card = card | {"model": digest_of(model.state_dict(), json.dumps(facts))}
        self.content, self.preprocess = content, lambda picture: read_picture(picture, model)
        self._network = for_inference(model.to(find_device(device)), model.facts["image_size"], "fp32")

    def __call__(self, pictures: Sequence[Any]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8 of paths, PIL images or tensors; a ValueError names one that cannot be read."""
        codes, device = [np.empty((0, -(-self.card["bits"] // 8)), np.uint8)], self._network.mean.device
        for start in range(0, len(pictures), BATCH):
            images = torch.stack([self.preprocess(picture) for picture in pictures[start : start + BATCH]])
            padded = torch.cat([images, images.new_zeros(BATCH - len(images), *images.shape[1:])])
            with torch.inference_mode():
                outputs = self._network(padded.to(device).contiguous(memory_format=torch.channels_last))
            codes.append(pack(outputs[: len(images)]))
        return np.concatenate(codes)


def load_hasher(
    run: str | Path | None = None, *, backbone: str = "alexnet", weights: str | None = None, bits: int = 64,
    loss: Baseline = "itq", folder: str | Path | None = None, image_size: int = 224, device: str = "auto",
) -> Hasher:  # fmt: skip
    """The model of a finished run; or, without one, a baseline fitted to the pictures of a folder.

    Args:
        run: A run's folder, its name in `results/runs`, or its `model.safetensors`.
        backbone: Of a baseline, as are `bits`, `loss`, `folder` and `image_size`.
        weights: `imagenet`, `none` or a safetensors file; of a run: where its backbone's weights lie now.
        bits: K.
        loss: `itq`, `pcah` or `lsh`.
        folder: Its pictures that can be read are used, at most 20,000 of them.
        image_size: Pixels.
        device: `auto`, `cpu`, `cuda`.

    Raises:
        ValueError: The run keeps no model, a value is not allowed, or the pictures are too few for so many bits.
    """
    if run is not None:
        path = Path(run) if Path(run).exists() else Path("results", "runs", run)
        path = path / "model.safetensors" if path.is_dir() else path
        model, codes, centroids = HashModel.load(path, weights), path.with_name("codes.npz"), None
        if codes.exists():
            with np.load(codes, allow_pickle=False) as file:
                centroids = hashlib.sha256(file["centroids"].tobytes()).hexdigest()[:16]
        name = path.resolve().parent.name
        return Hasher(model, path.read_bytes(), device, run=name, loss=None, centroids_digest=centroids)
    if loss not in Baseline.__args__ or folder is None:
        raise ValueError(f"loss {loss!r}, folder {folder!r} given; without a run: itq, pcah or lsh, and a folder")
    options = dict(backbone=backbone, weights=weights or "imagenet", bits=bits, loss=loss, image_size=image_size)
    config, paths, features = RunConfig(finetune=False, augment="none", **options), list_pictures(folder), []
    model = build_model(config).to(find_device(device)).eval()
    model.facts = dict(image_size=image_size, kept_size=image_size)  # that `preprocess` reads
    for pictures in read_pictures(paths[:: -(-len(paths) // FIT) or 1], lambda content: read_picture(content, model)):
        images = [picture.image for picture in pictures if picture.image is not None]
        with torch.no_grad():
            features += [model.features(torch.stack(images).to(model.mean.device)).cpu()] if images else []
    if not features:
        raise ValueError(f"folder: {str(folder)!r} given, and no picture in it can be read")
    solve(model.cpu(), torch.cat(features), torch.ones(sum(map(len, features)), 1), config)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "model.safetensors")
        model.save(path, config)
        return _hasher(path.read_bytes(), device, run=None, loss=loss, centroids_digest=None)


def _hasher(content: bytes, device: str = "auto", **card: Any) -> Hasher:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(content)
        return Hasher(HashModel.load(path), content, device, **card)


class Picture(NamedTuple):
    """A file: its digest, and the image; or where the same content is indexed, or why there is no image."""

    path: str
    digest: str = ""
    known: str | None = None
    image: Tensor | None = None
    fault: str = ""


def list_pictures(folder: str | Path) -> list[Path]:
    """Every picture below a folder, told by the file's suffix, in order of their paths."""
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {str(folder)!r} given, and there is no such folder")
    return sorted(path for path in Path(folder).absolute().rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_picture(picture: Any, model: HashModel) -> Tensor:
    """(3, S, S) of a path, a file's bytes, a PIL image or such a tensor; a ValueError says in one line why not."""
    if isinstance(picture, Tensor | Image.Image):
        return picture if isinstance(picture, Tensor) else model.preprocess(picture)
    try:
        content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        if not content:
            raise ValueError("0 bytes")
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MEGAPIXELS * 1e6:
                raise ValueError(f"{image.width} × {image.height} pixels; allowed: {MEGAPIXELS} megapixels")
            return model.preprocess(image)
    except Exception as error:  # what a broken file makes Pillow raise is no closed list
        raise ValueError(("" if isinstance(picture, bytes) else f"{picture}: ") + _reason(error)) from None


def read_pictures(
    paths: Sequence[Path], decode: Callable[[bytes], Tensor], find: Callable[[str], str | None] = lambda digest: None
) -> Iterator[list[Picture]]:
    """Files, each read once, COMMIT at a time; what `find` gives a path for is not decoded."""

    def read(path: Path) -> Picture:
        try:
            content, name = path.read_bytes(), str(path).encode().decode()  # a name that is not UTF-8 is refused
            known = find(digest := hashlib.sha256(content).hexdigest())
            return Picture(name, digest, known, None if known else decode(content))
        except (OSError, ValueError) as error:
            return Picture(os.fsencode(path).decode(errors="replace"), fault=_reason(error))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in tqdm(range(0, len(paths), COMMIT), unit_scale=COMMIT, unit=" pictures", disable=None, delay=2):
            yield list(pool.map(read, paths[start : start + COMMIT]))


def _reason(error: Exception) -> str:
    broken = isinstance(error, Image.UnidentifiedImageError)
    return " ".join((getattr(error, "strerror", None) or ("not a readable picture" if broken else str(error))).split())


def _need(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"index: {module} is missing; pip install 'relahash-nb[search]'") from None


class Store:
    """The tables of an index, in SQL that SQLite and PostgreSQL share. What is given is a parameter, never text of it.

    A killed writer leaves what it committed and nothing half; two writers wait for each other.
    """

    def __init__(self, location: str, name: str, hasher: Hasher | None) -> None:
        self.card = hasher.card if hasher else {"bits": 1}
        self.connect(location, name, create=hasher is not None)
        if hasher:
            with self.transaction():
                self.create(name)
            row = json.dumps(hasher.card, indent=1), hasher.content
            self.write("INSERT INTO {model} VALUES (1, ?, ?) ON CONFLICT DO NOTHING", [row])
        try:
            self.card = json.loads(self.read("SELECT card FROM {model}")[0][0])
        except Exception as error:  # each database has its own for a table that is not there
            raise ValueError(f"index: there is none ({_reason(error)})") from None

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

    def codes(self, rows: Sequence[tuple]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) of rows that hold just these."""
        return np.frombuffer(b"".join(self.to_bytes(code) for (code,) in rows), np.uint8).reshape(-1, self.width)

    @property
    def width(self) -> int:
        """Bytes of a packed code."""
        return -(-self.card["bits"] // 8)


class FolderStore(Store):
    """A folder: items in an SQLite file, codes once more in FAISS's, where row i is the item with the id i + 1."""

    kinds = ("flat", "ivf", "hnsw")

    def connect(self, location: str, name: str, create: bool) -> None:
        """Opens the file of items."""
        self.folder, self._faiss, self._indexes = Path(location), _need("faiss"), {}
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

    def nearest(self, code: np.ndarray, k: int, kind: str) -> list[tuple[int, str]]:
        """Distances and paths; with flat, of all that tie with the last."""
        index, threads = self.prepare(kind), self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # they share queries, not codes: for one, all but one are only waited for
        distances, rows = (found[0] for found in index.search(code[None], min(k, index.ntotal)))
        if kind == "flat":
            _, distances, rows = index.range_search(code[None], int(distances[-1]) + 1)
        self._faiss.omp_set_num_threads(threads)
        found = {int(row) + 1: int(distance) for row, distance in zip(rows, distances, strict=True)}
        text = "SELECT id, path FROM items WHERE id IN (SELECT value FROM json_each(?))"
        return [(found[row], path) for row, path in self.read(text, json.dumps(list(found)))]

    def prepare(self, kind: str) -> Any:
        """FAISS's index of all codes: its file, mapped into memory, once what was added since is in it."""
        faiss, path, count = self._faiss, self.folder / f"{kind}.faiss", self.read("SELECT max(id) FROM items")[0][0]
        index, mapped = self._indexes.get(kind), getattr(faiss, "IO_FLAG_MMAP_IFC", 0)
        index = faiss.read_index_binary(str(path), mapped) if index is None and path.exists() else index
        if index is None or index.ntotal < count:
            if index is None or (kind == "ivf" and index.ntotal < count / 2):  # its lists are for far fewer
                lists = max(1, min(int(count**0.5), count // 39))
                index = faiss.index_binary_factory(
                    8 * self.width, {"ivf": f"BIVF{lists}", "hnsw": "BHNSW16"}.get(kind, "BFlat")
                )
            else:
                index = faiss.read_index_binary(str(path))  # one that is mapped cannot grow
            codes = self.codes(self.read("SELECT code FROM items WHERE id > ? ORDER BY id", index.ntotal))
            if not index.is_trained:
                index.train(codes)
            index.add(codes)
            write(path, lambda temporary: faiss.write_index_binary(index, str(temporary)))
        if kind == "ivf":
            index.nprobe = 32
        if kind == "hnsw":
            index.hnsw.efSearch = 128
        self._indexes[kind] = index
        return index


class PostgresStore(Store):
    """Two tables in PostgreSQL with pgvector, NAME_items and NAME_model."""

    kinds = ("flat", "hnsw")

    def connect(self, location: str, name: str, create: bool) -> None:
        """Connects; the address, which may hold a password, is not kept and in no message."""
        psycopg = _need("psycopg")
        try:
            self.connection = psycopg.connect(location, autocommit=True)
        except psycopg.Error as error:  # what is said of an address that is none quotes it
            plain = type(error) is psycopg.OperationalError
            reason = _reason(error) if plain else "no address; allowed: postgresql://USER@HOST/DATABASE"
            raise ValueError(f"index: PostgreSQL: {reason}") from None
        names = {part: psycopg.sql.Identifier(f"{name}_{part}").as_string() for part in ("items", "model", "hnsw")}
        self.transaction, self.to_value = self.connection.transaction, lambda code: f"x{code.hex()}"
        self.to_bytes, bits = lambda text: int(text, 2).to_bytes(self.width), lambda: f"bit({8 * self.width})"
        self.sql = lambda text: text.replace("?", "%s").format(**names, bits=bits(), code=f"%s::{bits()}")

    def create(self, name: str) -> None:
        """Makes the tables."""
        self.connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))  # another may be making them
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        columns = "(digest text PRIMARY KEY, path text NOT NULL, code {bits} NOT NULL)"
        self.connection.execute(self.sql(f"CREATE TABLE IF NOT EXISTS {{items}} {columns}"))
        self.connection.execute(
            self.sql("CREATE TABLE IF NOT EXISTS {model} (id int PRIMARY KEY, card text, content bytea)")
        )

    def nearest(self, code: np.ndarray, k: int, kind: str) -> list[tuple[int, str]]:
        """Distances and paths; with flat, ties at the last distance are cut by path."""
        query, exact = self.to_value(code.tobytes()), kind == "flat"
        text = "SELECT set_config('enable_indexscan', ?, false), set_config('hnsw.ef_search', ?, false)"
        self.read(text, "off" if exact else "on", str(min(1000, max(k, 128))))
        text = "SELECT (code <~> {code})::int AS distance, path FROM {items} ORDER BY "
        if exact:
            return self.read(text + 'distance, path COLLATE "C" LIMIT ?', query, k)
        return self.read(text + "code <~> {code} LIMIT ?", query, query, k)

    def prepare(self, kind: str) -> None:
        """Makes the approximate index where there is none."""
        if kind == "hnsw":
            text = "CREATE INDEX IF NOT EXISTS {hnsw} ON {items} USING hnsw (code bit_hamming_ops)"
            self.connection.execute(self.sql(text))


class HashIndex:
    """Codes of pictures and the model that made them, in a folder or in PostgreSQL with pgvector.

    Args:
        location: A folder, or `postgresql://USER@HOST/DATABASE`.
        hasher: Begins an index; with one that is there, it has to be the model that made its codes.
        kind: `flat` is exact; `hnsw`, and in a folder `ivf`, are faster and miss some: see `recall`.
        name: Of the tables in PostgreSQL.

    Attributes:
        card: What names the model.
        counts: Of the last `add`: `added`, `known` (the content was there), `skipped` (could not be read).

    Raises:
        ValueError: There is no index, it cannot be reached, or it holds codes of another model; which, in one line.
    """

    def __init__(
        self, location: str | Path, hasher: Hasher | None = None, kind: Kind = "flat", name: str = "relahash"
    ) -> None:
        store = PostgresStore if str(location).startswith(("postgresql:", "postgres:")) else FolderStore
        if kind not in store.kinds:
            raise ValueError(f"kind: {kind!r} given; allowed there: {', '.join(store.kinds)}")
        self._store, self.kind, self._hasher, self.counts = store(str(location), name, hasher), kind, hasher, {}
        self.card = self._store.card
        if hasher and hasher.card["model"] != self.card["model"]:
            raise ValueError(f"index: it holds codes of {describe(self.card)}; given: {describe(hasher.card)}")

    @classmethod
    def build(cls, hasher: Hasher, folder: str | Path, location: str | Path, **options: str) -> HashIndex:
        """Begins an index, or goes on with one, and adds the pictures of a folder; options as for the class."""
        index = cls(location, hasher, **options)
        index.add(folder)
        return index

    def __len__(self) -> int:
        return self._store.read("SELECT count(*) FROM {items}")[0][0]

    @property
    def hasher(self) -> Hasher:
        """The model, from the index; a ValueError where its backbone's weights are not those of then."""
        if self._hasher is None:
            card = {name: self.card[name] for name in ("run", "loss", "centroids_digest")}
            self._hasher = _hasher(self._store.read("SELECT content FROM {model}")[0][0], **card)
            if self._hasher.card["model"] != self.card["model"]:
                raise ValueError(f"weights: {self.card['weights']} are not those that the index was made with")
        return self._hasher

    def add(self, folder: str | Path) -> dict[str, int]:
        """Adds a folder's pictures whose content is not there, and gives `counts`; names those that are skipped.

        After an interruption the same call goes on.
        """
        counts = self.counts = dict(added=0, known=0, skipped=0)
        find = lambda digest: next(iter(self._store.read("SELECT path FROM {items} WHERE digest = ?", digest)), [None])[
            0
        ]
        for pictures in read_pictures(list_pictures(folder), self.hasher.preprocess, find):
            new = [picture for picture in pictures if picture.image is not None]
            counts["added"] += self._store.append(new, self.hasher([picture.image for picture in new]))
            for picture in pictures:
                if picture.fault:
                    print(f"skipped: {picture.path}: {picture.fault}", file=sys.stderr)
            counts["skipped"] += sum(bool(picture.fault) for picture in pictures)
            counts["known"] += len(pictures)
        counts["known"] -= counts["added"] + counts["skipped"]
        if len(self):
            self._store.prepare(self.kind)
        return counts

    def search(self, images: Sequence[Any], k: int = 20) -> tuple[list[np.ndarray], list[list[str]]]:
        """The k nearest of each image (path or PIL image), by distance, then path.

        Returns:
            Hamming distances, (≤ k,) int each, and as many paths.

        Raises:
            ValueError: An image cannot be read.
        """
        found = [self._nearest(code, k, self.kind) for code in self.hasher(images)]
        return [np.array([d for d, _ in one], int) for one in found], [[path for _, path in one] for one in found]

    def items(self) -> tuple[np.ndarray, list[str]]:
        """Packed codes (N, ⌈K/8⌉) and paths, in order of the paths."""
        rows = sorted(self._store.read("SELECT path, code FROM {items}"))
        return self._store.codes([row[1:] for row in rows]), [path for path, _ in rows]

    def recall(self, k: int = 20, queries: int = 100) -> float:
        """Of some of its own codes, the share of answers that are as near as the exact ones."""
        hits, rows = [], self._store.read("SELECT code FROM {items} ORDER BY digest LIMIT ?", queries)
        for code in self._store.codes(rows):
            exact, found = (self._nearest(code, k, kind) for kind in ("flat", self.kind))
            hits.append(sum(distance <= exact[-1][0] for distance, _ in found) / len(exact))
        return float(np.mean(hits))

    def duplicates(self, radius: int = 4) -> list[list[str]]:
        """Groups of paths, each linked to another of its group by a distance of at most `radius` bits."""
        sparse, graph = _need("scipy.sparse"), _need("scipy.sparse.csgraph")
        codes, paths = self.items()
        codes, of_code = np.unique(codes, axis=0, return_inverse=True)
        count, flat = len(codes), _need("faiss").IndexBinaryFlat(8 * codes.shape[1])
        flat.add(codes)
        group = np.arange(count)  # of each code: the first in its group
        for start in range(0, count, 1024):
            limits, _, near = flat.range_search(codes[start : start + 1024], radius + 1)
            origin = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(int)))
            ends = np.concatenate([origin, np.arange(count)]), np.concatenate([near, group])
            links = sparse.coo_array((np.ones(len(ends[0]), bool), ends), (count, count))
            label = graph.connected_components(links, directed=False)[1]
            group = np.unique(label, return_index=True)[1][label]
        found: dict[int, list[str]] = {}
        for path, row in zip(paths, group[of_code.ravel()], strict=True):
            found.setdefault(int(row), []).append(path)
        return sorted(paths for paths in found.values() if len(paths) > 1)

    def _nearest(self, code: np.ndarray, k: int, kind: str) -> list[tuple[int, str]]:
        return (
            sorted(self._store.nearest(code, k, kind))[:k] if self._store.read("SELECT 1 FROM {items} LIMIT 1") else []
        )


def describe(card: dict[str, Any]) -> str:
    """A model in words."""
    name = card["run"] or f"{card['loss']} of {card['backbone']} ({Path(card['weights']).name}), {card['bits']} bits"
    return f"{name}, model {card['model']}"


def index_folder(
    folder: Positional[str], index: str | None = None, out: str | None = None, run: str | None = None,
    backbone: str | None = None, weights: str | None = None, bits: int = 64, loss: Baseline = "itq",
    image_size: int = 224, kind: Kind = "flat", name: str = "relahash", device: str = "auto",
) -> int:  # fmt: skip
    """Hashes the pictures of a folder into an index, or into a file of codes. The same command again goes on.

    Args:
        folder: With pictures, at any depth.
        index: A folder for it, or postgresql://USER@HOST/DATABASE (the password in PGPASSWORD or ~/.pgpass).
        out: A file.npz for packed codes, paths and the model's card; without an index codes.npz.
        run: A finished run; without it the model of the index, or a baseline fitted to the folder.
        backbone: Of a baseline.
        weights: imagenet, none or a safetensors file.
        bits: Of a baseline.
        loss: Of a baseline.
        image_size: Of a baseline, in pixels.
        kind: Of the index; of ivf and hnsw the recall is measured and printed.
        name: Of the tables in PostgreSQL.
        device: auto, cpu or cuda.

    Returns:
        0; 1 where a picture was skipped.
    """
    hasher, asked = None, dict(run=None, backbone=backbone, bits=bits, loss=loss)
    with tempfile.TemporaryDirectory() as temporary:
        try:  # a baseline is fitted once, not again to a folder that has grown
            card = HashIndex(index or temporary, name=name).card
        except ValueError:
            card = {}
        if run or (backbone and {**card, **asked} != card):
            options = dict(weights=weights, bits=bits, loss=loss, image_size=image_size, folder=folder, device=device)
            hasher = load_hasher(run, backbone=backbone or "", **options)
        found = HashIndex(index or temporary, hasher, kind, name)
        counts = found.add(folder)
        print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(found)} in the index")
        if kind != "flat" and len(found):
            print(f"{kind}: recall@20 against exact {found.recall(20):.3f}")
        if out or not index:
            codes, paths = found.items()
            arrays, out = (
                dict(codes=codes, paths=np.array(paths, str), card=json.dumps(found.card)),
                Path(out or "codes.npz"),
            )
            write(out, lambda temporary: temporary.write_bytes(_npz(arrays)))
            print(f"{out}: {len(paths)} codes of {found.card['bits']} bits")
    return 1 if counts["skipped"] else 0


def _npz(arrays: dict[str, Any]) -> bytes:
    np.savez(buffer := BytesIO(), **arrays)
    return buffer.getvalue()


def search_index(
    pictures: Positional[tuple[str, ...]], index: str, k: Annotated[int, arg(aliases=("-k",))] = 20,
    format: Literal["table", "jsonl", "html"] = "table", kind: Kind = "flat", name: str = "relahash",
) -> int:  # fmt: skip
    """Prints the nearest of each picture.

    Args:
        pictures: Files.
        index: A folder, or postgresql://USER@HOST/DATABASE.
        k: Answers for each.
        format: table; jsonl, an answer a line; html, one page with thumbnails.
        kind: Of the index; of ivf and hnsw the recall is measured and printed.
        name: Of the tables in PostgreSQL.

    Returns:
        0; 1 where a picture cannot be read.
    """
    if not pictures or k < 1:
        raise ValueError(f"pictures: {len(pictures)}, k: {k} given; allowed: one or more of each")
    found, answers = HashIndex(index, None, kind, name), {}
    for picture in pictures:
        try:
            answers[picture] = [
                (int(d), path) for d, path in zip(*(one[0] for one in found.search([picture], k)), strict=True)
            ]
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
    if kind != "flat" and len(found):
        print(f"{kind}: recall@{k} against exact {found.recall(k):.3f}", file=sys.stderr)
    print(html_page(answers)) if format == "html" else None
    for picture, answer in answers.items() if format != "html" else ():
        print(_printable(picture)) if format == "table" else None
        for rank, (distance, path) in enumerate(answer, start=1):
            line = {"query": picture, "rank": rank, "distance": distance, "path": path}
            print(json.dumps(line) if format == "jsonl" else f"{rank:5} {distance:5}  {_printable(path)}")
    return 1 if len(answers) < len(set(pictures)) else 0


def find_duplicates(index: Positional[str], radius: int = 4, name: str = "relahash") -> int:
    """Prints groups of near-duplicates, an empty line after each.

    Args:
        index: A folder, or postgresql://USER@HOST/DATABASE.
        radius: Bits in which two codes may differ.
        name: Of the tables in PostgreSQL.
    """
    groups = HashIndex(index, name=name).duplicates(radius)
    for group in groups:
        print(*map(_printable, group), "", sep="\n")
    print(f"{len(groups)} groups of {sum(map(len, groups))} pictures within {radius} bits", file=sys.stderr)
    return 0


def _printable(path: str) -> str:
    return path if path.isprintable() else ascii(path)  # a name may hold what a terminal obeys


def html_page(answers: dict[str, list[tuple[int, str]]]) -> str:
    """Queries and their answers as one page, with thumbnails in it."""

    def figure(path: str, caption: str) -> str:
        try:
            with Image.open(path, formats=FORMATS) as image:
                image.thumbnail((160, 160))
                image.convert("RGB").save(buffer := BytesIO(), "JPEG")
            source = f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
        except (OSError, ValueError):
            source = "(not there any more)"
        return f"<figure>{source}<figcaption>{caption} {html.escape(path)}</figcaption></figure>"

    style = (
        "section{display:flex;flex-wrap:wrap}figure{width:160px;margin:4px;font:11px sans-serif;overflow-wrap:anywhere}"
    )
    rows = [
        [figure(query, "<b>query</b>"), *(figure(path, str(d)) for d, path in found)]
        for query, found in answers.items()
    ]
    body = "\n".join(f"<section>{''.join(row)}</section>" for row in rows)
    return f'<!doctype html><meta charset="utf-8"><title>relahash search</title><style>{style}</style>\n{body}'

"""An index: codes of pictures and the model that made them, which are searched together."""

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from PIL import Image
from pydantic import SecretStr
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from relahash_nb.cluster import on_cluster
from relahash_nb.files import watch
from relahash_search.hasher import BASELINE_DEFAULTS, Hasher, load_hasher
from relahash_search.pictures import COMMIT, File, list_pictures, reason
from relahash_search.stores import FolderStore, PostgresStore, import_extra

PART = 512  # pictures, at most, that a worker of a cluster takes at a time, for which it loads the model


class Added(NamedTuple):
    """What became of one batch of pictures: how many were added and known, and what is wrong with others."""

    added: int
    known: int
    faults: list[str]


class HashIndex:
    """Codes of pictures and the model that made them, in a folder or in PostgreSQL with pgvector.

    Args:
        location: A folder, or `postgresql://USER@HOST/DATABASE`.
        hasher: Begins an index. Where there is one, the hasher has to be the model that made its codes.
        kind: `flat` is exact; `hnsw`, and in a folder `ivf`, are faster and miss some: see `recall`.
        device: Of the model that the index holds: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Attributes:
        card: What names the model.
        kind: As given.

    Raises:
        ValueError: There is no index, it cannot be reached, or its codes are of another model, which is named.
    """

    def __init__(
        self, location: str | Path, hasher: Hasher | None = None, kind: str = "flat", device: str = "auto"
    ) -> None:
        store = store_type(location)
        if kind not in store.kinds:
            raise ValueError(f"kind: {kind!r} given; allowed at this location: {', '.join(store.kinds)}")
        self.kind = kind
        self._location = SecretStr(absolute_location(location))  # an address may hold a password
        self._store = store(str(location), hasher)
        self.card = self._store.card
        self._hasher = hasher
        self._device = device if hasher is None else hasher.device
        if hasher is not None and hasher.card["model"] != self.card["model"]:
            raise ValueError(f"index: it holds codes of {describe(self.card)}; given: {describe(hasher.card)}")
        self._store.prepare(kind)

    def __len__(self) -> int:
        return len(self._store)

    @property
    def hasher(self) -> Hasher:
        """The model of the index, loaded at first use; ValueError: its backbone's weights have changed since."""
        if self._hasher is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.safetensors")
                path.write_bytes(self._store.model_content())
                hasher = Hasher(path, run=self.card["run"], loss=self.card["loss"], device=self._device)
            if hasher.card["model"] != self.card["model"]:
                raise ValueError(f"weights: {self.card['weights']} are not those that the index was made with")
            self._hasher = hasher
        return self._hasher

    def add(self, folder: str | Path, workers: int | None = None, scheduler: str | None = None) -> Counter[str]:
        """Add the pictures of a folder whose content is not in the index; those that cannot be read are named.

        Args:
            folder: Its pictures are added at any depth.
            workers: Number of processes of a local Dask cluster that share the work; None: this process alone.
            scheduler: Address of a running Dask scheduler whose workers share the work.

        Returns:
            Numbers of pictures: `added`, `known` (the content was in the index), `skipped` (could not be read).

        Raises:
            ValueError: There is no such folder, no picture in it, no Dask or no such scheduler.
            ChildProcessError: A worker failed.
        """
        paths = list_pictures(folder)
        is_shared = workers is not None or scheduler is not None
        batches = self._add_on_cluster(paths, workers, scheduler) if is_shared else self._add(paths)
        counts = Counter(added=0, known=0, skipped=0)
        for batch in watch(batches, ceil(len(paths) / COMMIT), "pictures"):
            print_skipped(batch.faults)
            counts.update(added=batch.added, known=batch.known, skipped=len(batch.faults))
        self._store.prepare(self.kind)
        return counts

    def _add(self, paths: Sequence[Path]) -> Iterator[Added]:
        """Add pictures, a batch at a time."""
        for batch in self.hasher.read(paths, self._store.has):
            codes = self.hasher.hash(batch.images)
            added = self._store.append(batch.digests, batch.paths, codes)
            copies = len(batch.digests) - added  # within the batch, or of another writer
            yield Added(added, batch.known + copies, batch.faults)

    def _add_on_cluster(self, paths: Sequence[Path], workers: int | None, scheduler: str | None) -> Iterator[Added]:
        """The same by the workers of a Dask cluster, `PART` pictures at a time."""
        parts: dict[str, tuple[Any, ...]] = {}
        for start in range(0, len(paths), PART):
            key = uuid4().hex  # a scheduler that others use too takes calls of one key for one call
            parts[key] = (self._location, self._device, paths[start : start + PART])
        for future in on_cluster(_add_part, parts, workers, scheduler):
            error = future.exception()
            if error is not None:
                raise ChildProcessError(f"workers: {reason(error)}")
            yield from future.result()

    def search(self, pictures: Sequence[File | Image.Image], k: int = 20) -> tuple[list[np.ndarray], list[list[str]]]:
        """Find the k nearest pictures to each of Q pictures.

        Args:
            pictures: Paths, the contents of files, or PIL images.
            k: Number of answers, from 1 up.

        Returns:
            Q arrays of Hamming distances (at most k,) int, ascending, and Q lists of paths. Ties are in alphabetical
            order, but a path that is in the index comes first of those at its distance.

        Raises:
            ValueError: A picture cannot be read; the message names it.
        """
        all_distances = []
        all_paths = []
        for picture, code in zip(pictures, self.hasher(pictures), strict=True):
            query_path = absolute_path(picture)
            found = self._store.nearest(code, k, self.kind, query_path)
            found.sort(key=lambda item: (item[0], item[1] != query_path, item[1]))
            nearest = found[:k]
            all_distances.append(np.array([distance for distance, _ in nearest], int))
            all_paths.append([path for _, path in nearest])
        return all_distances, all_paths

    def recall(self, k: int = 20, queries: int = 100) -> float:
        """Measure what `kind` finds, with codes of the index as queries.

        Returns:
            The share of its k answers that are as near as the exact ones, from 0 to 1; NaN of an empty index.
        """
        shares = []
        for code in self._store.sample(queries):
            exact = sorted(self._store.nearest(code, k, "flat"))[:k]
            found = sorted(self._store.nearest(code, k, self.kind))[:k]
            largest, _ = exact[-1]
            hits = sum(distance <= largest for distance, _ in found)
            shares.append(hits / len(exact))
        return float(np.mean(shares))

    def codes(self) -> tuple[list[str], np.ndarray]:
        """Paths in alphabetical order, and packed codes (N, ⌈K/8⌉) uint8."""
        return self._store.codes()

    def duplicates(self, radius: int = 4) -> list[list[str]]:
        """Find groups of near-duplicates.

        Args:
            radius: Bits, from 0 up, in which the codes of two pictures may differ to be linked.

        Returns:
            Groups of at least two paths: those that links connect, directly or through others.
        """
        faiss = import_extra("faiss")
        paths, codes = self.codes()
        distinct, number_of_code = np.unique(codes, axis=0, return_inverse=True)  # (D, ⌈K/8⌉), (N,)
        flat = faiss.IndexBinaryFlat(8 * distinct.shape[1])
        flat.add(distinct)
        limits, _, neighbours = flat.range_search(distinct, radius + 1)
        linked = np.ones(len(neighbours), bool)
        links = csr_array((linked, neighbours, limits.astype(np.int64)), (len(distinct), len(distinct)))
        _, group_of_code = connected_components(links, directed=False)  # (D,)
        groups = defaultdict(list)
        for path, number in zip(paths, number_of_code.ravel(), strict=True):
            groups[group_of_code[number]].append(path)
        return sorted(group for group in groups.values() if len(group) > 1)


def _add_part(location: SecretStr, device: str, paths: Sequence[Path]) -> list[Added]:
    """On a worker: add pictures by a connection of its own."""
    index = HashIndex(location.get_secret_value(), device=device)
    return list(index._add(paths))


def open_index(
    location: str | Path, run: str | Path | None, folder: str | Path, kind: str = "flat", **settings: Any
) -> HashIndex:
    """Open the index at a location, or begin one with the model of a run or with a baseline.

    Args:
        location: As for `HashIndex`.
        run: As for `load_hasher`; None: the model of the index, or the baseline that `settings` describe.
        folder: What a baseline is fitted to. Where the index has that baseline, it is not fitted again.
        kind: As for `HashIndex`.
        settings: As for `load_hasher`.
    """
    if run is not None:
        hasher = load_hasher(run, **settings)
    elif "backbone" in settings and not _has_baseline(location, settings):
        hasher = load_hasher(folder=folder, **settings)
    else:
        hasher = None
    return HashIndex(location, hasher, kind, settings.get("device", "auto"))


def _has_baseline(location: str | Path, settings: dict[str, Any]) -> bool:
    """Whether there is an index whose model is the baseline that the settings describe."""
    store = store_type(location)
    try:
        card = store(str(location)).card
    except ValueError:
        return False
    expected = {"run": None} | BASELINE_DEFAULTS | settings
    return all(expected[name] == card[name] for name in card if name in expected)


def store_type(location: str | Path) -> type[FolderStore] | type[PostgresStore]:
    """The kind of store that a location names."""
    is_address = str(location).startswith(("postgresql:", "postgres:"))
    return PostgresStore if is_address else FolderStore


def absolute_location(location: str | Path) -> str:
    """A location as it is named from another working directory."""
    if store_type(location) is PostgresStore:
        return str(location)
    return str(Path(location).absolute())


def absolute_path(picture: Any) -> str:
    """The path by which an index would name a picture; empty for one that has no path."""
    return str(Path(picture).absolute()) if isinstance(picture, str | Path) else ""


def describe(card: dict[str, Any]) -> str:
    """A model in words."""
    name = card["run"]
    if name is None:
        weights = Path(card["weights"]).name
        name = f"{card['loss']} of {card['backbone']} ({weights}), {card['bits']} bits"
    return f"{name}, model {card['model']}"


def print_skipped(faults: Sequence[str]) -> None:
    """Say which pictures were skipped, and why."""
    for fault in faults:
        print(f"skipped: {fault}", file=sys.stderr)

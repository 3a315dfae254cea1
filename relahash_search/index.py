"""An index: codes of pictures and the model that made them, which are searched together."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from PIL import Image
from pydantic import SecretStr

from relahash_nb.cluster import on_cluster
from relahash_nb.pictures import scan
from relahash_search.location import absolute_location, is_address
from relahash_search.model import Model
from relahash_search.reading import Batch, Fitted, Reader, check_name, describe_file, digest_of, reason
from relahash_search.tables import Folder, Item, Tables
from relahash_search.update import Update, update_folder

PART = 512  # pictures that a worker of a cluster takes at a time, for which it loads the model
Source = str | Path | bytes | Image.Image  # a path, the content of a file, or an image


class Match(NamedTuple):
    """A picture that a search found.

    Attributes:
        distance: Bits in which its code differs from the query's.
        path: Where it was when it was indexed.
        state: `gone`, `changed` since, or nothing.
        is_same_file: Its file had the same content as the query's.
    """

    distance: int
    path: str
    state: str
    is_same_file: bool


class Index:
    """Codes of pictures and the model that made them, in a folder or in PostgreSQL with pgvector.

    Args:
        location: A folder, or `postgresql://USER@HOST/DATABASE`.
        kind: `flat` is exact; `hnsw`, and in a folder `ivf`, are faster and miss some: see `recall`.

    Attributes:
        card: What names the model.
        kind: As given.
        tables: What the index keeps.

    Raises:
        ValueError: There is no index, it cannot be reached, or it has no such kind.
    """

    def __init__(self, location: str | Path, kind: str = "flat") -> None:
        self._location = SecretStr(absolute_location(location))  # an address may hold a password
        tables = open_tables(location)
        if kind not in tables.kinds:
            raise ValueError(f"kind: {kind!r} given; allowed at this location: {', '.join(tables.kinds)}")
        if tables.card is None:
            raise ValueError("index: no model is in it; relahash index FOLDER puts one in")
        self.tables = tables
        self.kind = kind
        self.card = tables.card
        self._model: Model | None = None
        self._loading = threading.Lock()

    @classmethod
    def begin(cls, location: str | Path, content: bytes, kind: str = "flat") -> "Index":
        """Open an index, or make one of a model.

        Args:
            location: As for `Index`.
            content: The bytes of a `model.onnx`.
            kind: As for `Index`.

        Raises:
            ValueError: The bytes are no model, or the index has another one; the message names both.
        """
        card = card_of(Model.from_bytes(content))
        tables = open_tables(location, create=True)
        if tables.card is None:
            tables.put_model(content, card)
        tables.close()
        index = cls(location, kind)
        if index.card["digest"] != card["digest"]:
            raise ValueError(f"index: it holds codes of {describe_card(index.card)}; given: {describe_card(card)}")
        return index

    def __len__(self) -> int:
        return self.tables.count()

    def model(self) -> Model:
        """The model, loaded at first use."""
        with self._loading:
            if self._model is None:
                self._model = Model.from_bytes(self.tables.model_content())
            return self._model

    def update(
        self,
        folder: str | Path,
        workers: int | None = None,
        scheduler: str | None = None,
        fitted: Fitted | None = None,
    ) -> Update:
        """Bring the index up to date with a folder; only pictures that are new or have changed are read.

        A folder in one that is indexed is a part of that one. A folder around one that is indexed takes it in. A folder
        that was renamed, or came to another machine, is known by its pictures.

        Args:
            folder: Its pictures are indexed at any depth.
            workers: Number of processes of a local Dask cluster that share the work; None: this process alone.
            scheduler: Address of a running Dask scheduler whose workers share the work.
            fitted: Codes of the folder's pictures that need not be computed again.

        Raises:
            ValueError: There is no such folder, no picture in it, no Dask or no such scheduler.
            ChildProcessError: A worker failed.
        """
        place = Path(folder).expanduser().resolve()
        check_name(place)
        found = scan(place)

        def read(target: Folder, paths: list[str]) -> Iterator[Batch]:
            if fitted is None and (workers is not None or scheduler is not None):
                return self._read_on_cluster(target, paths, workers, scheduler)
            return Reader(self.tables, target, self.model, fitted).read(paths)

        update = update_folder(self.tables, place, found, read)
        if found.summary():
            update.notes.append(found.summary())
        self.tables.prepare(self.kind)
        return update

    def _read_on_cluster(
        self, folder: Folder, paths: Sequence[str], workers: int | None, scheduler: str | None
    ) -> Iterator[Batch]:
        """Read pictures by the workers of a Dask cluster, `PART` at a time."""
        calls = {}
        for start in range(0, len(paths), PART):
            key = uuid4().hex  # a scheduler that others use too takes calls of one key for one call
            calls[key] = (self._location, folder, paths[start : start + PART])
        if not calls:
            return
        for future in on_cluster(read_part, calls, workers, scheduler):
            error = future.exception()
            if error is not None:
                raise ChildProcessError(f"workers: {reason(error, Path())}")
            yield from future.result()

    def remove(self, folder: str | Path) -> int:
        """Take a folder out of the index; give the number of its pictures. No file is touched.

        Raises:
            ValueError: The index has no such folder.
        """
        places = {str(folder), str(Path(folder).expanduser().absolute()), str(Path(folder).expanduser().resolve())}
        folders = self.tables.folders()
        for known in folders:
            if known.place in places:
                return self.tables.remove_folder(known)
        allowed = ", ".join(known.place for known in folders)
        raise ValueError(f"remove: {str(folder)!r} given; allowed: {allowed}")

    def search(self, source: Source, k: int = 20) -> list[Match]:
        """Find the k pictures whose codes are nearest to that of a picture.

        Args:
            source: A path, the content of a file, or a PIL image.
            k: Number of answers, from 1 up; fewer only where the index has fewer.

        Returns:
            Pictures in order of distance, then of path.

        Raises:
            ValueError: The picture cannot be read; the message names it.
        """
        code = self.model().hash(source).tobytes()
        digest = None if isinstance(source, Image.Image) else digest_of(as_file(source))
        found = nearest_items(self.tables, code, k, self.kind)
        return [Match(distance, item.full_path, state_of(item), item.digest == digest) for distance, item in found]

    def recall(self, k: int = 20, queries: int = 100) -> float:
        """Measure what `kind` finds, with codes of the index as queries.

        Returns:
            The share of its k answers that are as near as the exact ones, from 0 to 1; NaN of an empty index.
        """
        _, codes = self.tables.codes()
        chosen = codes[:: max(1, len(codes) // queries)][:queries]
        shares = []
        for code in chosen:
            exact = nearest_items(self.tables, code.tobytes(), k, "flat")
            found = nearest_items(self.tables, code.tobytes(), k, self.kind)
            largest, _ = exact[-1]
            hits = sum(distance <= largest for distance, _ in found)
            shares.append(hits / len(exact))
        return float(np.mean(shares))

    def codes(self) -> tuple[list[str], np.ndarray]:
        """Paths (N,) in alphabetical order, and packed codes (N, ⌈K/8⌉) uint8."""
        numbers, codes = self.tables.codes()
        items = self.tables.items()
        rows = np.searchsorted(numbers, [number for _, number in items])
        return [item.full_path for item, _ in items], codes[rows]


def open_tables(location: str | Path, create: bool = False) -> Tables:
    """The tables at a location; `create` makes them where there are none."""
    if is_address(location):
        from relahash_search.postgres import PostgresTables

        return PostgresTables(str(location), create)
    from relahash_search.sqlite import FolderTables

    return FolderTables(location, create)


def nearest_items(tables: Tables, code: bytes, k: int, kind: str) -> list[tuple[int, Item]]:
    """The k pictures nearest to a packed code, with distances, in order of distance, then of path.

    An approximate kind that finds too few pictures is completed by the exact one.
    """
    found: list[tuple[int, Item]] = []
    for distance, numbers in levels(tables, code, k, kind):
        items = tables.items_with_codes(numbers, k - len(found))
        found += [(distance, item) for item, _ in items]
        if len(found) == k:
            return found
    if kind != "flat" and len(found) < min(k, tables.count()):
        return nearest_items(tables, code, k, "flat")
    return found


def levels(tables: Tables, code: bytes, k: int, kind: str) -> Iterator[tuple[int, list[int]]]:
    """Distances in ascending order, and the numbers of the codes at each; of `flat` all codes at a distance.

    Each code has a picture, so k codes are enough for k pictures, unless another process has just taken some out.
    """
    first_distance = 0
    count = k
    while True:
        distances, numbers = tables.nearest_codes(code, count, kind)
        for distance in np.unique(distances[distances >= first_distance]).tolist():
            is_last = distance == distances[-1]
            if is_last and kind == "flat":
                yield distance, tables.codes_at(code, distance)
            else:
                yield distance, numbers[distances == distance].tolist()
        if len(distances) < count or kind != "flat":
            return
        first_distance = int(distances[-1]) + 1
        count *= 4


def state_of(item: Item) -> str:
    """Whether a picture is as it was when it was indexed: `gone`, `changed`, or nothing."""
    try:
        file = describe_file(Path(item.full_path))
    except (OSError, ValueError):
        return "gone"
    return "" if file == item.file else "changed"


def as_file(source: str | Path | bytes) -> Path | bytes:
    """A source that is a path as a path."""
    return Path(source) if isinstance(source, str) else source


def read_part(location: SecretStr, folder: Folder, paths: Sequence[str]) -> list[Batch]:
    """On a worker: read pictures by a connection of its own."""
    index = Index(location.get_secret_value())
    return list(Reader(index.tables, folder, index.model).read(paths))


def card_of(model: Model) -> dict[str, Any]:
    """What names a model, as an index keeps it."""
    return model.metadata.model_dump(mode="json")


def describe_card(card: dict[str, Any]) -> str:
    """A model in words."""
    name = card["run"]
    if name is None:
        name = f"{card['loss']} of {card['backbone']} ({Path(card['weights']).name}), {card['bits']} bits"
    return f"{name}, model {card['digest']}"

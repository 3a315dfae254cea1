"""FAISS's index of the distinct codes, kept in a file, which is made anew whenever it is not of these codes."""

from collections.abc import Callable
from contextlib import suppress
from math import isqrt
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from relahash_nb.files import write

KINDS = ("flat", "ivf", "hnsw")
LINKS = 32  # of a code in hnsw
CANDIDATES = 256  # codes that a search by hnsw keeps in sight, if no more are asked for
SHARE_OF_LISTS = 4  # a search by ivf looks into one of so many lists,
FEWEST_LISTS = 32  # but into so many at least
CODES_OF_A_LIST = 39  # FAISS warns where a list has fewer
CHECKSUM_BYTES = 4

Codes = Callable[[], tuple[np.ndarray, np.ndarray]]


class Neighbours:
    """The codes nearest to a code.

    Args:
        index: An `IndexBinaryIDMap` of FAISS, whose ids are the numbers of the codes.
        kind: One of `KINDS`.
        state: Of the codes in it.
    """

    def __init__(self, index: Any, kind: str, state: str) -> None:
        self._index = index
        self._inner = _inner_index(index)
        self.kind = kind
        self.state = state

    @classmethod
    def open(cls, folder: Path, kind: str, state: str, codes: Codes, bits: int) -> "Neighbours":
        """Read the file of FAISS that has this state; write it first where there is none that can be read.

        Args:
            folder: Holds FAISS's files.
            kind: One of `KINDS`.
            state: Of the codes, as it stands in the file's name.
            codes: Gives numbers (D,) int64, ascending, and packed codes (D, ⌈bits/8⌉) uint8.
            bits: Of a packed code: a multiple of 8.
        """
        path = folder / f"{kind}-{state}.faiss"
        index = _read(path, bits)
        if index is None:
            index = _extend_or_build(folder, kind, bits, *codes())
            with suppress(OSError):  # a folder that cannot be written to can be searched all the same
                _write(index, path)
        return cls(index, kind, state)

    def nearest(self, code: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances (at most `count`,), ascending, and numbers of the codes nearest to one (⌈K/8⌉,) uint8."""
        count = min(count, self._index.ntotal)
        if count == 0:
            return np.empty(0, np.int32), np.empty(0, np.int64)
        if self.kind == "hnsw":
            self._inner.hnsw.efSearch = max(count, CANDIDATES)
        if self.kind == "ivf":
            self._inner.nprobe = max(FEWEST_LISTS, self._inner.nlist // SHARE_OF_LISTS)
        with _OneThread():
            distances, numbers = self._index.search(code[None], count)
        is_found = numbers[0] >= 0
        return distances[0][is_found], numbers[0][is_found]

    def at(self, code: np.ndarray, distance: int) -> list[int]:
        """Numbers of all codes at a distance from one (⌈K/8⌉,) uint8; of `flat` alone."""
        with _OneThread():
            _, distances, numbers = self._index.range_search(code[None], distance + 1)
        return numbers[distances == distance].tolist()


class _OneThread:
    """FAISS on one thread: it shares queries among threads, and of one query all but one would wait."""

    def __enter__(self) -> None:
        import faiss

        self._threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import faiss

        faiss.omp_set_num_threads(self._threads)


def _inner_index(index: Any) -> Any:
    """The index below an `IndexBinaryIDMap`, as what it is."""
    import faiss

    return faiss.downcast_IndexBinary(index.index)


def _read(path: Path, bits: int) -> Any:
    """FAISS's index in a file; None where there is none, or the file is damaged or of something else."""
    import faiss

    if not path.is_file():
        return None
    content = path.read_bytes()
    if _checksum(content[:-CHECKSUM_BYTES]) != content[-CHECKSUM_BYTES:]:
        return None
    index = faiss.deserialize_index_binary(np.frombuffer(content, np.uint8))
    return index if index.d == bits else None


def _write(index: Any, path: Path) -> None:
    """Write FAISS's file, and remove those of earlier states.

    A checksum follows FAISS's bytes, which FAISS passes over: of a damaged file it may take the whole process down.
    """
    import faiss

    content = faiss.serialize_index_binary(index).tobytes()
    write(path, lambda temporary: temporary.write_bytes(content + _checksum(content)))
    for other in _files(path.parent, path.name.partition("-")[0]):
        if other != path:
            other.unlink(missing_ok=True)


def _checksum(content: bytes) -> bytes:
    return crc32(content).to_bytes(CHECKSUM_BYTES)


def _files(folder: Path, kind: str) -> list[Path]:
    return list(folder.glob(f"{kind}-*.faiss"))


def _extend_or_build(folder: Path, kind: str, bits: int, numbers: np.ndarray, codes: np.ndarray) -> Any:
    """FAISS's index of all codes: an earlier one that holds the first of them is extended, since hnsw takes long."""
    for path in _files(folder, kind):
        index = _read(path, bits)
        if index is not None and _holds_the_first(index, kind, numbers, codes):
            index.add_with_ids(codes[index.ntotal :], numbers[index.ntotal :])
            return index
    return _build(kind, bits, numbers, codes)


def _holds_the_first(index: Any, kind: str, numbers: np.ndarray, codes: np.ndarray) -> bool:
    """Whether the index holds the first of these codes, and enough of them."""
    import faiss

    if kind != "hnsw" or not 0 < index.ntotal <= len(numbers):
        return False
    count = index.ntotal
    storage: Any = faiss.downcast_IndexBinary(_inner_index(index).storage)
    known = faiss.vector_to_array(storage.xb).reshape(count, -1)
    known_numbers = faiss.vector_to_array(index.id_map)
    return np.array_equal(known, codes[:count]) and np.array_equal(known_numbers, numbers[:count])


def _build(kind: str, bits: int, numbers: np.ndarray, codes: np.ndarray) -> Any:
    """FAISS's index of all codes, from nothing."""
    import faiss

    lists = max(1, min(isqrt(len(codes)), len(codes) // CODES_OF_A_LIST))
    descriptions = {"flat": "BFlat", "ivf": f"BIVF{lists}", "hnsw": f"BHNSW{LINKS}"}
    inner = faiss.index_binary_factory(bits, descriptions[kind])
    if len(codes) and not inner.is_trained:
        inner.train(codes)
    index = faiss.IndexBinaryIDMap(inner)
    if len(codes):
        index.add_with_ids(codes, numbers)
    return index

"""Rows of numbers on disk, computed once: whole or not there, continued where they were interrupted."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from relahash_nb.files import replace, write


@dataclass(frozen=True)
class RowFile:
    """A `.npy` file of rows. While it grows it is called `.partial`, and its length says how far it is.

    Attributes:
        path: Of the whole file.
        shape: (M, …), a row an item.
        dtype: NumPy's name of it.
        block: Rows that are written at a time; it grows by whole blocks, so that going on gives the bytes of one go.
        what: The rows are, in a word.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    block: int
    what: str

    @cached_property
    def header(self) -> bytes:
        """What the file begins with."""
        text, kind = BytesIO(), np.dtype(self.dtype).str
        np.lib.format.write_array_header_1_0(text, {"descr": kind, "fortran_order": False, "shape": self.shape})
        return text.getvalue()

    def size(self, rows: int) -> int:
        """Bytes of the file with so many rows."""
        return len(self.header) + rows * math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    def found_size(self, path: Path) -> int:
        """Bytes of a file that is there; 0 where it is not, or begins otherwise than this one."""
        try:
            with path.open("rb") as file:
                return path.stat().st_size if file.read(len(self.header)) == self.header else 0
        except OSError:
            return 0

    def is_whole(self) -> bool:
        """Whether the file is there, with all rows and no more."""
        return self.found_size(self.path) == self.size(self.shape[0])

    def load(self) -> Tensor:
        """(M, …), mapped copy-on-write, since torch has no tensors that only can be read."""
        return torch.from_numpy(np.load(self.path, mmap_mode="c", allow_pickle=False))

    def kept(self, compute: Callable[[int], Iterator[Tensor]], note: Mapping[str, Any]) -> Tensor:
        """All rows, mapped; what is missing is computed first, by one process at a time.

        Args:
            compute: `compute(start)` gives the blocks from a row on.
            note: What the rows are; it is laid beside the file as JSON.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        if not self.is_whole():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with one_process(self.path.with_suffix(".lock"), self.what):
                if not self.is_whole():  # the other process, if there was one, may have done it
                    write(self.path.with_suffix(".json"), lambda path: path.write_text(json.dumps(note, indent=1)))
                    try:
                        self.fill(compute)
                    except ValueError:  # of bad data; mended data have another name
                        self.discard()
                        raise
        return self.load()

    def discard(self) -> None:
        """Removes what was begun, and the folder if nothing else is in it."""
        for suffix in (".partial", ".json", ".lock"):
            self.path.with_suffix(suffix).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def fill(self, compute: Callable[[int], Iterator[Tensor]]) -> None:
        """Writes what is missing: `compute(start)` gives the blocks from a row on.

        Raises:
            OSError: The disk is full, or the folder cannot be written; what is written stays for the next time.
        """
        growing, began = self.path.with_suffix(".partial"), time.perf_counter()
        body = self.found_size(growing) - self.size(0)
        start = body // (self.size(self.block) - self.size(0)) * self.block
        start = start if 0 < start <= self.shape[0] else 0
        with growing.open("r+b" if start else "wb") as file, closing(compute(start)) as blocks:
            file.write(self.header)
            file.truncate(self.size(start))
            file.seek(0, os.SEEK_END)
            for block in self.watch(blocks, start):
                file.write(block.numpy())
                file.flush()
            os.fsync(file.fileno())  # on the disk before it bears the name
        replace(growing, self.path)
        seconds, rows = time.perf_counter() - began, self.shape[0] - start
        if seconds > 2:
            print(f"{self.what}: {rows:,} items in {seconds:.0f} s ({rows / seconds:.0f} a second), now in {self.path}")

    def watch(self, blocks: Iterator[Tensor], start: int = 0) -> Iterator[Tensor]:
        """A progress bar in a terminal or a notebook, for what takes more than two seconds; it vanishes when done."""
        if not sys.stdout.isatty() and "ipykernel" not in sys.modules:
            return blocks
        look = dict(unit=f" {self.what}", unit_scale=self.block, leave=False, delay=2, mininterval=2, file=sys.stdout)
        total = math.ceil(self.shape[0] / self.block)
        return tqdm(blocks, self.what, total, initial=start // self.block, **look)


@contextmanager
def one_process(path: Path, what: str) -> Iterator[None]:
    """Waits until no other process holds this lock; the system lets go of it when its process dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{what}: another process is computing the same; waiting for it")
        lock.acquire()
    except NotImplementedError as error:  # some mounted drives have no locks
        raise OSError(f"no locks there: {error}") from None
    try:
        yield
    finally:
        lock.release()

"""Where the files of a run lie, and how each of them is put in place: whole or not at all. No torch."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from relahash_nb.config import RunConfig, project_path

SECONDS: dict[str, float] = {}  # by stage, of the run that this process is working on; `save_run` writes them


def timed(stage: str) -> Callable[[Callable], Callable]:
    """A decorator that adds the seconds of each call to `SECONDS`."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            SECONDS[stage] = SECONDS.get(stage, 0.0) + time.perf_counter() - start
            return result

        return call

    return decorate


def run_folder(config: RunConfig) -> Path:
    """Where a config's run lies, or will; see `project_path`."""
    return project_path(config.results_dir) / "runs" / config.run_id


def checkpoint_path(config: RunConfig) -> Path:
    """Where the checkpoint of a config's run lies while it trains."""
    return run_folder(config) / "checkpoint.pt"


def remove_checkpoint(config: RunConfig) -> None:
    """Removes the checkpoint of a config's run, and what a killed process left of one half written."""
    checkpoint_path(config).unlink(missing_ok=True)
    remove_torn(checkpoint_path(config))


@contextmanager
def lock_file(path: Path, seconds: float = 0.0) -> Iterator[None]:
    """Holds a lock on a file within a `with`, or until this process ends; the same process may take it again.

    Raises:
        Timeout: Another process holds it for longer than `seconds`.
    """
    lock = FileLock(path, is_singleton=True)
    with suppress(NotImplementedError):  # some mounted drives have no locks; there a run must not be started twice
        lock.acquire(timeout=seconds)
    try:
        yield
    finally:
        lock.release()


def write(path: Path, writer: Callable[[Path], Any]) -> None:
    """Lets `writer` fill a temporary file beside `path`, then renames it: the file is there whole or not at all.

    Raises:
        OSError: The disk is full, or the folder cannot be written; what was at `path` is still there.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        writer(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before it has the name, or a power cut leaves an empty file
        replace(temporary, path)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise
    finally:
        temporary.unlink(missing_ok=True)


def replace(temporary: Path, path: Path) -> None:
    """Renames over an existing file; where a mounted drive refuses that, the old file is removed first."""
    try:
        temporary.replace(path)
    except (FileExistsError, PermissionError):
        path.unlink()
        temporary.rename(path)


def remove_torn(path: Path) -> None:
    """Removes what processes that were killed while they wrote `path` left beside it."""
    for torn in path.parent.glob(f".*-{path.name}"):
        torn.unlink(missing_ok=True)

"""Where the files of a run lie, and how each of them is put in place: whole or not at all. No torch."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.paths import project_path

SECONDS: dict[str, float] = {}  # by stage, of the run that this process is working on; `save_run` writes them


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Adds the seconds within a `with`, or of each call of a function that it decorates, to `SECONDS`."""
    start = time.perf_counter()
    yield
    SECONDS[stage] = SECONDS.get(stage, 0.0) + time.perf_counter() - start


def watch(batches: Iterable, total: int, what: str) -> Iterable:
    """A progress bar in a terminal or a notebook, for what takes more than two seconds; it vanishes when done."""
    if not sys.stdout.isatty() and "ipykernel" not in sys.modules:
        return batches
    return tqdm(batches, what, total, leave=False, delay=2, mininterval=2, file=sys.stdout)


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
def lock_file(path: Path, seconds: float = 0.0, waiting: str = "") -> Iterator[bool]:
    """Holds a lock on a file, which the same process may take again; False where a mounted drive has no locks.

    Where another process holds it for longer than `seconds`, `waiting` is printed and it is waited for; without such
    a text a Timeout is raised.
    """
    lock = FileLock(path, is_singleton=True)  # the system releases it when its process dies
    try:
        lock.acquire(timeout=seconds)
    except NotImplementedError:
        pass  # some mounted drives have no locks; there a run must not be started twice
    except Timeout:
        if not waiting:
            raise
        print(waiting)
        lock.acquire()
    try:
        yield lock.is_locked
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
        try:
            temporary.replace(path)
        except (FileExistsError, PermissionError):  # a mounted drive that renames over no existing file
            path.unlink()
            temporary.rename(path)
    except OSError as error:
        if error.filename in (None, str(temporary)) and error.errno is not None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_torn(path: Path) -> None:
    """Removes what processes that were killed while they wrote `path` left beside it."""
    for torn in path.parent.glob(f".*-{path.name}"):
        torn.unlink(missing_ok=True)

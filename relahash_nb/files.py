"""Where the files of a run lie, and how they are written: whole or not at all. Seconds and progress. No torch."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.paths import project_path

Item = TypeVar("Item")
NO_LOCKS = {  # what a drive without locks answers: NFS without lockd, FUSE, and mounts of containers
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
}

FAILURE = "failed.txt"  # in the folder of a run that failed, with the error


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the duration of a `with` block, in seconds, to `seconds[stage]`; a block that raises is not counted.

    Example:
        >>> seconds = {}
        >>> with timed(seconds, "encoding"):
        ...     total = sum(range(1_000))
        >>> list(seconds)
        ['encoding']
    """
    start = time.perf_counter()
    yield
    duration = time.perf_counter() - start
    seconds[stage] = seconds.get(stage, 0.0) + duration


def watch(batches: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """Show a progress bar for work of more than two seconds, in a terminal or a notebook; it vanishes at the end.

    Args:
        batches: What is iterated over; the same items come out.
        total: How many items there are.
        what: One word that stands before the bar.
    """
    has_viewer = sys.stdout.isatty() or "ipykernel" in sys.modules
    if not has_viewer:
        return batches
    return tqdm(batches, what, total, leave=False, delay=2, mininterval=2, file=sys.stdout)


def run_folder(config: RunConfig) -> Path:
    """The folder of a config's run, whether it exists yet or not; see `project_path`."""
    return project_path(config.results_dir) / "runs" / config.run_id


def checkpoint_path(config: RunConfig) -> Path:
    """The file that holds the checkpoint of a config's run while it trains."""
    return run_folder(config) / "checkpoint.pt"


def remove_checkpoint(config: RunConfig) -> None:
    """Remove the checkpoint of a config's run, and what a killed process left of a half-written one."""
    path = checkpoint_path(config)
    path.unlink(missing_ok=True)
    remove_torn(path)


def check_writable(folder: Path) -> None:
    """Make a folder, and write to it once: a full disk, or one that can only be read, is known before the work.

    Raises:
        OSError: The folder cannot be made or written to; the error names it.
    """
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(probe, lambda temporary: temporary.write_bytes(bytes(1_024)))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def acquire(lock: BaseFileLock, seconds: float, unguarded: str) -> None:
    """Take a lock; where the drive has none, a line says what is then not guarded, and work goes on without it.

    Args:
        lock: Taken already by this process, it stays as it is.
        seconds: How long to wait for another process that holds it.
        unguarded: What may go wrong without a lock; where it is empty, nothing is said.

    Raises:
        OSError: The lock's file cannot be made.
        Timeout: Another process held the lock all the time.
    """
    try:
        lock.acquire(timeout=seconds)
    except (OSError, NotImplementedError) as error:
        is_timeout = isinstance(error, Timeout)  # which is an OSError
        is_without = isinstance(error, NotImplementedError) or error.errno in NO_LOCKS
        if is_timeout or not is_without:
            raise
        if unguarded:
            print(f"{Path(lock.lock_file).parent}: this drive has no file locks ({error}); {unguarded}")


@contextmanager
def lock_file(path: Path, seconds: float = 0.0, waiting: str = "", unguarded: str = "") -> Iterator[bool]:
    """Hold a lock on a file for a `with` block; the system releases it when the process dies.

    Args:
        path: The lock's file, which is made where it does not exist. The same process may lock it again.
        seconds: How long to wait for another process that holds the lock.
        waiting: Printed after that time, where there is such a text; then it waits for as long as it takes.
        unguarded: As of `acquire`.

    Yields:
        Whether the file is locked: some mounted drives have no locks.

    Raises:
        OSError: The file cannot be made.
        Timeout: Another process held the lock all the time, and there is no text.
    """
    lock = FileLock(path, is_singleton=True)
    try:
        acquire(lock, seconds, unguarded)
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
    """Let `writer` fill a temporary file beside `path`, then rename it: the file is whole, or it is as it was before.

    Raises:
        OSError: The disk is full, or the folder cannot be written to. The error names `path`.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        writer(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before it has the name, or a power cut leaves an empty file
        rename_over(temporary, path)
    except OSError as error:
        is_unnamed = error.filename in (None, str(temporary))  # a full disk does not say which file it was
        if is_unnamed and error.errno is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def rename_over(source: Path, target: Path) -> None:
    """Give a file the name of another one, which may exist."""
    try:
        source.replace(target)
    except (FileExistsError, PermissionError):  # a mounted drive that renames over no existing file
        target.unlink()
        source.rename(target)


def remove_torn(path: Path) -> None:
    """Remove the temporary files that `write` left beside `path` where its process was killed."""
    for torn in path.parent.glob(f".*-{path.name}"):
        torn.unlink(missing_ok=True)

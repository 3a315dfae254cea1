"""Where the files of a run lie, and how each of them is put in place: whole or not at all. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relahash_nb.config import RunConfig


def project_path(name: Path | str) -> Path:
    """A relative folder's place: in this project where the working directory lies in its checkout, else as it is."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        file = folder / "pyproject.toml"
        if file.is_file() and 'name = "relahash-nb"' in file.read_text(errors="replace"):
            return folder / name
    return Path(name)


def run_folder(config: RunConfig) -> Path:
    """Where a config's run lies, or will.

    Example:
        >>> run_folder(RunConfig(bits=32)).as_posix()
        'results/runs/fashion_mini-32bits-relahash-seed0-e2b74f2e'
    """
    return Path(config.results_dir, "runs", config.run_id)


def checkpoint_path(config: RunConfig) -> Path:
    """Where the checkpoint of a config's run lies while it trains.

    Example:
        >>> checkpoint_path(RunConfig(bits=32)).name
        'checkpoint.pt'
    """
    return run_folder(config) / "checkpoint.pt"


def remove_checkpoint(config: RunConfig) -> None:
    """Removes the checkpoint of a config's run, and what a killed process left of one half written.

    Raises:
        OSError: There is one, and it cannot be removed.
    """
    checkpoint_path(config).unlink(missing_ok=True)
    remove_torn(checkpoint_path(config))


def write(path: Path, writer: Callable[[Path], Any]) -> None:
    """Lets `writer` fill a temporary file beside `path`, then puts it in place: whole or not at all.

    Args:
        path: In a folder that exists.
        writer: Called with the temporary file's path.

    Raises:
        OSError: The disk is full, or the folder cannot be written; what was at `path` is still there.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        writer(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before it bears the name, or a power cut leaves the name alone
        replace(temporary, path)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise
    finally:
        temporary.unlink(missing_ok=True)


def replace(temporary: Path, path: Path) -> None:
    """Renames over an existing file; where a mounted drive refuses just that, the old file makes room first."""
    try:
        temporary.replace(path)
    except (FileExistsError, PermissionError):
        path.unlink()
        temporary.rename(path)


def remove_torn(path: Path) -> None:
    """Removes what processes that were killed while they wrote `path` left beside it."""
    for torn in path.parent.glob(f".*-{path.name}"):
        torn.unlink(missing_ok=True)

"""The checkpoint of a run: all that changes while it trains, in one file that is there as a whole or not at all."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.files import checkpoint_path, remove_torn, write

SCHEMA = 1  # raise it when the content of a checkpoint changes


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; one line names the file and says to delete it."""


class Checkpoint:
    """Reads and writes the checkpoint of a config's run, with an identity that a later reader must share."""

    def __init__(self, config: RunConfig, identity: Callable[[], dict[str, Any]]) -> None:
        self.path, self.minutes, self.identity = checkpoint_path(config), config.checkpoint_minutes, identity
        self.last = time.monotonic()
        self.reported: set[str] = set()

    def read(self) -> dict[str, Any] | None:
        """What was written, on the CPU; None where there is nothing, or no checkpoints are wanted."""
        with suppress(OSError):  # of a drive that can only be read
            remove_torn(self.path)
        if not self.minutes or not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            found = {"schema": saved["schema"], **saved["identity"]}
        except Exception as error:  # torch raises almost anything for a damaged file
            reason = f"cannot be read ({type(error).__name__})"
        else:
            wanted = {"schema": SCHEMA, **self.identity()}
            other = [name for name, value in wanted.items() if found.get(name) != value]
            if not other:
                return saved["state"]
            reason = f"is of another run (other {', '.join(other)})"
        raise CheckpointError(f"{self.path} {reason}; delete it to train from the start")

    def write_when_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Writes a checkpoint where the last one is old enough; where that fails, training continues."""
        if not self.minutes or time.monotonic() - self.last < 60 * self.minutes:
            return
        content = {"schema": SCHEMA, "identity": self.identity(), "state": state()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, lambda temporary: torch.save(content, temporary))
            size = f"{self.path.stat().st_size / 1e6:.1f} MB"
            kind, line = "written", f"{size}, every {self.minutes:g} minutes, {self.path}"
        except (OSError, RuntimeError) as error:  # torch raises the latter where a disk is full
            reason = (str(error).splitlines() or [""])[0]
            kind, line = "failed", f"{self.path} cannot be written ({reason}); training continues without it"
        if kind not in self.reported:  # each once
            tqdm.write(f"checkpoint: {line}")
        self.reported.add(kind)
        self.last = time.monotonic()

"""The checkpoint of a run: all that changes while it trains, in one file that is there as a whole or not at all."""

import time
from contextlib import suppress
from typing import Any

import torch
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.files import checkpoint_path, remove_torn, write

SCHEMA = 2  # raise it when the content of a checkpoint changes


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; one line names the file and says to delete it."""


class Checkpoint:
    """The file, and when it is due. It holds a state, and the identity that a later reader must share.

    Args:
        config: Names the run's folder, and the minutes between two checkpoints; with 0 there are none.
    """

    def __init__(self, config: RunConfig) -> None:
        self.path = checkpoint_path(config)
        self.minutes = config.checkpoint_minutes
        self.last_time = time.monotonic()
        self.said: set[str] = set()

    def exists(self) -> bool:
        """Whether there is a checkpoint to continue from; a half-written one of a killed process is removed."""
        with suppress(OSError):  # of a drive that can only be read
            remove_torn(self.path)
        return self.minutes > 0 and self.path.exists()

    def read(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The state in the file, its tensors on the CPU.

        Raises:
            CheckpointError: The file cannot be read, is of another schema, or has another identity.
        """
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            found = {"schema": saved["schema"], **saved["identity"]}
            state = saved["state"]
        except Exception as error:  # torch raises almost anything for a damaged file
            raise self._unusable(f"cannot be read ({type(error).__name__})") from None
        expected = {"schema": SCHEMA, **identity}
        differing = [name for name, value in expected.items() if found.get(name) != value]
        if differing:
            raise self._unusable(f"is of another run (other {', '.join(differing)})")
        return state

    def _unusable(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.path} {reason}; delete it to train from the start")

    def is_due(self) -> bool:
        """Whether the last checkpoint, or the start, is long enough ago."""
        return self.minutes > 0 and time.monotonic() - self.last_time >= 60 * self.minutes

    def write(self, identity: dict[str, Any], state: dict[str, Any]) -> None:
        """Write the file; where that fails, a line says so, and training continues without it."""
        content = {"schema": SCHEMA, "identity": identity, "state": state}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, lambda temporary: torch.save(content, temporary))
            megabytes = self.path.stat().st_size / 1e6
            self._say_once("written", f"{megabytes:.1f} MB, every {self.minutes:g} minutes, {self.path}")
        except (OSError, RuntimeError) as error:  # torch raises the latter where a disk is full
            reason = str(error).partition("\n")[0]
            self._say_once("failed", f"{self.path} cannot be written ({reason}); training continues without it")
        self.last_time = time.monotonic()

    def _say_once(self, kind: str, line: str) -> None:
        if kind not in self.said:
            tqdm.write(f"checkpoint: {line}")
        self.said.add(kind)

"""The trials of a search on disk, so that a search goes on after a kill and several processes share it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from relahash_nb.files import lock_file
from relahash_nb.results.report import clean


class Trial(BaseModel):
    """A trial that has a score.

    Attributes:
        turn: Its place in the search, from 0; it decides what is drawn.
        drawn: What was drawn of the search space.
        values: The options that follow from it, as a run takes them.
        score: Mean average precision.
        seconds: That it took.
    """

    model_config = ConfigDict(frozen=True)

    turn: int
    drawn: dict[str, Any]
    values: dict[str, Any]
    score: float
    seconds: float


class Journal:
    """A file with a line of JSON for each finished trial.

    Processes that share it take different turns: the lock of a turn is held while its trial goes on, and the system
    releases it when a process dies, so that a trial that a kill cut off is drawn again.

    Args:
        path: The file; its folder is made, and locks lie beside it.

    Raises:
        OSError: The folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(self._lock("file"), seconds=60) as is_locked:
            if not is_locked:
                print(f"{path.parent}: cannot be locked here; do not run one search twice at a time")

    def read(self) -> dict[int, Trial]:
        """The finished trials by their turns, in this order; a last line that was cut off is dropped, and it is said.

        Raises:
            ValueError: Another line is damaged; which one is said.
        """
        with lock_file(self._lock("file"), seconds=60):
            self._drop_torn_line()
            lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        trials: dict[int, Trial] = {}
        for number, line in enumerate(lines, 1):
            try:
                trial = Trial.model_validate_json(line)
            except ValidationError:
                advice = "remove this line, or the file to search anew"
                raise ValueError(f"{self.path}: line {number} is damaged ({clean(line[:40])}); {advice}") from None
            trials.setdefault(trial.turn, trial)
        return dict(sorted(trials.items()))

    def append(self, trial: Trial) -> None:
        """Write a trial that is finished."""
        with lock_file(self._lock("file"), seconds=60):
            self._drop_torn_line()
            with self.path.open("ab") as file:
                file.write(trial.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def take(self, turns: list[int]) -> Iterator[int]:
        """Hold the lock of the first of these turns that no other process is at; where there is none, wait for one.

        Another process may have finished the turn meanwhile; `read` says so.
        """
        for turn in turns:
            with ExitStack() as stack:
                try:
                    stack.enter_context(lock_file(self._lock(f"turn{turn}")))
                except Timeout:
                    continue
                yield turn
                break
        else:
            turn = turns[0]
            waiting = f"{self.path.stem}: other processes are at the last trials; waiting for them"
            with lock_file(self._lock(f"turn{turn}"), waiting=waiting):
                yield turn
        with suppress(OSError):  # another process waits for it
            self._lock(f"turn{turn}").unlink()

    def _lock(self, what: str) -> Path:
        return self.path.with_name(f".{self.path.stem}.{what}.lock")

    def _drop_torn_line(self) -> None:
        """Cut off a last line without its end, which a process left that was killed."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            print(f"{self.path}: the last line was cut off, and is dropped: {clean(content[len(whole) :][:40])}")
            os.truncate(self.path, len(whole))

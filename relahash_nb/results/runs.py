"""A run as files: what it leaves in its folder, and how that is read again."""

from __future__ import annotations

import difflib
import json
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field

from relahash_nb.config import RunConfig, project_path
from relahash_nb.files import SECONDS, remove_checkpoint, run_folder, write
from relahash_nb.results.contents import ARRAYS, clean, collect_arrays, provenance

SCHEMA = 2  # of the files of a run; 1 is what earlier versions wrote, as "format"
WEIGHTS = ("none", "hash_layer", "trained", "all")  # from less to more
LOCKED: dict[Path, FileLock] = {}  # by this process; a lock that nobody refers to is released
SAID: set[str] = set()  # damages that this process has already named
Share = Annotated[float, Field(ge=0, le=1)]  # refuses NaN too


class Scores(BaseModel, extra="allow"):
    """The scores that every table needs."""

    mean_average_precision: Share
    best: Share
    worst: Share
    quantization_error: float


class Data(BaseModel, extra="allow"):
    """What identifies the data."""

    fingerprint: str
    class_names: list[str] = []


class Report(BaseModel, extra="allow"):
    """What `run.json` must hold."""

    run_id: str
    config: dict[str, Any]
    scores: Scores
    data: Data
    seconds: dict[str, float]
    hardware: dict[str, Any]
    versions: dict[str, Any]


def save_run(
    config: RunConfig,
    data: Any,
    codes: Mapping[str, Any],
    scores: Any,
    history: Sequence[Mapping[str, float]],
    centroids: Any,
    model: Any,
    seconds: Mapping[str, float] | None = None,
) -> Path:
    """Writes a run to `<results_dir>/runs/<run_id>/`, `run.json` last: the run exists when that does.

    Args:
        config: What was run; the resolved values are written.
        data: The `Dataset`.
        codes: `query` (Q, K) and `database` (D, K) float, before the sign.
        scores: `RetrievalScores` of these codes.
        history: A record an epoch, as `fit` gave it.
        centroids: (C, K) ±1.
        model: The `HashModel`; its `save` writes `model.safetensors`, as `save_weights` says.
        seconds: By stage; None: as `files.timed` measured them in this process.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be written; no `run.json` is left then.
    """
    config = config.resolve()
    if seconds is None:
        seconds = SECONDS | {"training": sum(record["seconds"] for record in history)}
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # a run that is repeated does not exist meanwhile
    codes = {name: np.asarray(values, dtype=np.float32) for name, values in codes.items()}
    report = {
        "schema": SCHEMA,
        "run_id": config.run_id,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": config.to_dict(),
        **provenance(data, scores, codes, config.device),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    arrays = collect_arrays(config, data, codes, centroids)
    write(folder / "config.json", lambda path: path.write_text(json.dumps(config.to_dict(), indent=1)))
    write(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    write(folder / "codes.npz", lambda path: np.savez_compressed(path, **arrays))
    model.save(folder / "model.safetensors", config)
    write(folder / "run.json", lambda path: path.write_text(json.dumps(report, indent=1)))
    with suppress(OSError):  # the run is complete, whatever becomes of its checkpoint
        remove_checkpoint(config)
    return folder


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, read from its folder.

    Attributes:
        folder: Where it lies.
        report: `run.json`.
        config: The resolved config.
        history: An epoch a row.
        arrays: `codes.npz`, read when asked for; see `collect_arrays`. ValueError where it is damaged.
    """

    folder: Path
    report: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        """What was run."""
        return RunConfig.from_saved(self.report["config"])

    @cached_property
    def history(self) -> pd.DataFrame:
        """An epoch a row; without a column where nothing was trained."""
        with named(self.folder / "history.csv") as path:
            return pd.read_csv(path) if path.read_text().strip() else pd.DataFrame()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Packed codes and targets, ids, centroids, codes before the sign, thumbnails; see `collect_arrays`."""
        with named(self.folder / "codes.npz") as path, np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in {*file.files, *ARRAYS}}

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Binary codes of `query` or `database`, (N, K) float32 of −1 and +1; and their labels, (N, C) uint8."""
        from relahash_nb.metrics import unpack

        return unpack(self.arrays[f"{split}_codes"], self.report["config"]["bits"]), self._targets(split)

    def codes_before_sign(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all queries and the database's sample, (N, K) float32; and their labels, (N, C) uint8."""
        arrays = self.arrays
        codes = np.concatenate([arrays["query_raw"], arrays["sample_raw"]]).astype(np.float32)
        return codes, np.concatenate([self._targets("query"), self._targets("database")[arrays["sample_rows"]]])

    def _targets(self, split: str) -> np.ndarray:
        return np.unpackbits(self.arrays[f"{split}_targets"], axis=1, count=len(self.report["data"]["class_names"]))

    def neighbours(self, most: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """At most `most` queries with the images nearest to them, from the thumbnails; one of each class first.

        Returns:
            Queries (S, C, h, w) uint8, nearest (S, R, C, h, w) uint8, relevant (S, R) bool, and the S queries' classes.
        """
        arrays, names = self.arrays, self.report["data"]["class_names"]
        shown = self._targets("query")[arrays["shown_queries"]]  # (S, C)
        first = [rows[0] for rows in (np.flatnonzero(column) for column in shown.T) if len(rows)]  # one of each class
        chosen = list(dict.fromkeys([*first, *range(len(shown))]))[:most]
        nearest = self._targets("database")[arrays["nearest"][chosen]]  # (S, R, C)
        labels = [", ".join(np.array(names)[row > 0]) for row in shown[chosen]]
        queries, items = (arrays[f"{kind}_thumbnails"][chosen] for kind in ("query", "nearest"))
        return (
            arrays["thumbnails"][queries],
            arrays["thumbnails"][items],
            (nearest & shown[chosen][:, None]).any(2),
            labels,
        )


@contextmanager
def named(path: Path) -> Iterator[Path]:
    """Makes one ValueError, which names the file, of whatever a damaged file raises."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        yield path
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path}: damaged ({clean(error)[:200]})") from None


def read_run(folder: Path) -> Run | None:
    """The finished run in a folder; None where there is none; ValueError where its `run.json` is damaged."""
    if not (folder / "run.json").exists():
        return None
    with named(folder / "run.json") as path:
        report = json.loads(path.read_text(encoding="utf-8"))
        names = report["data"].get("class_names", [])
        report["data"]["class_names"] = [clean(name) for name in names]  # earlier versions wrote them as they were
        Report.model_validate(report)
        RunConfig.from_saved(report["config"])
        if report["run_id"] != folder.name:
            raise ValueError(f"of run {report['run_id']}")
        if not 1 <= report.get("schema", report.get("format", 0)) <= SCHEMA:
            raise ValueError(f"schema {report.get('schema')} given; allowed: 1 to {SCHEMA}")
    return Run(folder, report)


def read_runs(results_dir: Path | str) -> list[Run]:
    """The finished runs by name; a damaged one is left out, and named once on stderr."""
    runs = []
    for folder in sorted(project_path(results_dir).glob("runs/*")):
        try:
            runs.append(read_run(folder))
        except ValueError as error:
            if str(error) not in SAID:
                print(f"left out: {error}", file=sys.stderr)
            SAID.add(str(error))
    return [run for run in runs if run is not None]


def load_run(run: Path | str, results_dir: Path | str = "results") -> Run:
    """A finished run by its folder or its id.

    Raises:
        ValueError: There is none, with the nearest ids; or its `run.json` is damaged.

    Example:
        >>> load_run("none", "no/such/folder")
        Traceback (most recent call last):
        ValueError: none: no finished run of this folder or id in no/such/folder/runs
    """
    place = project_path(results_dir) / "runs"
    for folder in (Path(run).absolute(), place / run):
        if (found := read_run(folder)) is not None:
            return found
    ids = [path.parent.name for path in (*place.glob("*/run.json"), *Path(run).parent.glob("*/run.json"))]
    close = difflib.get_close_matches(Path(run).name, set(ids), cutoff=0.4)
    hint = f"; nearest: {', '.join(close)}" if close else ""
    raise ValueError(f"{clean(run)}: no finished run of this folder or id in {Path(results_dir, 'runs')}{hint}")


def finished_runs(results_dir: Path | str = "results", first: str | None = None) -> dict[str, Run]:
    """The finished runs of a results folder by their ids, the last one finished first, or the one named `first`.

    Raises:
        ValueError: There is no finished run, and the message says which command makes one; or none of that name.
    """
    place = Path(results_dir, "runs")
    runs = sorted(read_runs(results_dir), key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
    names = {run.folder.name: run for run in runs}
    if not runs:
        raise ValueError(f"no finished run in {place}; `relahash train` makes one, `make study` those of the study")
    if first not in (None, *names):
        raise ValueError(f"run_id: {first!r} given; finished in {place}: {', '.join(names)}")
    return names if first is None else {first: names[first], **names}


def find_run(config: RunConfig) -> Run | None:
    """The finished run of a config, or None: also where it kept fewer weights or scored at other epochs than asked."""
    try:
        run = read_run(run_folder(config))
    except ValueError:
        return None  # it is damaged, so it is run again
    if run is None:
        return None
    config, there = config.resolve(), run.config
    same = there.setting() == config.setting() and there.seed == config.seed
    if config.root is not None:  # two folders with one last name have one run id
        same &= Path(there.root).resolve() == Path(config.root).resolve()
    same &= WEIGHTS.index(config.save_weights) <= WEIGHTS.index(there.save_weights)
    return run if same and config.eval_interval in (0, there.eval_interval) else None


def lock_run(config: RunConfig, data: Any, seconds: float = 20.0) -> None:
    """Makes this process the only one that may write a run, until it ends; the system releases the lock if it dies.

    Args:
        config: The run.
        data: Its `Dataset`. A run's id has the last name of its root alone, so what is there may be of other data.
        seconds: To wait for another process, such as the kernel of a sweep that was killed a moment ago.

    Raises:
        ValueError: Another process is still writing the run, or a finished one on other data is there.
    """
    folder, there = run_folder(config), None
    with suppress(ValueError):  # a damaged one may be written over
        there = read_run(folder)
    if there is not None and there.report["data"]["fingerprint"] != data.fingerprint():
        raise ValueError(f"{folder}: is a finished run on other data, and stays; use another results_dir, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock", is_singleton=True)  # a notebook that locks twice is let through
    try:
        if not lock.is_locked:
            lock.acquire(timeout=seconds)
    except Timeout:
        raise ValueError(f"{folder}: another process is writing this run; wait for it, or change a parameter") from None
    except (OSError, NotImplementedError) as error:  # some mounted drives have no locks
        print(f"{folder}: cannot be locked here ({error}); do not run it twice at a time")
    LOCKED[folder] = lock

"""A finished run: how its files are read, found and kept from two writers."""

import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout

from relahash_nb.config import RunConfig
from relahash_nb.files import acquire, run_folder
from relahash_nb.paths import local_path, project_path
from relahash_nb.registry import nearest_names, source_digest
from relahash_nb.results.arrays import read_arrays
from relahash_nb.results.report import Report, clean

WEIGHTS = ("none", "trained", "all")  # from less to more
# What a damaged file makes Python, NumPy and pandas raise.
DAMAGE = (
    *(OSError, EOFError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, SyntaxError),
)


class RunTaken(ValueError):
    """Another process is writing the run."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder, and its `run.json`.

    All else is read when it is asked for; a ValueError names a file that is damaged.
    """

    folder: Path
    report: Report

    @property
    def config(self) -> RunConfig:
        """What was run."""
        return RunConfig.from_saved(self.report.config)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch; without a column where nothing was trained."""
        with named(self.folder / "history.csv") as path:
            if not path.read_text(encoding="utf-8").strip():
                return pd.DataFrame()
            return pd.read_csv(path)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Packed codes and targets, ids, centroids, codes before the sign, thumbnails; see `saving.collect_arrays`."""
        with named(self.folder / "codes.npz") as path:
            return read_arrays(path, self.report)

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Binary codes of `query` or `database`, (N, K) float32 of −1 and +1; and their labels, (N, C) uint8."""
        if split not in ("query", "database"):
            raise ValueError(f"split: {split!r} given; allowed: query, database")
        from relahash_nb.metrics import unpack

        return unpack(self.arrays[f"{split}_codes"], self.config.bits), self._targets(split)

    def codes_before_sign(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all queries and the database's sample, (N, K) float32; and their labels, (N, C) uint8."""
        codes = np.concatenate([self.arrays["query_raw"], self.arrays["sample_raw"]])
        sample_targets = self._targets("database")[self.arrays["sample_rows"]]
        return codes.astype(np.float32), np.concatenate([self._targets("query"), sample_targets])

    def _targets(self, split: str) -> np.ndarray:
        return np.unpackbits(self.arrays[f"{split}_targets"], axis=1, count=len(self.report.data.class_names))

    def neighbours(self, most: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str], np.ndarray]:
        """Queries with the images nearest to them, as thumbnails; one query of each class comes first.

        Args:
            most: Queries at most.

        Returns:
            Queries (S, C, h, w) uint8, nearest (S, R, C, h, w) uint8, relevant (S, R) bool, the classes of the S
            queries by name, and the Hamming distances (S, R) int64.
        """
        arrays = self.arrays
        query_codes, targets = (values[arrays["shown_queries"]] for values in self.codes("query"))  # (S, K), (S, C)
        database_codes, database_targets = self.codes("database")
        first_of_class = [int(np.flatnonzero(column)[0]) for column in targets.T if column.any()]
        chosen = list(dict.fromkeys([*first_of_class, *range(len(targets))]))[:most]
        queries = arrays["thumbnails"][arrays["query_thumbnails"][chosen]]
        nearest = arrays["thumbnails"][arrays["nearest_thumbnails"][chosen]]
        items = arrays["nearest"][chosen]  # (S, R)
        relevant = (database_targets[items] & targets[chosen][:, None]).any(2)
        distances = (database_codes[items] != query_codes[chosen][:, None]).sum(2)
        class_names = np.array(self.report.data.class_names)
        titles = [", ".join(class_names[row > 0]) for row in targets[chosen]]
        return queries, nearest, relevant, titles, distances


@contextmanager
def named(path: Path) -> Iterator[Path]:
    """Makes one ValueError, which names the file, of whatever a damaged file raises."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        yield path
    except DAMAGE as error:
        raise ValueError(f"{path}: damaged ({clean(error)[:200]})") from None


def read_run(folder: Path) -> Run | None:
    """The finished run in a folder; None where there is none; ValueError where its `run.json` is damaged."""
    if not (folder / "run.json").exists():
        return None
    with named(folder / "run.json") as path:
        report = Report.from_json(path.read_text(encoding="utf-8"))
        if report.run_id != folder.name:
            raise ValueError(f"of run {report.run_id}")
        run = Run(folder, report)
        _ = run.config  # refuses options that are not allowed
        return run


def read_runs(results_dir: Path | str) -> Iterator[Run]:
    """The finished runs of a results folder by name; a damaged one is left out, and named on stderr."""
    for folder in sorted(project_path(results_dir).glob("runs/*")):
        try:
            run = read_run(folder)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if run is not None:
            yield run


def finished_runs(results_dir: Path | str = "results", first: str | None = None) -> dict[str, Run]:
    """The finished runs of a results folder by their ids, the one that finished last first.

    Args:
        results_dir: The folder that holds `runs/`.
        first: The id of a run that comes before the others.

    Raises:
        ValueError: There is no run, and it is said which command makes one; or none has the id `first`.
    """
    place = (project_path(results_dir) / "runs").absolute()
    latest = sorted(read_runs(results_dir), key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
    runs = {run.folder.name: run for run in latest}
    if not runs:
        raise ValueError(f"no finished run in {place}; `relahash train` makes one, `make study` those of the study")
    if first is None:
        return runs
    if first not in runs:
        raise ValueError(f"run_id: {first!r} given; finished in {place}: {', '.join(runs)}")
    return {first: runs[first], **runs}


def load_run(run: Path | str, results_dir: Path | str = "results") -> Run:
    """A finished run by its folder or its id.

    Raises:
        ValueError: There is no such run, and it is said which id is like this one; or its `run.json` is damaged.
    """
    place = project_path(results_dir) / "runs"
    for folder in (Path(local_path(run)).absolute(), place / run):
        found = read_run(folder)
        if found is not None:
            return found
    files = [*place.glob("*/run.json"), *Path(run).parent.glob("*/run.json")]
    hint = nearest_names(Path(run).name, {file.parent.name for file in files})
    raise ValueError(f"{clean(run)}: no finished run of this folder or id in {Path(results_dir, 'runs')}{hint}")


def find_run(config: RunConfig) -> Run | None:
    """The finished run of a config; None also where it kept fewer weights, or has other scores, than asked."""
    try:
        run = read_run(run_folder(config))
    except ValueError:  # a damaged one is run again
        return None
    if run is None:
        return None
    existing = run.config
    is_same = existing.setting() == config.setting() and existing.seed == config.seed
    is_same = is_same and is_same_root(existing.root, config.root)
    keeps_enough = WEIGHTS.index(config.save_weights) <= WEIGHTS.index(existing.save_weights)
    scores_enough = config.eval_interval in (0, existing.eval_interval)
    has_metrics = config.metrics in (None, existing.metrics)
    return run if is_same and keeps_enough and scores_enough and has_metrics else None


def changed_sources(run: Run) -> list[str]:
    """The code of one's own whose file has changed since the run was made; an older run does not say which it was."""
    sources = run.report.sources
    return [name for name, digest in sources.items() if digest and digest != source_digest(name)]


def is_same_root(first: str | None, second: str | None) -> bool:
    """Whether two roots are one folder; two folders with one last name have one run id."""
    if first is None or second is None:
        return first == second
    return Path(first).resolve() == Path(second).resolve()


def lock_run(config: RunConfig, data: Any, seconds: float = 20.0) -> BaseFileLock:
    """Makes this process the only one that may write a run, for as long as it keeps the lock.

    Args:
        config: What is run.
        data: The `Dataset`.
        seconds: How long another process that is writing the run is waited for.

    Returns:
        The lock; `release()` gives it up. So does dropping it, and the system does where the process dies.

    Raises:
        RunTaken: Another process is still writing the run.
        ValueError: A finished run on other data has the same id, which holds only the last name of its root.
    """
    folder = run_folder(config)
    existing = None
    with suppress(ValueError):  # a damaged one may be written over
        existing = read_run(folder)
    if existing is not None and existing.report.data.fingerprint != data.fingerprint():
        raise ValueError(f"{folder}: is a finished run on other data, and stays; use another results_dir, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock", is_singleton=True)  # the same process gets the same one again
    try:
        if not lock.is_locked:
            acquire(lock, seconds, "do not run this twice at a time")
    except Timeout:
        raise RunTaken(f"{folder}: another process is writing this run; wait for it, or change a parameter") from None
    return lock

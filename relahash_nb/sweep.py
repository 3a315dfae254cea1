"""The grid: papermill executes a notebook for each run, here or on a cluster; finished runs are skipped."""

import functools
import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from filelock import Timeout

from relahash_nb.cluster import on_cluster
from relahash_nb.config import TUNED_FIELDS, RunConfig
from relahash_nb.files import lock_file, run_folder, write
from relahash_nb.notebooks import RunFailed, execute_notebook
from relahash_nb.results import Run, find_run, load_run, lock_run
from relahash_nb.results.runs import describe_hardware
from relahash_nb.results.tables import SHARED, describe_setting, matching

NOTEBOOK = "01_train.ipynb"
LOG, FAILURE = "log.txt", "failed.txt"  # beside the notebook, of a run in a sweep
LOG_LINES = 15  # of the log that are kept with a failure
POLL_SECONDS = 2.0  # between looks at a run that another process is writing
MOST_RUNS = 10_000  # of one grid


@dataclass(frozen=True)
class Outcome:
    """What became of one run of a sweep: it is there, or it failed with an error."""

    config: RunConfig
    run: Run | None
    error: str = ""


def expand(values: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Every combination of values of `RunConfig`'s fields, as configs; the first name varies slowest.

    Raises:
        ValueError: A name is no field, a value is not allowed, there are more than 10,000 combinations, or two roots
            would give one run id.

    Example:
        >>> [config.bits for config in expand({"bits": [16, 32], "seed": [0]})]
        [16, 32]
    """
    count = math.prod(len(several) for several in values.values())
    if count > MOST_RUNS:
        raise ValueError(f"{count:,} runs given; allowed: {MOST_RUNS:,} in one sweep")
    if len(values.get("results_dir", ())) > 1:
        raise ValueError(f"results_dir: {', '.join(values['results_dir'])} given; a sweep has one")
    unique: dict[str, RunConfig] = {}
    for chosen in itertools.product(*values.values()):
        config = RunConfig(**dict(zip(values, chosen, strict=True)))
        other = unique.setdefault(config.run_id, config)
        if other.root != config.root:
            both = f"{other.root!r} and {config.root!r}"
            raise ValueError(f"root: {both} end in one name, which tells runs apart; rename one")
    return list(unique.values())


def sweep(
    configs: Sequence[RunConfig],
    workers: int | None = None,
    scheduler: str | None = None,
    minutes: float | None = None,
    notebooks: bool = True,
) -> list[Outcome]:
    """Executes the runs that are not there yet, one after another or on a Dask cluster, and prints a line for each.

    Args:
        configs: What to run.
        workers: Processes of a local Dask cluster; None: this process alone.
        scheduler: Address of a Dask scheduler, such as `tcp://host:8786`, instead.
        minutes: That one cell may take; None: no limit.
        notebooks: Execute a notebook for each run; without, runs share this process, their data and features.

    Returns:
        The outcomes, in the order of the configs.
    """
    outcomes = {config.run_id: Outcome(config, find_run(config)) for config in configs}
    missing = [config for config in configs if outcomes[config.run_id].run is None]
    for outcome in outcomes.values():
        if outcome.run is not None:
            print(f"{outcome.config.run_id}: done before, {describe_run(outcome.run)}", flush=True)
    print(f"{len(missing)} of {len(outcomes)} runs to do", flush=True)
    start = time.perf_counter()
    cluster = workers, scheduler
    finished = run_shared(missing, minutes, *cluster) if any(cluster) else run_serial(missing, minutes, notebooks)
    for number, outcome in enumerate(finished, 1):
        outcomes[outcome.config.run_id] = outcome
        left = (time.perf_counter() - start) / number * (len(missing) - number)
        what = describe_run(outcome.run) if outcome.run else f"failed: {outcome.error.splitlines()[0]}"
        print(f"[{number}/{len(missing)}] {outcome.config.run_id}: {what}; {left:.0f} s to go", flush=True)
    return list(outcomes.values())


def run_serial(configs: Sequence[RunConfig], minutes: float | None, notebooks: bool = True) -> Iterator[Outcome]:
    """The runs one after another in this process; what another process is writing is waited for at the end."""
    waiting = list(configs)
    while waiting:
        taken = []
        for config in waiting:
            if (outcome := attempt(config, minutes, notebooks)) is None:
                taken.append(config)
            else:
                yield outcome
        if len(taken) == len(waiting):
            time.sleep(POLL_SECONDS)
        waiting = taken


def run_shared(configs: Sequence[RunConfig], minutes: float | None, *cluster: Any) -> Iterator[Outcome]:
    """The runs by the workers of a cluster, named as for `on_cluster`, in the order in which they end."""
    by_key = {config.run_id: config for config in configs}
    arguments = {key: (config.to_dict(), minutes) for key, config in by_key.items()}
    for future in on_cluster(attempt_on_worker, arguments, *cluster):
        yield Outcome(by_key[future.key], find_run(by_key[future.key]), str(future.exception() or ""))


def attempt_on_worker(values: Mapping[str, Any], minutes: float | None) -> None:
    """One run on a Dask worker; plain values in, files out; what it raises makes Dask try once more."""
    # Dask has its workers give freed memory back to the system at once. The kernel would inherit it, and what a network
    # frees and takes at every layer then costs half of its speed.
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    config = RunConfig(**values)
    while (outcome := attempt(config, minutes)) is None:
        time.sleep(POLL_SECONDS)
    if outcome.run is None:
        raise RunFailed(outcome.error)


def attempt(config: RunConfig, minutes: float | None = None, notebook: bool = True) -> Outcome | None:
    """One run of a sweep, with `log.txt` and `failed.txt` beside the notebook; None where another process is at it."""
    folder = run_folder(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file(folder / ".sweep.lock"):
            run = find_run(config)  # another sweep may have finished it meanwhile
            if run is not None:
                return Outcome(config, run)
            (folder / FAILURE).unlink(missing_ok=True)
            try:
                with (folder / LOG).open("w", buffering=1) as log:
                    if notebook:
                        return Outcome(config, execute(config, log, minutes))
                    with redirect_stdout(log):
                        return Outcome(config, train_here(config))
            except RunFailed as error:
                lines = (folder / LOG).read_text().splitlines()[-LOG_LINES:]
                text = "\n".join([str(error), "", "The last lines of its log:", *lines, ""])
                write(folder / FAILURE, lambda path: path.write_text(text))
                return Outcome(config, None, str(error))
    except Timeout:
        return None
    except OSError as error:  # the disk is full, or cannot be written
        return Outcome(config, None, str(error))


def execute(config: RunConfig, output: TextIO | None = None, minutes: float | None = None) -> Run:
    """Executes the training notebook for one config, into the run's folder; RunFailed as of `execute_notebook`.

    It is raised too where another process is at this run, or its folder cannot be written.
    """
    folder, defaults = run_folder(config), RunConfig().to_dict()
    chosen = {name: value for name, value in config.to_dict().items() if value != defaults[name]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file(folder / ".sweep.lock"):
            try:
                execute_notebook(NOTEBOOK, folder / NOTEBOOK, chosen, output, minutes)
            except KeyboardInterrupt:
                discard(folder)
                raise
    except Timeout:
        raise RunFailed(f"{folder}: another process is at this run; wait for it, or change an option") from None
    except OSError as error:
        raise RunFailed(str(error)) from None
    if (run := find_run(config)) is None:
        what = f"the notebook came to its end without writing {folder / 'run.json'}"
        raise RunFailed(f"{what}\nThe partial notebook: {folder / NOTEBOOK}")
    return run


def train_here(config: RunConfig) -> Run:
    """One run in this process, without a notebook; the data and fixed features of the last one serve again."""
    from relahash_nb import features, files, losses, models, results, training

    files.SECONDS.clear()
    try:
        data, fixed = load_shared(config)
        lock_run(config, data)
        model = models.build_model(config)
        goals = features.class_centroids(model, data, config, fixed)
        history = training.fit(model, losses.build_loss(config, goals), data, config, fixed)
        codes = training.encode_splits(model, data, config, fixed)
        scores = training.score(codes["query"], codes["database"], data.query, data.database, config)
        return load_run(results.save_run(config, data, codes, scores, history, goals, model))
    except (ValueError, FloatingPointError) as error:
        raise RunFailed(str(error)) from None


def load_shared(config: RunConfig) -> tuple[Any, Any]:
    """A data set, and its pool's features where the backbone is fixed; those of the last call, where they serve."""
    # What neither depends on.
    free = (*TUNED_FIELDS, "loss", "bits", "centroids", "centroid_seed", "seed", "schedule", "ema", "tuning")
    usual = {name: RunConfig.model_fields[name].default for name in free} | {"batch_size": 2}  # the trainer checks it
    return _load(config.replace(**usual | {"finetune": config.resolve().finetune}))


@functools.lru_cache(maxsize=1)
def _load(config: RunConfig) -> tuple[Any, Any]:
    from relahash_nb import datasets, features, models

    data = features.decode_images(datasets.load_dataset(config), config)
    fixed = None if config.resolve().finetune else features.pool_features(models.build_model(config), data, config)
    return data, fixed


def discard(folder: Path) -> None:
    """Removes what an interrupted run has left but its checkpoint; nothing where a notebook in Jupyter is at it."""
    try:
        with lock_file(folder / ".run.lock", seconds=2.0):
            for name in (NOTEBOOK, LOG, ".run.lock", ".sweep.lock"):
                (folder / name).unlink(missing_ok=True)
    except Timeout:
        return
    with suppress(OSError):  # there is a checkpoint
        folder.rmdir()


def plan(configs: Sequence[RunConfig], finished: pd.DataFrame) -> str:
    """The runs, which of them are done, and what the rest will take; `finished` is as `load_runs` gives it."""
    lines, total, unknown = [], 0.0, 0
    for config in configs:
        if find_run(config) is not None:
            lines.append(f"{config.run_id}: done")
            continue
        seconds = expected_seconds(config, finished)
        total, unknown = total + (seconds or 0), unknown + (seconds is None)
        lines.append(f"{config.run_id}: to do" + ("" if seconds is None else f", about {seconds:.0f} s"))
    to_do = sum(": to do" in line for line in lines)
    estimate = f": about {total:.0f} s" if unknown < to_do else ""
    estimate += f"; no time is known for {unknown} of them, as no run like them has finished" if unknown else ""
    return "\n".join([*lines, f"{len(lines) - to_do} done, {to_do} to do{estimate}"])


def expected_seconds(config: RunConfig, finished: pd.DataFrame) -> float | None:
    """Median over the finished runs of other methods or bits in the same setting, on such a machine; None without."""
    if finished.empty:
        return None
    here = describe_setting(config) | describe_hardware(config.device)
    names = ["data", *SHARED, "processor", "cores", "accelerator"]
    seeds = ("fingerprint", "split_seed", "centroid_seed")  # which take no time
    alike = matching(finished, {name: here[name] for name in names if name not in seeds})
    seconds = alike[[name for name in finished if name.startswith("seconds_")]].sum(axis=1)
    return float(seconds.median()) if len(seconds) else None


def read_grid(path: Path) -> dict[str, list[Any]]:
    """The fields of a sweep in a YAML file, each with its list of values; a ValueError names the file."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        grid = yaml.safe_load(text)
        if not isinstance(grid, dict) or not all(isinstance(name, str) for name in grid):
            raise ValueError("expected names and values, as in 'bits: [16, 32]'")
        names = [name.value for name, _ in yaml.compose(text).value]
        if twice := [name for name in grid if names.count(name) > 1]:
            raise ValueError(f"{twice[0]}: given twice")
        values = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
        for name, several in values.items():
            if not several or any(isinstance(one, list) for one in several):
                raise ValueError(f"{name}: expected a value, or a list of values")
            values[name] = [RunConfig.read_text(name, one) if isinstance(one, str) else one for one in several]
            for one in values[name]:
                RunConfig(**{name: one})
        return values
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ValueError(f"{path}: {reason}") from None


def describe_run(run: Run) -> str:
    """One line: the score with its tie bounds, and the seconds."""
    scores = run.report["scores"]
    bounds = f"{scores['worst']:.4f} to {scores['best']:.4f} by the order of ties"
    return f"mAP {scores['mean_average_precision']:.4f} ({bounds}), {sum(run.report['seconds'].values()):.0f} s"

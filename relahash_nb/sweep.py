"""The grid: papermill executes a notebook for each run, here or on a cluster; finished runs are skipped."""

import functools
import itertools
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from filelock import Timeout

from relahash_nb.cluster import on_cluster
from relahash_nb.config import RunConfig
from relahash_nb.failures import explain
from relahash_nb.files import FAILURE, check_writable, lock_file, rename_over, run_folder, write
from relahash_nb.notebooks import Kernels, RunFailed, execute_at_once, execute_notebook, split_parameters
from relahash_nb.results import Run, RunTaken, changed_sources, find_run, load_run
from relahash_nb.threads import available_cores

NOTEBOOK = "01_train.ipynb"
PARTIAL = "01_train.partial.ipynb"  # until it has come to its end
LOG = "log.txt"  # beside the notebook, of a run in a sweep
LOG_LINES = 15  # of the log that are kept with a failure
POLL_SECONDS = 2.0  # between looks at a run that another process is writing
MOST_RUNS = 10_000  # of one grid
# What a data set and its fixed features depend on.
SHARED_FIELDS = (
    *("dataset", "protocol", "root", "holdout", "truncated", "validation_per_class", "split_seed", "drop_self_matches"),
    *("backbone", "weights", "finetune", "image_size", "augment", "dropout", "precision", "device", "data_dir"),
)


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
        first = unique.setdefault(config.run_id, config)
        if first.root != config.root:
            roots = f"{first.root!r} and {config.root!r}"
            raise ValueError(f"root: {roots} have the same last name, by which runs are told apart; rename one")
    return list(unique.values())


def sweep(
    configs: Sequence[RunConfig],
    jobs: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    minutes: float | None = None,
    notebooks: bool = True,
) -> list[Outcome]:
    """Executes the runs that are not there yet, as many at once as the cores allow, and prints a line for each.

    Args:
        configs: What to run.
        jobs: Runs at once in this process; None: `runs_at_once(configs)`.
        workers: Processes of a local Dask cluster instead.
        scheduler: Address of a Dask scheduler, such as `tcp://host:8786`, instead.
        minutes: That one cell may take; None: no limit.
        notebooks: Execute a notebook for each run; without, runs share this process, their data and features, and
            follow one another.

    Returns:
        The outcomes, in the order of the configs.
    """
    outcomes = {}
    missing = []
    for config in configs:
        run = find_done(config)
        outcomes[config.run_id] = Outcome(config, run)
        if run is None:
            missing.append(config)
        else:
            print(f"{config.run_id}: done before, {describe_run(run)}", flush=True)
    print_changes(missing)
    print(f"{len(missing)} of {len(outcomes)} runs to do", flush=True)
    if workers or scheduler:
        finished = run_on_cluster(missing, minutes, workers, scheduler)
    elif notebooks:
        finished = run_here(missing, jobs or runs_at_once(missing), minutes)
    else:
        finished = run_here(missing, 1, notebooks=False)
    start = time.perf_counter()
    for number, outcome in enumerate(finished, 1):
        outcomes[outcome.config.run_id] = outcome
        left = (time.perf_counter() - start) / number * (len(missing) - number)
        result = describe_run(outcome.run) if outcome.run else f"failed: {outcome.error.splitlines()[0]}"
        print(f"[{number}/{len(missing)}] {outcome.config.run_id}: {result}; {left:.0f} s to go", flush=True)
    return list(outcomes.values())


def find_done(config: RunConfig) -> Run | None:
    """The finished run of a config; None also where the file of code of one's own has changed since."""
    run = find_run(config)
    return None if run is None or changed_sources(run) else run


def print_changes(configs: Sequence[RunConfig]) -> None:
    """A line for each run that is made again, since the file of code of one's own has changed."""
    for config in configs:
        run = find_run(config)
        if run is not None:
            print(
                f"{config.run_id}: made again, since the file of {', '.join(changed_sources(run))} has changed",
                flush=True,
            )


def runs_at_once(configs: Sequence[RunConfig]) -> int:
    """How many of these runs this machine does at once: as many as its cores have threads for; on a GPU one."""
    if any(uses_gpu(device) for device in {config.device for config in configs}):
        return 1
    threads = max((config.threads for config in configs), default=1)
    return max(1, min(available_cores() // threads, len(configs)))


def uses_gpu(device: str) -> bool:
    """Whether runs on a device take a GPU; torch, which takes a second to load, is asked where there may be one."""
    if device == "cpu" or (device == "auto" and find_library("cuda") is None):
        return False
    from relahash_nb.models import find_device

    return find_device(device).type != "cpu"


def run_here(
    configs: Sequence[RunConfig], jobs: int, minutes: float | None = None, notebooks: bool = True
) -> Iterator[Outcome]:
    """The runs in this process, as they end; what another process is writing is waited for at the end."""
    waiting = list(configs)

    def attempt_one(config: RunConfig, kernels: Kernels | None) -> Outcome | None:
        return attempt(config, minutes, notebooks, kernels)

    is_said = False
    while waiting:
        taken = []
        for config, outcome in execute_at_once(attempt_one, waiting, jobs):
            if outcome is None:
                taken.append(config)
            else:
                yield outcome
        if len(taken) == len(waiting):
            if not is_said:
                names = ", ".join(config.run_id for config in taken)
                print(f"waiting for other processes, which are writing {names}", flush=True)
                is_said = True
            time.sleep(POLL_SECONDS)
        waiting = taken


def run_on_cluster(
    configs: Sequence[RunConfig], minutes: float | None, workers: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    """The runs by the workers of a cluster, as they end."""
    by_key = {config.run_id: config for config in configs}
    arguments = {key: (config.given, minutes) for key, config in by_key.items()}
    for future in on_cluster(attempt_on_worker, arguments, workers, scheduler):
        config = by_key[future.key]
        run = find_run(config)
        missing = "" if run else f"no run.json in {run_folder(config)}: do the workers share this folder?"
        error = future.exception()
        yield Outcome(config, run, missing if error is None else str(error) or type(error).__name__)


def attempt_on_worker(values: Mapping[str, Any], minutes: float | None) -> None:
    """One run on a Dask worker; plain values in, files out; what it raises makes Dask try once more."""
    # Dask has its workers give freed memory back to the system at once. The kernel would inherit it, and what a network
    # frees and takes at every layer then costs half of its speed.
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    config = RunConfig(**values)
    outcome = attempt(config, minutes)
    while outcome is None:
        time.sleep(POLL_SECONDS)
        outcome = attempt(config, minutes)
    if outcome.run is None:
        raise RunFailed(outcome.error)


def attempt(
    config: RunConfig, minutes: float | None = None, notebook: bool = True, kernels: Kernels | None = None
) -> Outcome | None:
    """One run of a sweep, with `log.txt` and `failed.txt` beside the notebook; None where another process is at it."""
    try:
        folder = open_folder(config)
        with lock_file(folder / ".sweep.lock", unguarded="two sweeps would do the same runs"):
            run = find_done(config)  # another sweep may have finished it meanwhile
            if run is not None:
                return Outcome(config, run)
            with lock_file(folder / ".run.lock"):  # a notebook in Jupyter, or plain papermill, may be at it
                (folder / FAILURE).unlink(missing_ok=True)
            return attempt_alone(config, folder, minutes, notebook, kernels)
    except (Timeout, RunTaken):
        return None
    except RunFailed as error:
        return Outcome(config, None, str(error))
    except OSError as error:  # the disk is full, or cannot be written
        return Outcome(config, None, str(explain(error)))


def attempt_alone(
    config: RunConfig, folder: Path, minutes: float | None, notebook: bool, kernels: Kernels | None
) -> Outcome:
    """The same, where no other process is at this run."""
    try:
        with (folder / LOG).open("w", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
            if notebook:
                return Outcome(config, execute(config, log, minutes, kernels))
            with redirect_stdout(log):
                return Outcome(config, train_here(config))
    except RunFailed as error:
        run = find_run(config)
        if run is not None:  # a figure after the last score failed, or another process has finished the run
            return Outcome(config, run)
        write_failure(folder, str(error))
        return Outcome(config, None, str(error))


def open_folder(config: RunConfig) -> Path:
    """A run's folder, which is made and written to once, so that a full disk is known before the training.

    Raises:
        RunFailed: It cannot be written to; the line names the option.
    """
    folder = run_folder(config)
    try:
        check_writable(folder)
    except OSError as error:
        raise RunFailed(f"results_dir: {config.results_dir!r} given; {explain(error)}") from None
    return folder


def write_failure(folder: Path, error: str) -> None:
    """`failed.txt`: the error, and the end of the run's log."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()[-LOG_LINES:]
    text = "\n".join([error, "", "The last lines of its log:", *lines, ""])
    write(folder / FAILURE, lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace"))


def execute(
    config: RunConfig, output: TextIO | None = None, minutes: float | None = None, kernels: Kernels | None = None
) -> Run:
    """Executes the training notebook for one config, into the run's folder.

    Raises:
        RunFailed: As of `execute_notebook`; or another process is at this run, or its folder cannot be written.
    """
    try:
        folder = open_folder(config)
        with lock_file(folder / ".sweep.lock"):  # `attempt` holds it already; `relahash train` does not
            try:
                parameters = split_parameters(NOTEBOOK, config.given)
                execute_notebook(NOTEBOOK, folder / PARTIAL, parameters, output, minutes, kernels)
                rename_over(folder / PARTIAL, folder / NOTEBOOK)
            except KeyboardInterrupt:
                discard(folder)
                raise
            except RunFailed:
                if kernels is not None and kernels.are_stopped:
                    discard(folder)
                    raise KeyboardInterrupt from None
                raise
    except Timeout:
        place = run_folder(config)
        raise RunFailed(f"{place}: another process is at this run; wait for it, or change an option") from None
    except OSError as error:
        raise RunFailed(explain(error)) from None
    run = find_run(config)
    if run is None:
        what = f"the notebook came to its end without writing {folder / 'run.json'}"
        raise RunFailed(f"{what}\nThe notebook: {folder / NOTEBOOK}")
    return run


def train_here(config: RunConfig) -> Run:
    """One run in this process, without a notebook; the data and fixed features of the last one serve again.

    Raises:
        RunFailed: It raised anything; of what is no refusal, the traceback is printed.
        RunTaken: Another process is writing the run.
    """
    from relahash_nb.losses import build_loss
    from relahash_nb.session import Session
    from relahash_nb.training import fit

    try:
        with Session(config, load_shared(config)) as session:
            loss = build_loss(config, session.centroids)
            history = fit(session.model, loss, session.data, config, session.features, session.centroids)
            codes = session.encode()
            return load_run(session.save(codes, session.score(codes), history))
    except RunTaken:
        raise
    except (ValueError, FloatingPointError) as error:
        raise RunFailed(str(error) or type(error).__name__) from None
    except (Exception, SystemExit) as error:  # a loss or a data set of the user's own may raise anything
        traceback.print_exc(file=sys.stdout)
        raise RunFailed(f"{type(error).__name__}: {error}") from None


def load_shared(config: RunConfig) -> tuple[Any, Any]:
    """A data set, and its pool's features where the backbone is fixed; those of the last call, where they serve."""
    shared = {name: getattr(config, name) for name in SHARED_FIELDS}
    return _load(RunConfig(**shared, batch_size=2))  # whether a batch is too large is for the trainer


@functools.lru_cache(maxsize=1)
def _load(config: RunConfig) -> tuple[Any, Any]:
    from relahash_nb.session import load

    return load(config)


def discard(folder: Path) -> None:
    """Removes what an interrupted run has left but its checkpoint; nothing where a notebook in Jupyter is at it."""
    is_finished = (folder / "run.json").exists()  # by an earlier run, whose files stay
    names = [PARTIAL, ".run.lock", ".sweep.lock"]
    try:
        with lock_file(folder / ".run.lock", seconds=2.0):
            for name in names if is_finished else [*names, LOG]:
                (folder / name).unlink(missing_ok=True)
    except Timeout:
        return
    with suppress(OSError):  # there is a checkpoint
        folder.rmdir()


def plan(configs: Sequence[RunConfig], waiting: int = 0) -> str:
    """The runs, and which of them are done; `waiting` are not known before their search is."""
    is_done = [find_done(config) is not None for config in configs]
    lines = [f"{config.run_id}: {'done' if done else 'to do'}" for config, done in zip(configs, is_done, strict=True)]
    if waiting:
        lines.append(f"{waiting} more: relahash tune has not found their options yet")
    return "\n".join([*lines, f"{sum(is_done)} done, {len(configs) - sum(is_done) + waiting} to do"])


def read_grid(path: Path) -> dict[str, list[Any]]:
    """The fields of a sweep in a YAML file, each with its list of values; a ValueError names the file."""
    import yaml

    try:
        grid = read_yaml(path)
        if not isinstance(grid, dict) or not all(isinstance(name, str) for name in grid):
            raise ValueError("expected names and values, as in 'bits: [16, 32]'")
        return {name: read_values(name, values) for name, values in grid.items()}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}, line {line}: {error.problem}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ValueError(f"{path}: {reason}") from None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; a ValueError where a name is given twice, which YAML passes over."""
    import yaml

    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if isinstance(content, dict):
        names = [name.value for name, _ in yaml.compose(text).value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name}: given twice")
    return content


def read_values(name: str, values: Any) -> list[Any]:
    """The values of one field in a YAML file, which has one value or a list; each is checked."""
    several = values if isinstance(values, list) else [values]
    if not several or any(isinstance(value, list) for value in several):
        raise ValueError(f"{name}: expected a value, or a list of values")
    if name in RunConfig.model_fields:  # YAML reads 1e-3 as a text
        several = [RunConfig.read_text(name, value) if isinstance(value, str) else value for value in several]
    for value in several:
        RunConfig.check_value(name, value)
    return several


def describe_run(run: Run) -> str:
    """One line: the score with its tie bounds, that on new images, the user's own, and the seconds."""
    scores = run.report.scores
    bounds = f"{scores.worst:.4f} to {scores.best:.4f} by the order of ties"
    parts = [f"mAP {scores.mean_average_precision:.4f} ({bounds})"]
    if scores.new_images is not None:
        parts.append(f"new images {scores.new_images:.4f}")
    parts += [f"{name} {value:.4f}" for name, value in run.report.metrics.items()]
    return ", ".join([*parts, f"{sum(run.report.seconds.values()):.0f} s"])

"""The grid: papermill executes a notebook for each run, here or on a cluster; finished runs are skipped."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from filelock import Timeout

from relahash_nb.config import DATASET_NAMES, RunConfig, did_you_mean, load_attribute, package_file, project_path
from relahash_nb.files import lock_file, run_folder, write
from relahash_nb.results import Run, find_run

NOTEBOOK = "01_train.ipynb"
ANALYSES = ("02_quantization_error.ipynb", "03_code_distribution.ipynb")  # of finished runs
COMPARISON = "05_compare.ipynb"
LOG, FAILURE = "log.txt", "failed.txt"  # beside the notebook, of a run in a sweep
LOG_LINES = 15  # of the log that are kept with a failure
POLL_SECONDS = 2.0  # between looks at a run that another process is writing
MOST_RUNS = 10_000  # of one grid


class RunFailed(Exception):
    """A notebook that did not finish: the cell's error, and where the partial notebook is."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run of a sweep: it is there, or it failed with an error."""

    config: RunConfig
    run: Run | None
    error: str = ""


def expand(values: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Every combination of the values, as configs; the first name varies slowest.

    Args:
        values: Names of `RunConfig`'s fields, each with a sequence of values.

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
            raise ValueError(
                f"root: {other.root!r} and {config.root!r} end in one name, which tells runs apart; rename one"
            )
    return list(unique.values())


def check_runs(configs: Sequence[RunConfig]) -> None:
    """Refuses what can be known to fail before a kernel is started: options, files, data, loss and device.

    Raises:
        ValueError: One line about the first thing that is wrong.
    """
    from relahash_nb.datasets import load_dataset
    from relahash_nb.training import find_device

    configs = sorted((config.resolve().check() for config in configs), key=lambda config: config.batch_size)
    for device in {config.device for config in configs}:
        find_device(device)
    for name in {name for config in configs for name in (config.dataset, config.backbone) if ":" in name}:
        load_attribute(name)  # imported and not called: what it does is for the kernel
    for config in {json.dumps([config.loss, *loss_options(config).items()]): config for config in configs}.values():
        check_loss(config)
    parts = ("dataset", "protocol", "root", "data_dir", "holdout", "validation_per_class")
    for config in {tuple(getattr(config, name) for name in parts): config for config in configs}.values():
        if config.dataset in DATASET_NAMES:
            load_dataset(config)


def loss_options(config: RunConfig) -> dict[str, Any]:
    """The options that a config gives to its loss or baseline."""
    given = {name: getattr(config, name) for name in ("beta", "margin") if getattr(config, name) is not None}
    return given | (config.loss_options or {})


def check_loss(config: RunConfig) -> None:
    """Refuses an option that the loss or baseline does not have, and a value that a built-in loss does not allow."""
    import torch

    from relahash_nb.baselines import BASELINES
    from relahash_nb.losses import LOSSES, build_loss

    kind = LOSSES.get(config.loss) or BASELINES.get(config.loss) or load_attribute(config.loss)
    if not callable(kind):
        raise ValueError(f"loss: {config.loss} is a {type(kind).__name__}; allowed: a class built from the centroids")
    given_anyway = 4 if config.loss in BASELINES else 1  # features, targets, bits and generator; or the centroids
    parameters = list(inspect.signature(kind).parameters.values())[given_anyway:]
    names = [parameter.name for parameter in parameters]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    for name in loss_options(config):
        if name not in names:
            allowed = ", ".join(names) or "none"
            raise ValueError(f"{name}: no option of {config.loss}; allowed: {allowed}{did_you_mean(name, names)}")
    if config.loss in LOSSES:
        build_loss(config, torch.ones(2, config.bits))


def sweep(
    configs: Sequence[RunConfig], workers: int | None = None, scheduler: str | None = None, minutes: float | None = None
) -> list[Outcome]:
    """Executes the runs that are not there yet, one after another or on a Dask cluster, and prints a line for each.

    Args:
        configs: What to run.
        workers: Processes of a local Dask cluster; None: this process alone.
        scheduler: Address of a Dask scheduler, such as `tcp://host:8786`, instead.
        minutes: That one cell may take; None: no limit.

    Returns:
        An outcome a config, in the order of the configs.
    """
    outcomes = {config.run_id: Outcome(config, find_run(config)) for config in configs}
    missing = [config for config in configs if outcomes[config.run_id].run is None]
    for outcome in outcomes.values():
        if outcome.run is not None:
            print(f"{outcome.config.run_id}: done before, {describe_run(outcome.run)}", flush=True)
    start = time.perf_counter()
    if workers or scheduler:
        finished = on_cluster(missing, workers, scheduler, minutes)
    else:
        finished = run_serial(missing, minutes)
    for number, outcome in enumerate(finished, 1):
        outcomes[outcome.config.run_id] = outcome
        left = (time.perf_counter() - start) / number * (len(missing) - number)
        what = describe_run(outcome.run) if outcome.run else f"failed: {outcome.error.splitlines()[0]}"
        print(f"[{number}/{len(missing)}] {outcome.config.run_id}: {what}; {left:.0f} s to go", flush=True)
    return list(outcomes.values())


def run_serial(configs: Sequence[RunConfig], minutes: float | None) -> Iterator[Outcome]:
    """The runs one after another in this process; what another process is writing is waited for at the end."""
    waiting, passed = deque(configs), 0
    while waiting:
        outcome = attempt(waiting[0], minutes)
        if outcome is not None:
            waiting.popleft()
            passed = 0
            yield outcome
        else:
            waiting.rotate(-1)
            passed += 1
            if passed >= len(waiting):
                time.sleep(POLL_SECONDS)


def on_cluster(
    configs: Sequence[RunConfig], workers: int | None, scheduler: str | None, minutes: float | None
) -> Iterator[Outcome]:
    """The runs on a Dask cluster, one at a time on each worker, each tried twice; a lost worker's run starts elsewhere.

    Raises:
        ValueError: Dask is not installed, or there is no scheduler at the address.
    """
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise ValueError("workers: needs Dask; pip install 'relahash-nb[cluster]'") from None
    try:
        # One thread a worker: a run at a time, and as many OpenMP threads as its share of the cores.
        local = dict(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        client = Client(scheduler) if scheduler else Client(**local)  # which closes its own cluster with itself
    except OSError as error:
        raise ValueError(f"scheduler: {scheduler!r} given, and not to be reached ({error})") from None
    with client:
        resources = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
        needs = {"GPU": 1} if any("GPU" in resource for resource in resources) else None
        by_key = {config.run_id: config for config in configs}
        futures = [
            client.submit(attempt_on_worker, config.to_dict(), minutes, key=key, retries=1, resources=needs)
            for key, config in by_key.items()
        ]
        for future in as_completed(futures):
            config = by_key[future.key]
            error = future.exception()
            yield Outcome(config, find_run(config), "" if error is None else f"{error}")


def attempt_on_worker(values: Mapping[str, Any], minutes: float | None) -> None:
    """One run on a Dask worker; plain values in, files out.

    Raises:
        RunFailed: So that Dask tries it once more.
    """
    # Dask has its workers give freed memory back to the system at once. The kernel would inherit it, and what a network
    # frees and takes at every layer then costs half of its speed.
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    config = RunConfig.from_dict(values)
    while (outcome := attempt(config, minutes)) is None:
        time.sleep(POLL_SECONDS)
    if outcome.run is None:
        raise RunFailed(outcome.error)


def attempt(config: RunConfig, minutes: float | None = None) -> Outcome | None:
    """One run of a sweep: its printed lines go to `log.txt` beside the notebook, and its error to `failed.txt`.

    Returns:
        The outcome, or None where another process is at it.
    """
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
                    return Outcome(config, execute(config, log, minutes))
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
    """Executes the training notebook for one config, into the run's folder.

    Args:
        config: What to run.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.
        minutes: That one cell may take; None: as long as it likes.

    Returns:
        The finished run.

    Raises:
        RunFailed: A cell raised or took too long, the kernel died, or another process is at this run.
        KeyboardInterrupt: Interrupted; the partial notebook is removed.
    """
    folder = run_folder(config)
    with suppress(OSError):  # a folder that cannot be written is for execute_notebook to name
        folder.mkdir(parents=True, exist_ok=True)
    defaults = RunConfig().to_dict()
    chosen = {name: value for name, value in config.to_dict().items() if value != defaults[name]}
    if not folder.is_dir():
        execute_notebook(NOTEBOOK, folder / NOTEBOOK, chosen, output, minutes)  # which raises
    try:
        with lock_file(folder / ".sweep.lock"):
            try:
                execute_notebook(NOTEBOOK, folder / NOTEBOOK, chosen, output, minutes)
            except KeyboardInterrupt:
                discard(folder)
                raise
    except Timeout:
        raise RunFailed(f"{folder}: another process is at this run; wait for it, or change an option") from None
    run = find_run(config)
    if run is None:
        what = f"the notebook came to its end without writing {folder / 'run.json'}"
        raise RunFailed(f"{what}\nThe partial notebook: {folder / NOTEBOOK}")
    return run


def discard(folder: Path) -> None:
    """Removes what an interrupted run has left but its checkpoint; for who holds the sweep's lock on the folder.

    A notebook in Jupyter may hold the run's own lock: then everything stays.
    """
    try:
        with lock_file(folder / ".run.lock", seconds=2.0):
            for name in (NOTEBOOK, LOG, ".run.lock", ".sweep.lock"):
                (folder / name).unlink(missing_ok=True)
    except Timeout:
        return
    with suppress(OSError):  # there is a checkpoint
        folder.rmdir()


def plan(configs: Sequence[RunConfig], finished: pd.DataFrame) -> str:
    """The runs, which of them are done, and what the rest will take, from the seconds of finished runs like them.

    Args:
        configs: What to run.
        finished: As `load_runs` gives it.
    """
    lines, total, unknown = [], 0.0, 0
    for config in configs:
        if find_run(config) is not None:
            lines.append(f"{config.run_id}: done")
            continue
        seconds = expected_seconds(config, finished)
        total, unknown = total + (seconds or 0), unknown + (seconds is None)
        lines.append(f"{config.run_id}: to do" + ("" if seconds is None else f", about {seconds:.0f} s"))
    to_do = sum(": to do" in line for line in lines)
    more = f", and {unknown} of which nothing like them has been run" if unknown else ""
    return "\n".join([*lines, f"{len(lines) - to_do} done, {to_do} to do: about {total:.0f} s{more}"])


def expected_seconds(config: RunConfig, finished: pd.DataFrame) -> float | None:
    """Median over the finished runs with the same data, model and epochs; None where there are none."""
    if finished.empty:
        return None
    resolved = config.resolve()
    alike = pd.Series(True, index=finished.index)
    for name in ("dataset", "root", "backbone", "finetune", "image_size", "epochs", "batch_size", "precision"):
        value = getattr(resolved, name)
        alike &= finished[name].isna() if value is None else finished[name] == value
    seconds = finished.loc[alike, [name for name in finished if name.startswith("seconds_")]].sum(axis=1)
    return float(seconds.median()) if len(seconds) else None


def read_grid(path: Path) -> dict[str, list[Any]]:
    """Names and values of a sweep from a YAML file: names of `RunConfig`'s fields, each with a value or a list of them.

    Raises:
        ValueError: There is no such file, or something in it is not allowed; one line that names the file.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a name that is given twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [str(name.value) for name, _ in node.value]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"{twice[0]}: given twice")
            return super().construct_mapping(node, deep)

    try:
        grid = yaml.load(path.read_text(encoding="utf-8"), Loader)
        if not isinstance(grid, dict) or not all(isinstance(name, str) for name in grid):
            raise ValueError("expected names and values, as in 'bits: [16, 32]'")
        values = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
        for name, several in values.items():
            if not several or any(isinstance(one, list) for one in several):
                raise ValueError(f"{name}: expected a value, or a list of values")
            values[name] = [RunConfig.read_text(name, one) if isinstance(one, str) else one for one in several]
            for one in values[name]:
                RunConfig(**{name: one})
        return values
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def describe_run(run: Run) -> str:
    """One line: the score with its tie bounds, and the seconds.

    Example:
        >>> scores = {"mean_average_precision": 0.82, "worst": 0.80, "best": 0.83}
        >>> describe_run(Run(Path("r"), {"scores": scores, "seconds": {"training": 20.0, "encoding": 1.0}}))
        'mAP 0.8200 (0.8000 to 0.8300 by the order of ties), 21 s'
    """
    scores = run.report["scores"]
    bounds = f"{scores['worst']:.4f} to {scores['best']:.4f} by the order of ties"
    return f"mAP {scores['mean_average_precision']:.4f} ({bounds}), {sum(run.report['seconds'].values()):.0f} s"


def execute_notebook(
    name: str, target: Path, parameters: Mapping[str, Any], output: TextIO | None = None, minutes: float | None = None
) -> None:
    """Executes a notebook of the project.

    Args:
        name: Of its file, such as `01_train.ipynb`.
        target: Where the executed notebook goes; its folder is made.
        parameters: Literals.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.
        minutes: That one cell may take; None: no limit.

    Raises:
        RunFailed: A cell raised or took too long, the kernel died, or the notebook cannot be written.
        KeyboardInterrupt: Interrupted; the partial notebook is still there.
    """
    import papermill  # a second of imports that a help text need not wait for
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    for logger in ("papermill", "asyncio", "traitlets"):  # what they log of a failure, we say in our own words
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    if output is None or not output.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the kernel inherits it: in a log, a line an epoch is enough
    os.environ.pop("MPLBACKEND", None)  # one that draws for no screen, as servers have it: no figure would be shown
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(package_file(f"notebooks/{name}")),
            str(target),
            dict(parameters),
            progress_bar=False,
            stdout_file=output,
            execution_timeout=None if minutes is None else max(1, round(60 * minutes)),
            extra_arguments=["--log-level=50"],  # what a kernel logs is of no use to who reads a log of runs
            shutdown_kernel="immediate",  # all is written by then, and an orderly end of torch takes two seconds
        )
        return
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        what = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        what = "the kernel died; it may have been killed for the memory it took"
    except CellTimeoutError:
        what = f"a cell took longer than {minutes:g} minutes"
    except OSError as error:  # the notebook cannot be written
        raise RunFailed(f"{error.strerror}: {error.filename or target}") from None
    raise RunFailed(f"{what}\nThe partial notebook: {target}")


def is_current(target: Path, name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an executed notebook has these parameters, and is younger than its source and than every run.

    Args:
        target: The executed notebook, which need not be there.
        name: Of its source.
        parameters: With `results_dir`, the folder that holds `runs/`.
    """
    if not target.is_file():
        return False
    sources = [
        package_file(f"notebooks/{name}"),
        *(project_path(parameters["results_dir"]) / "runs").glob("*/run.json"),
    ]
    is_young = target.stat().st_mtime > max(source.stat().st_mtime for source in sources)
    return is_young and json.loads(target.read_text())["metadata"]["papermill"]["parameters"] == parameters

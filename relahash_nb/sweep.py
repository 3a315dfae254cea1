"""The grid: a notebook executed by papermill once a run, what is done is not done again, and a table at the end."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from relahash_nb.config import RunConfig, shipped
from relahash_nb.results import Run, find_run, run_folder

NOTEBOOK = "01_train.ipynb"
PLACES = ["root", "device", "data_dir", "results_dir", "folder"]  # of this machine; they stay out of the summary


class RunFailed(Exception):
    """A run that did not come to its end: the cell's error in one paragraph, and where the partial notebook is."""


def expand(values: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Every combination of the values, as configs; the first name varies slowest.

    Args:
        values: Names of `RunConfig`'s fields, each with a sequence of values.

    Raises:
        ValueError: A name is no field, or a value is not allowed.

    Example:
        >>> [config.bits for config in expand({"bits": [16, 32], "seed": [0]})]
        [16, 32]
    """
    return [
        RunConfig.from_dict(dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())
    ]


def execute(config: RunConfig, output: TextIO | None = None) -> Run:
    """Executes the training notebook for one config, into the run's folder.

    Args:
        config: What to run.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.

    Returns:
        The finished run.

    Raises:
        RunFailed: A cell raised, or the kernel died.
        KeyboardInterrupt: Interrupted; the partial notebook is removed.
    """
    import papermill  # a second of imports that a help text need not wait for
    from papermill.exceptions import PapermillExecutionError

    folder = run_folder(config)
    notebook = folder / NOTEBOOK
    folder.mkdir(parents=True, exist_ok=True)
    defaults = RunConfig().to_dict()
    chosen = {name: value for name, value in config.to_dict().items() if value != defaults[name]}
    if output is None or not output.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the kernel inherits it: in a log, a line an epoch is enough
    try:
        papermill.execute_notebook(
            str(shipped(f"notebooks/{NOTEBOOK}")),
            str(notebook),
            chosen,
            progress_bar=False,
            stdout_file=output,
            extra_arguments=["--log-level=50"],  # what a kernel logs is of no use to who reads a log of runs
        )
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            discard(folder)
            raise KeyboardInterrupt from None
        raise RunFailed(f"{error.ename}: {error.evalue}\nThe partial notebook: {notebook}") from None
    except KeyboardInterrupt:
        discard(folder)
        raise
    except RuntimeError as error:  # the kernel died, or a time limit was passed
        raise RunFailed(f"{type(error).__name__}: {error}\nThe partial notebook: {notebook}") from None
    run = find_run(config)
    if run is None:
        raise RunFailed(f"the notebook came to its end without writing {folder / 'run.json'}")
    return run


def discard(folder: Path) -> None:
    """Removes the partial notebook of an interrupted run, and its folder if nothing else is in it."""
    (folder / NOTEBOOK).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def sweep(configs: Sequence[RunConfig], output: TextIO | None = None) -> list[tuple[RunConfig, str]]:
    """Executes one run after another; those that are done already are left as they are.

    Args:
        configs: What to run.
        output: As for `execute`.

    Returns:
        The configs that failed, each with its error.
    """
    failed = []
    start, executed = time.perf_counter(), 0
    for number, config in enumerate(configs, 1):
        head = f"[{number}/{len(configs)}] {config.run_id}"
        run = find_run(config)
        if run is not None:
            print(f"{head}: done before, {describe_run(run)}", flush=True)
            continue
        print(head, flush=True)
        try:
            run = execute(config, output)
        except RunFailed as error:
            failed.append((config, str(error)))
            print(f"{head}: failed\n{error}", file=sys.stderr, flush=True)
            continue
        executed += 1
        seconds = (time.perf_counter() - start) / executed
        left = seconds * sum(find_run(later) is None for later in configs[number:])
        print(f"{head}: {describe_run(run)}; {left:.0f} s to go", flush=True)
    return failed


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


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without what names a place on this machine, with the command that repeats each; `results/summary.csv`.

    Args:
        runs: As `load_runs` gives them, at least one.
    """
    roots = runs["root"].map(lambda root: "" if root is None else f" {Path(root).name}")
    summary = runs.drop(columns=PLACES).assign(data=runs["dataset"] + roots)
    return summary.sort_values(["data", "loss", "bits", "seed"]).reset_index(drop=True)


def table(summary: pd.DataFrame) -> str:
    """Mean and deviation over the seeds, as a Markdown table: data and settings a row, in the order of the bits.

    Args:
        summary: As `summarize` gives it.
    """
    settings = ["data", "backbone", "image_size", "epochs", "loss", "bits"]
    names = ["data", "backbone", "pixels", "epochs", "loss", "bits", "seeds", "mAP", "worst … best order of ties"]
    names += ["quantization error", "training s"]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for keys, rows in summary.groupby(settings, sort=False):
        spread = f" ± {rows['mean_average_precision'].std():.4f}" if len(rows) > 1 else ""
        means = rows[["mean_average_precision", "worst", "best", "quantization_error", "seconds_training"]].mean()
        cells = [*keys, len(rows), f"**{means.iloc[0]:.4f}**{spread}", f"{means.iloc[1]:.4f} … {means.iloc[2]:.4f}"]
        cells += [f"{means.iloc[3]:.4f}", f"{means.iloc[4]:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)

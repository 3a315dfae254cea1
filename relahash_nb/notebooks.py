"""A notebook of the project, executed by papermill; and what is checked before a kernel is started for it."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from relahash_nb.config import DATASET_NAMES, RunConfig, load_attribute, package_file, project_path
from relahash_nb.options import did_you_mean

ANALYSES = ("02_quantization_error.ipynb", "03_code_distribution.ipynb")  # of finished runs
COMPARISON = "05_compare.ipynb"


class RunFailed(Exception):
    """A notebook that did not finish: the cell's error, and where the partial notebook is."""


def set_up(use_drive: bool = False) -> None:
    """Prepares Colab, and does nothing elsewhere: custom widgets, and a working directory that survives a disconnect.

    Args:
        use_drive: Mount Google Drive, and work in its folder `relahash`; data, results and checkpoints go there.
    """
    if "google.colab" not in sys.modules:
        return
    from google.colab import drive, output

    output.enable_custom_widget_manager()  # for the explorer
    if use_drive:
        drive.mount("/content/drive")
        folder = Path("/content/drive/MyDrive/relahash")
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    print(f"data and results go to {Path.cwd()}")


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

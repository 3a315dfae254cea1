"""A notebook of the project, executed by papermill; and what is checked before a kernel is started for it."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from relahash_nb.config import DATASET_NAMES, RunConfig, load_attribute, package_file, project_path

ANALYSES = ("02_quantization_error.ipynb", "03_code_distribution.ipynb")  # of finished runs
COMPARISON = "05_compare.ipynb"


class RunFailed(Exception):
    """A notebook that did not finish: the cell's error, and where the partial notebook is."""


def set_up(use_drive: bool = False) -> None:
    """Prepares Colab, and does nothing elsewhere: custom widgets, and with `use_drive` a folder of Google Drive.

    Data, results and checkpoints then go to `relahash` in the drive, which survives a disconnect.
    """
    if "google.colab" not in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:  # Kaggle's is made of Colab's
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
    """Refuses what can be known to fail before a kernel is started: options, files, data, loss and device."""
    from relahash_nb.datasets import load_dataset
    from relahash_nb.losses import check_loss_options
    from relahash_nb.models import build_model, find_device

    configs = sorted((config.resolve().check() for config in configs), key=lambda config: config.batch_size)

    def distinct(*names: str) -> Iterable[RunConfig]:
        """One config, of the largest batch, for each combination of these options."""
        return {json.dumps([getattr(config, name) for name in names]): config for config in configs}.values()

    for config in distinct("device"):
        find_device(config.device)
    for config in distinct("dataset", "backbone", "loss", "centroids"):
        for name in (config.dataset, config.backbone, config.loss, config.centroids):
            if ":" in name and not callable(kind := load_attribute(name)):  # what it does is for the kernel
                raise ValueError(f"{name}: is a {type(kind).__name__}; allowed: a function or a class")
    for config in distinct("loss", "beta", "margin", "loss_options"):
        check_loss_options(config)
    for config in distinct("dataset", "protocol", "root", "data_dir", "holdout", "validation_per_class"):
        if config.dataset in DATASET_NAMES:
            load_dataset(config)
    for config in distinct("backbone", "weights", "image_size"):
        if ":" not in config.backbone:
            with redirect_stdout(io.StringIO()):  # the run says it again
                build_model(config)


def execute_notebook(
    name: str, target: Path, parameters: Mapping[str, Any], output: TextIO | None = None, minutes: float | None = None
) -> None:
    """Executes a notebook of the project, such as `01_train.ipynb`, into the file `target`, whose folder is made.

    Args:
        name: Of its file.
        target: Where the executed notebook goes; interrupted, it is there in part.
        parameters: Literals.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.
        minutes: That one cell may take; None: no limit.

    Raises:
        RunFailed: A cell raised or took too long, the kernel died, or the notebook cannot be written.
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
    """Whether an executed notebook is there, has these parameters, and is younger than its source and every run."""
    sources = package_file(f"notebooks/{name}"), *project_path(parameters["results_dir"]).glob("runs/*/run.json")
    if not target.is_file() or target.stat().st_mtime <= max(source.stat().st_mtime for source in sources):
        return False
    return json.loads(target.read_text())["metadata"]["papermill"]["parameters"] == parameters

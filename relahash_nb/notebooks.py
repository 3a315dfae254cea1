"""A notebook of the project, executed by papermill; and what is checked before a kernel is started for it."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO, TypeVar

from relahash_nb import registry
from relahash_nb.config import RunConfig
from relahash_nb.failures import explain
from relahash_nb.paths import package_file, project_path
from relahash_nb.registry import DATASETS, DIRECTIONS

ANALYSES = ("02_quantization_error.ipynb", "03_code_distribution.ipynb")  # of finished runs
COMPARISON = "05_compare.ipynb"

Item = TypeVar("Item")
Result = TypeVar("Result")


class RunFailed(Exception):
    """A notebook that did not finish: the cell's error, and where the partial notebook is."""


class Kernels:
    """The kernels in which threads of this process execute notebooks, so that all can be stopped at once."""

    def __init__(self) -> None:
        self.managers: list[Any] = []
        self.are_stopped = False

    def manager_class(self) -> type:
        """A class of kernel managers: each is listed here, and starts no kernel once all are stopped."""
        from jupyter_client.manager import AsyncKernelManager

        kernels = self

        class ListedKernelManager(AsyncKernelManager):
            """A manager that `kernels` knows of before its kernel is there."""

            async def start_kernel(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
                if kernels.are_stopped:
                    raise RuntimeError("stopped")
                kernels.managers.append(self)
                await super().start_kernel(*arguments, **options)
                if kernels.are_stopped:  # in the meantime
                    kernels.stop()

        return ListedKernelManager

    def stop(self) -> None:
        """Ends the processes of all kernels; whoever executes a notebook in one of them gets a `RunFailed`."""
        self.are_stopped = True
        for manager in self.managers:
            process = getattr(manager.provisioner, "process", None)
            if process is not None:
                process.terminate()


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
    """Refuses what can be known to fail before a kernel is started: device, names, loss, data, backbone and weights.

    Only what was given is checked, since the defaults work: a sweep over bits and seeds then loads no torch for it.

    Raises:
        ValueError: In one line, what is wrong and what is allowed.
    """
    for check, options in CHECKS.items():
        for config in _distinct(configs, options):
            check(config)


def _distinct(configs: Sequence[RunConfig], options: Sequence[str]) -> list[RunConfig]:
    """A config for each combination of these options, where one of them was given."""
    chosen = {}
    for config in configs:
        if config.given.keys() & set(options):
            values = config.to_dict()
            chosen[json.dumps([values[name] for name in options])] = config
    return list(chosen.values())


def _check_device(config: RunConfig) -> None:
    from relahash_nb.models import find_device

    find_device(config.device)


def _check_objects(config: RunConfig) -> None:
    """One's own functions and classes are there; what they do is for the kernel."""
    for option in ("dataset", "backbone", "loss", "centroids", "metrics", "callback"):
        name = getattr(config, option) or ""
        if ":" not in name:
            continue
        found = registry.load({}, name)
        if not callable(found):
            raise ValueError(f"{option}: {name} is a {type(found).__name__}; allowed: a function or a class")


def _check_loss(config: RunConfig) -> None:
    """The loss takes these options; one's own can be called, too, unless the number of classes is for a kernel."""
    import torch

    from relahash_nb.centroids import make_centroids
    from relahash_nb.datasets import load_dataset
    from relahash_nb.losses import build_loss, loss_options

    if ":" not in config.loss:
        build_loss(config, torch.ones(2, config.bits))
    elif config.dataset in DATASETS:
        classes = len(load_dataset(config).class_names)
        build_loss(config, make_centroids(classes, config.bits, "bernoulli"))
    else:
        loss_options(config)


def _check_bits(config: RunConfig) -> None:
    """There are as many training images as a baseline needs for its bits."""
    if config.loss in DIRECTIONS and config.dataset in DATASETS:
        from relahash_nb.datasets import load_dataset

        load_dataset(config)


def _check_data(config: RunConfig) -> None:
    from relahash_nb.datasets import load_dataset

    if config.dataset in DATASETS:
        load_dataset(config)


def _check_metrics(config: RunConfig) -> None:
    from relahash_nb.results.own import check_metrics

    check_metrics(config)


def _check_model(config: RunConfig) -> None:
    from relahash_nb.models import build_model

    if ":" not in config.backbone:
        with redirect_stdout(io.StringIO()):  # the run prints it
            build_model(config)


# Each check, and the options that it looks at.
CHECKS: dict[Callable[[RunConfig], None], tuple[str, ...]] = {
    _check_device: ("device",),
    _check_objects: ("dataset", "backbone", "loss", "centroids", "metrics", "callback"),
    _check_loss: ("loss", "beta", "margin", "loss_options"),
    _check_data: (
        *("dataset", "protocol", "root", "data_dir", "holdout", "truncated"),
        *("validation_per_class", "batch_size", "sampler"),
    ),
    _check_bits: ("loss", "bits", "dataset", "root"),
    _check_metrics: ("metrics", "bits"),
    _check_model: ("recipe", "dataset", "backbone", "weights", "image_size"),
}


def split_parameters(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run as parameters of a notebook: those that its cell does not name go into `options`."""
    import papermill

    names = papermill.inspect_notebook(str(package_file(f"notebooks/{name}")))
    parameters = {option: value for option, value in values.items() if option in names}
    others = {option: value for option, value in values.items() if option not in names}
    return parameters | {"options": others}


def execute_notebook(
    name: str,
    target: Path,
    parameters: Mapping[str, Any],
    output: TextIO | None = None,
    minutes: float | None = None,
    kernels: Kernels | None = None,
) -> None:
    """Executes a notebook of the project, such as `01_train.ipynb`, into the file `target`, whose folder is made.

    Args:
        name: Of its file.
        target: Where the executed notebook goes; interrupted, it is there in part.
        parameters: Literals.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.
        minutes: That one cell may take; None: no limit.
        kernels: Where its kernel is listed, if another thread may have to stop it.

    Raises:
        RunFailed: A cell raised or took too long, the kernel died, or the notebook cannot be written.
    """
    import papermill  # a second of imports that a help text need not wait for

    prepare_kernels(shows_progress=output is not None and output.isatty())
    settings: dict[str, Any] = {
        "extra_arguments": ["--log-level=50"],  # what a kernel logs is of no use to who reads a log of runs
        "shutdown_kernel": "immediate",  # all is written by then, and an orderly end of torch takes two seconds
    }
    if minutes is not None:
        settings["execution_timeout"] = max(1, round(60 * minutes))
    if kernels is not None:
        settings["kernel_manager_class"] = kernels.manager_class()
    source = str(package_file(f"notebooks/{name}"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            source, str(target), dict(parameters), progress_bar=False, stdout_file=output, **settings
        )
    except Exception as error:  # of papermill, nbclient, Jupyter or ZeroMQ, whose kinds nobody lists
        check_interrupt(error)
        place = f"\nThe partial notebook: {target}" if target.exists() else ""
        raise RunFailed(f"{explain_failure(error, minutes)}{place}") from None


def check_interrupt(error: BaseException | None) -> None:
    """Raises KeyboardInterrupt where a cell was interrupted, or where an error came while an interrupt was dealt with.

    The latter is what an event loop raises that Ctrl-C closes while a kernel starts.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or getattr(error, "ename", "") == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        error = error.__context__


def explain_failure(error: Exception, minutes: float | None) -> str:
    """Why a notebook did not come to its end, in a line or two."""
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, CellTimeoutError):
        return f"a cell took longer than {minutes:g} minutes"
    if isinstance(error, RuntimeError):  # nbclient's DeadKernelError, or the kernel did not start
        said = str(error).partition("\n")[0]
        return f"the kernel died ({said}); it may have been killed for the memory it took"
    return explain(error) or f"the notebook could not be executed: {type(error).__name__}: {error}"


def execute_at_once(
    function: Callable[[Item, Kernels | None], Result], items: Sequence[Item], jobs: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with `function(item, kernels)`, `jobs` of them at once in threads, as they end.

    The function executes a notebook, and lists its kernel in `kernels`; an interrupt stops all of these. With one job
    there is no thread, and `kernels` is None.
    """
    if jobs == 1:
        for item in items:
            yield item, function(item, None)
        return
    kernels = Kernels()
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(function, item, kernels): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # Ctrl-C, or whoever takes the results has had enough
            pool.shutdown(wait=False, cancel_futures=True)
            kernels.stop()
            raise


def prepare_kernels(shows_progress: bool) -> None:
    """Sets what this process logs, and what kernels inherit from it."""
    for logger in ("papermill", "asyncio", "traitlets"):  # what they log of a failure, we say in our own words
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    if not shows_progress:
        os.environ.setdefault("TQDM_DISABLE", "1")  # in a log, a line an epoch is enough
    os.environ.pop("MPLBACKEND", None)  # one that draws for no screen, as servers have it: no figure would be shown


def is_current(target: Path, name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an executed notebook is there, has these parameters, and is younger than its source and every run."""
    runs = project_path(parameters["results_dir"]).glob("runs/*/run.json")
    sources = [package_file(f"notebooks/{name}"), *runs]
    if not target.is_file() or target.stat().st_mtime <= max(source.stat().st_mtime for source in sources):
        return False
    metadata = json.loads(target.read_text(encoding="utf-8")).get("metadata", {})
    return metadata.get("papermill", {}).get("parameters") == parameters  # by hand it was executed without papermill

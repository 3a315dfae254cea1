"""A notebook of the project, executed by papermill: what goes wrong is said in one paragraph."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from relahash_nb.config import shipped

ANALYSES = ("02_quantization_error.ipynb", "03_code_distribution.ipynb")  # of finished runs, for `relahash look`


class RunFailed(Exception):
    """A notebook that did not come to its end: the cell's error, and where the partial notebook is."""


def execute_notebook(
    name: str, target: Path, parameters: Mapping[str, Any], output: TextIO | None = None, minutes: float | None = None
) -> None:
    """Executes a notebook of the project.

    Args:
        name: Of its file, such as `01_train.ipynb`.
        target: Where the executed notebook goes; its folder is made.
        parameters: Literals.
        output: Where the notebook's printed lines go while it runs, such as `sys.stdout`; None: nowhere else.
        minutes: That one cell may take; None: as long as it likes.

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
            str(shipped(f"notebooks/{name}")),
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
    sources = [shipped(f"notebooks/{name}"), *Path(parameters["results_dir"], "runs").glob("*/run.json")]
    is_young = target.stat().st_mtime > max(source.stat().st_mtime for source in sources)
    return is_young and json.loads(target.read_text())["metadata"]["papermill"]["parameters"] == parameters

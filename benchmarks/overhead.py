"""Where the seconds of a run go beside its training: `python benchmarks/overhead.py` runs the embedded study's 64 bits.

The time of each cell is papermill's, from the executed notebook; the stages are the run's own. Everything that is no
stage is overhead.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime

import nbformat

SHARES = {  # the cells that are more than their stage, by how a line in them begins
    "imports": "# @title Imports",
    "timed steps before the training": "for stage, estimate",
    "figures": "plots.plot_",
    "files": "folder = save_run(",
}


def main() -> None:
    """Executes one run and prints the table."""
    began = time.perf_counter()
    from relahash_nb.config import RunConfig
    from relahash_nb.sweep import NOTEBOOK, execute

    imported = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        import papermill  # noqa: F401

        ready = time.perf_counter()
        run = execute(RunConfig(results_dir=folder))
        done = time.perf_counter()
        notebook = nbformat.read(run.folder / NOTEBOOK, 4)
    stages = sum(run.report["seconds"].values())
    cells = {cell.source: seconds(cell) for cell in notebook.cells if cell.cell_type == "code"}
    shares = {
        name: sum(s for text, s in cells.items() if any(line.startswith(begin) for line in text.splitlines()))
        for name, begin in SHARES.items()
    }
    rows = {
        "the command's own imports": imported - began,
        "papermill's import (once a sweep)": ready - imported,
        "kernel: start, end, messages, notebook saved after each cell": done - ready - sum(cells.values()),
        **shares,
        "other cells, beside their stage": sum(cells.values()) - sum(shares.values()) - stages,
    }
    print("| what | seconds |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value:.2f} |")
    total = sum(rows.values())
    print(f"| **in all, beside {stages:.1f} s of data, training, encoding and scoring** | **{total:.2f}** |")


def seconds(cell: nbformat.NotebookNode) -> float:
    """Of a cell, by papermill's clock."""
    times = cell.metadata.papermill
    return (datetime.fromisoformat(times.end_time) - datetime.fromisoformat(times.start_time)).total_seconds()


if __name__ == "__main__":
    main()

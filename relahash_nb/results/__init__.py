"""Runs as files, and all runs as one table. Arrays and JSON; no torch at the top, no pickle."""

from relahash_nb.results.facts import describe_hardware, describe_versions
from relahash_nb.results.files import Run, claim, find_run, finished_runs, load_run, save_run
from relahash_nb.results.selection import load_histories, load_shown, save_figure, select_runs
from relahash_nb.results.tables import load_runs, summarize, table

__all__ = [
    "Run",
    "claim",
    "describe_hardware",
    "describe_versions",
    "find_run",
    "finished_runs",
    "load_histories",
    "load_run",
    "load_runs",
    "load_shown",
    "save_figure",
    "save_run",
    "select_runs",
    "summarize",
    "table",
]

"""Runs as files, and all runs as one table. Arrays and JSON; no torch at the top, no pickle."""

from relahash_nb.results.comparison import (
    beside_published,
    compare,
    load_comparable,
    load_published,
    of_one_setting,
    side_by_side,
    undecided,
)
from relahash_nb.results.facts import describe_hardware, describe_versions
from relahash_nb.results.files import Run, claim, find_run, finished_runs, load_run, save_run
from relahash_nb.results.selection import load_histories, load_shown, save_figure, select_runs
from relahash_nb.results.tables import load_runs, summarize, table

__all__ = [
    "Run",
    "beside_published",
    "claim",
    "compare",
    "describe_hardware",
    "describe_versions",
    "find_run",
    "finished_runs",
    "load_comparable",
    "load_histories",
    "load_published",
    "load_run",
    "load_runs",
    "load_shown",
    "of_one_setting",
    "save_figure",
    "save_run",
    "select_runs",
    "side_by_side",
    "summarize",
    "table",
    "undecided",
]

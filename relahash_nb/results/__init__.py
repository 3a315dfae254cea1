"""Runs as files (`runs`), and all runs as tables (`tables`, `comparison`). No torch at the top, no pickle."""

from relahash_nb.results.comparison import beside_published, compare, describe_ties, format_comparison, load_published
from relahash_nb.results.contents import describe_versions
from relahash_nb.results.runs import Run, find_run, finished_runs, load_run, lock_run, save_run
from relahash_nb.results.tables import (
    load_histories,
    load_runs,
    load_shown,
    report,
    save_figure,
    select_runs,
    summarize,
    table,
)

__all__ = [
    "Run",
    "beside_published",
    "compare",
    "describe_ties",
    "describe_versions",
    "find_run",
    "finished_runs",
    "format_comparison",
    "load_histories",
    "load_published",
    "load_run",
    "load_runs",
    "load_shown",
    "lock_run",
    "report",
    "save_figure",
    "save_run",
    "select_runs",
    "summarize",
    "table",
]

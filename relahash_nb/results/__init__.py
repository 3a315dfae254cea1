"""Runs as files (`runs`), and all runs as tables (`tables`). Arrays and JSON; no torch at the top, no pickle."""

from relahash_nb.results.contents import describe_versions
from relahash_nb.results.runs import Run, find_run, finished_runs, load_run, lock_run, save_run
from relahash_nb.results.tables import beside_published, compare, describe_ties, format_comparison, load_histories
from relahash_nb.results.tables import load_published, load_runs, load_shown, report, save_figure, select_runs
from relahash_nb.results.tables import summarize, table

__all__ = [
    *(
        "Run",
        "find_run",
        "finished_runs",
        "load_run",
        "lock_run",
        "save_run",
        "describe_versions",
        "summarize",
        "table",
    ),
    *("beside_published", "compare", "describe_ties", "format_comparison", "load_histories", "load_published"),
    *("load_runs", "load_shown", "report", "save_figure", "select_runs"),
]

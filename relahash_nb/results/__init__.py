"""Runs as files (`runs`), and all runs as tables (`tables`, `comparison`). No torch at the top, no pickle."""
# ruff: noqa: F401

from relahash_nb.results.comparison import compare, format_comparison, paired_differences
from relahash_nb.results.runs import Run, describe_versions, find_run, load_run, lock_run, save_run
from relahash_nb.results.tables import finished_runs, load_histories, load_runs, load_shown, save_figure, select_runs

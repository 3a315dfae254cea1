"""Runs as files (`runs`), and all runs as tables (`tables`, `comparison`). No torch at the top, no pickle."""
# ruff: noqa: F401

from relahash_nb.results.comparison import beside_published, compare, describe_ties, format_comparison, load_published

from relahash_nb.results.comparison import paired_differences  # isort: skip
from relahash_nb.results.runs import Run, describe_versions, find_run, load_run, lock_run, save_run
from relahash_nb.results.tables import finished_runs, load_histories, load_runs, load_shown, report, save_figure

from relahash_nb.results.tables import select_runs, summarize, table  # isort: skip

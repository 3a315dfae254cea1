"""Runs as files (`runs`, `report`, `machine`), and all runs as tables. No torch at the top, no pickle."""
# ruff: noqa: F401

from relahash_nb.results.comparison import compare, format_comparison, paired_differences
from relahash_nb.results.figures import save_figure
from relahash_nb.results.machine import describe_hardware, describe_versions
from relahash_nb.results.report import Report
from relahash_nb.results.runs import Finished, Run, find_run, finished_runs, load_run, lock_run, save_run
from relahash_nb.results.selection import load_histories, load_shown, select_runs
from relahash_nb.results.tables import load_runs, read_table

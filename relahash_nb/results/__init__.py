"""Runs as files (`saving`, `runs`, `report`), and their tables (`tables`, `selection`, `differences`). No torch."""
# ruff: noqa: F401

from relahash_nb.results.comparison import compare, compare_across, describe_change, format_comparison, means_across
from relahash_nb.results.differences import (
    as_cosine,
    centroid_shift,
    differences_over_splits,
    format_differences,
    paired_cells,
    paired_differences,
)
from relahash_nb.results.figures import save_figure
from relahash_nb.results.literature import beside_published, load_published
from relahash_nb.results.machine import describe_hardware, describe_versions
from relahash_nb.results.report import Report
from relahash_nb.results.runs import Run, RunTaken, changed_sources, find_run, finished_runs, load_run, lock_run
from relahash_nb.results.saving import Finished, save_run
from relahash_nb.results.selection import (
    load_histories,
    load_shown,
    read_published,
    results_or_published,
    select_budgets,
    select_runs,
)
from relahash_nb.results.tables import distinct, load_runs, read_table

# ruff: noqa: F401  (what is imported here is what the package offers)
"""Tuning: the same budget of Optuna trials for every method, scored on held-out training images alone."""

from relahash_nb.tuning.journal import Journal, Trial
from relahash_nb.tuning.search import (
    default_values,
    plan_searches,
    search_folder,
    search_space,
    tune,
    tuned,
    tuned_path,
    with_values,
)
from relahash_nb.tuning.targets import TARGETS, hold_out

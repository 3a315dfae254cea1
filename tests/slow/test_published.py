"""A published row comes out again by its printed command, to the last digit."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from relahash_nb.config import RunConfig
from relahash_nb.registry import BASELINES
from relahash_nb.results import describe_versions, load_runs, read_table
from relahash_nb.results.machine import name_processor

SUMMARY = Path(__file__).parent.parent.parent / "docs" / "results" / "summary.csv"


def shortest_of_this_machine():
    """The trained run on the embedded data that took the shortest time, on this kind of processor, with this torch."""
    table = read_table(SUMMARY)
    processor, torch = name_processor(), describe_versions()["torch"]
    table = table[(table["data"] == "fashion_mini") & ~table["loss"].isin(BASELINES)]
    table = table[(table["processor"] == processor) & (table["torch"] == torch)]
    if table.empty:
        pytest.skip(f"the last digits depend on processor and torch; none is published of {processor} and {torch}")
    return table.sort_values("seconds_training").iloc[0]


@pytest.mark.slow
def test_the_shortest_published_row_comes_out_again_to_the_last_digit(tmp_path):
    """The command says all that the digits depend on: no variable sets the number of threads."""
    row = shortest_of_this_machine()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    _, *arguments = shlex.split(row["command"])
    command = [sys.executable, "-m", "relahash_nb.cli", *arguments, "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    again = load_runs(tmp_path / "results").iloc[0]
    names = ["run_id", "mean_average_precision", "worst", "best", "precision_at_100", "quantization_error", "threads"]
    assert {name: again[name] for name in names} == {name: row[name] for name in names}


def test_a_published_command_that_names_no_threads_is_of_one():
    table = read_table(SUMMARY)
    silent = table[~table["command"].str.contains("--threads")]
    assert len(silent) > 100 and (silent["threads"].dropna() == 1).all()
    assert RunConfig(dataset="fashion_mini").threads == 1

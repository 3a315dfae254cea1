"""Tables of the pages: what they say of made-up runs."""

from pathlib import Path

import pandas as pd

from relahash_nb.results import read_table
from tools import generate

ROOT = Path(__file__).parent.parent


def pairs(scores):
    """A run for each (data, seed, mAP, query accuracy), alike in all else."""
    run = read_table(ROOT / "docs" / "results" / "summary.csv").query("backbone == 'alexnet'").iloc[[0]]
    rows = []
    for number, (data, seed, score, accuracy) in enumerate(scores):
        changes = dict(data=data, seed=seed, mean_average_precision=score, query_accuracy=accuracy)
        changes["new_images"] = score - 0.2
        rows.append(run.assign(**changes, fingerprint=data, run_id=f"run {number}"))
    return pd.concat(rows)


def test_the_cost_of_jpeg_is_a_mean_over_pairs_of_one_seed():
    runs = pairs(
        [
            (generate.LOSSLESS, 0, 0.6, 0.7),
            (generate.JPEG, 0, 0.5, 0.66),
            (generate.LOSSLESS, 1, 0.7, 0.8),
            (generate.JPEG, 1, 0.62, 0.78),
            (generate.JPEG, 2, 0.1, 0.1),  # without a partner
        ]
    )
    cells = generate.jpeg_cost(runs).splitlines()[2].strip("| ").split(" | ")
    assert cells[3:7] == ["2", "0.4500", "0.3600", "-0.0900 ± 0.0141"]  # on new images
    assert cells[7:10] == ["0.6500", "0.5600", "-0.0900 ± 0.0141"]
    assert cells[10:] == ["0.7500", "0.7200", "-0.0300 ± 0.0141"]


def test_there_is_no_cost_of_jpeg_without_a_pair():
    assert generate.jpeg_cost(pairs([(generate.LOSSLESS, 0, 0.6, 0.7), (generate.JPEG, 1, 0.5, 0.6)])) == ""

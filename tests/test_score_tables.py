"""Tables of the pages: what they say of made-up runs."""

from pathlib import Path

import pandas as pd

from relahash_nb.results import distinct, read_table
from tools import score_tables

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
            (score_tables.LOSSLESS, 0, 0.6, 0.7),
            (score_tables.JPEG, 0, 0.5, 0.66),
            (score_tables.LOSSLESS, 1, 0.7, 0.8),
            (score_tables.JPEG, 1, 0.62, 0.78),
            (score_tables.JPEG, 2, 0.1, 0.1),  # without a partner
        ]
    )
    cells = score_tables.jpeg_cost(runs).splitlines()[2].strip("| ").split(" | ")
    assert cells[3:7] == ["2", "0.4500", "0.3600", "-0.0900 ± 0.0141"]  # on new images
    assert cells[7:10] == ["0.6500", "0.5600", "-0.0900 ± 0.0141"]
    assert cells[10:] == ["0.7500", "0.7200", "-0.0300 ± 0.0141"]


def test_there_is_no_cost_of_jpeg_without_a_pair():
    assert score_tables.jpeg_cost(pairs([(score_tables.LOSSLESS, 0, 0.6, 0.7), (score_tables.JPEG, 1, 0.5, 0.6)])) == ""


def searched(target, score, new_images):
    """Five seeds of two losses on miniImageNet, by a search for a target; csq scores .1 more than relahash."""
    run = read_table(ROOT / "docs" / "results" / "summary.csv").query("tuning == '24 trials' and bits == 64").iloc[[0]]
    rows = []
    for loss, more in (("relahash", 0.0), ("csq", 0.1)):
        for seed in range(5):
            changes = dict(data="lists miniimagenet100_10k", loss=loss, seed=seed, tuning=target, new_images=new_images)
            changes["new_images_asymmetric"] = new_images + more + 0.01
            changes["mean_average_precision"] = score + more
            rows.append(run.assign(**changes, run_id=f"{target} {loss} {seed}"))
    return pd.concat(rows)


def test_the_comparison_has_each_score_after_the_search_for_it():
    runs = pd.concat([searched("24 trials, new images", 0.3, 0.2), searched("24 trials, protocol", 0.4, 0.1)])
    class_index = runs.iloc[[0]].assign(loss="class_index", tuning=None, run_id="class_index")
    title, _, *lines = score_tables.comparison(distinct(pd.concat([runs, class_index]))).splitlines()
    assert title.strip("| ").split(" | ")[1:] == ["new images", "new images, float query", "published protocol"]
    cells = {line.strip("| ").split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in lines[:3]}
    assert cells["csq"] == ["0.2000 ± 0.0000 (1)", "0.3100 ± 0.0000 (1)", "0.5000 ± 0.0000 (1)"]
    assert cells["relahash"] == ["0.2000 ± 0.0000 (1)", "0.2100 ± 0.0000 (2)", "0.4000 ± 0.0000 (2)"]
    assert cells["index of predicted class"] == ["0.2000", "", "0.3000"]

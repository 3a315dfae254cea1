"""Differences between methods: paired, with intervals and verdicts, over splits and over the cells of a grid."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from relahash_nb.results import differences


def with_query_scores(folder, **methods):
    """Runs at 16 bits as folders that hold nothing but the score of each query; (S, Q) by method."""
    rows = []
    for method, scores in methods.items():
        for seed, values in enumerate(scores):
            place = folder / f"{method}{seed}"
            place.mkdir()
            np.savez(place / "codes.npz", average_precision=values)
            rows.append({"method": method, "bits": 16, "seed": seed, "folder": str(place)})
    return pd.DataFrame(rows)


def test_differences_to_a_reference_are_paired_by_query_and_corrected_for_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(differences, "load_run", lambda folder: SimpleNamespace(arrays=np.load(f"{folder}/codes.npz")))
    generator = np.random.default_rng(0)
    hard = generator.uniform(0, 1, 400)  # of a query; far more than any method's gain

    def draw(gain, spread=0.02):
        return [hard + gain + generator.normal(0, spread, 400) for _ in range(4)]

    noise = {f"noise{number}": draw(0.0, 0.2) for number in range(9)}
    runs = with_query_scores(tmp_path, relahash=draw(0), up=draw(0.02), down=draw(-0.03), one=draw(0)[:1], **noise)
    table = differences.paired_differences(runs).set_index("method")
    assert table.loc[["up", "down"], "verdict"].tolist() == ["better", "worse"]
    assert table.loc["up", "low"] < 0.02 < table.loc["up", "high"] and table.loc["up", "low"] > 0.01
    assert set(table.loc[list(noise), "verdict"]) == {"not told apart"} and "one" not in table.index
    assert table.index[0] == "up" and table.index[-1] == "down" and "relahash" not in table.index


def test_the_interval_is_that_of_new_seeds_not_of_resampled_ones():
    """Gains 1 and −1 of two seeds: the variance of their mean is 1, of resampled means it is ½."""
    gain = np.array([[1.0, 1.0], [-1.0, -1.0]])
    weights = np.full((1_000, 2), 0.5)
    row = differences.describe_gain(gain, weights, np.random.default_rng(0))
    assert row["difference"] == 0 and (row["low"], row["high"]) == pytest.approx((-math.sqrt(2), math.sqrt(2)))


def test_differences_on_new_images_need_runs_that_have_them(tmp_path, monkeypatch):
    monkeypatch.setattr(differences, "load_run", lambda folder: SimpleNamespace(arrays=np.load(f"{folder}/codes.npz")))
    runs = with_query_scores(tmp_path, relahash=[np.ones(3)] * 2, csq=[np.ones(3)] * 2)
    with pytest.raises(ValueError, match="has no new_images_average_precision"):
        differences.paired_differences(runs, score="new_images")


def test_a_difference_varies_with_the_split():
    """Gains .1 and .3 on one split, where a third seed has no partner, and .5 on another: .35 ± .15 √2."""
    rows = [("relahash", "one", seed, 0.2) for seed in (0, 1, 2)] + [("relahash", "two", 0, 0.1)]
    rows += [("csq", "one", 0, 0.3), ("csq", "one", 1, 0.5), ("csq", "one", 9, 0.9), ("csq", "two", 0, 0.6)]
    runs = pd.DataFrame(rows, columns=["method", "fingerprint", "seed", "new_images"]).assign(bits=64)
    (row,) = differences.differences_over_splits(runs, score="new_images").to_dict("records")
    assert (row["method"], row["bits"], row["splits"]) == ("csq", 64, 2)
    assert (row["difference"], row["deviation"]) == pytest.approx((0.35, math.sqrt(2) * 0.15))


def test_a_difference_that_one_seed_made_is_not_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(differences, "load_run", lambda folder: SimpleNamespace(arrays=np.load(f"{folder}/codes.npz")))
    flat = [np.full(200, 0.5)] * 3
    runs = with_query_scores(tmp_path, relahash=flat, lucky=[np.full(200, 0.9), *flat[1:]])
    assert differences.paired_differences(runs)["verdict"].tolist() == ["not told apart"]


def test_cells_are_compared_at_equal_scale_and_margin_over_the_seeds_that_both_have():
    rows = [
        ("relahash", 8.0, 0.5, 0, 0.60),  # scale 1, margin 4 at batches of 64
        ("relahash", 8.0, 0.5, 1, 0.70),
        ("relahash", 8.0, 0.5, 2, 0.99),
        ("relahash", 64.0, 0.5, 0, 0.50),  # without a partner
        ("orthohash", 1.0, 4.0, 0, 0.50),
        ("orthohash", 1.0, 4.0, 1, 0.50),
    ]
    runs = pd.DataFrame(rows, columns=["loss", "beta", "margin", "seed", "error"]).assign(batch_size=64)
    assert differences.paired_cells(runs, "error").round(6).to_dict() == {(4.0, 1.0): 0.15}

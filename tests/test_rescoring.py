"""Two steps of a search, against a loop over all ways in which ties at the cut may fall."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relahash_nb.metrics import distance_scores, rescored_precision


def precision_of_all_draws(distances, second, relevant, first, n):
    """The mean over all equally likely sets of the first R items."""
    cut = np.sort(distances)[first - 1]
    nearer = [item for item, distance in enumerate(distances) if distance < cut]
    tied = [item for item, distance in enumerate(distances) if distance == cut]
    values = []
    for drawn in itertools.combinations(tied, first - len(nearer)):
        ranked = sorted([*nearer, *drawn], key=lambda item: (second[item], item))
        values.append(np.mean([relevant[item] for item in ranked[:n]]))
    return np.mean(values)


@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_the_mean_over_all_draws_at_the_cut(seed, first, n):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 4, (3, 10))
    second = rng.integers(0, 15, (3, 10)) / 4  # some are equal
    relevant = rng.random((3, 10)) < 0.4
    n = min(n, first)
    expected = [precision_of_all_draws(*row, first, n) for row in zip(distances, second, relevant, strict=True)]
    assert rescored_precision(distances, second, relevant, first, n) == pytest.approx(expected, abs=1e-12)


def test_with_all_items_it_is_the_second_ranking():
    rng = np.random.default_rng(0)
    distances, second = rng.integers(0, 9, (20, 50)), rng.random((20, 50))
    relevant = rng.random((20, 50)) < 0.2
    expected = distance_scores(second, relevant).precision_at(10)
    assert rescored_precision(distances, second, relevant, first=1_000).mean() == pytest.approx(expected)
    again = rescored_precision(distances, distances + second / 2, relevant, first=10, n=10)
    assert again.mean() == pytest.approx(distance_scores(distances, relevant).precision_at(10))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n": 0}, ["n", "0"]),
        ({"first": 5, "n": 6}, ["n", "6", "5"]),
        ({"first": 0}, ["first", "0"]),
        ({"second_distances": np.ones((2, 7))}, ["(2, 7)"]),
        ({"distances": np.full((2, 8), np.nan)}, ["NaN"]),
    ],
)
def test_bad_arguments_raise_one_line(arguments, named):
    ones = np.ones((2, 8))
    with pytest.raises(ValueError) as error:
        rescored_precision(**{"distances": ones, "second_distances": ones, "relevant": ones} | arguments)
    assert all(text in str(error.value) for text in named)

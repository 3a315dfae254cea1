"""A ranking for other evaluators: worked out by hand, and scored by those that are installed."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from relahash_nb.metrics import as_ranking, hamming_distances, retrieval_scores

PAGE = Path(__file__).parent.parent / "docs" / "other-tools.md"
LADDER = np.where(np.arange(4) < np.arange(5)[:, None], -1, 1)  # item i is i bits away from four times +1
QUERY = np.ones((1, 4), dtype=int)


def make_codes(seed=0, queries=5, items=40, bits=7):
    rng = np.random.default_rng(seed)
    return [rng.choice([-1, 1], (count, bits)) for count in (queries, items)]


def test_scores_are_bits_plus_one_less_the_distance():
    ranking = as_ranking(QUERY, LADDER)
    assert ranking.scores.tolist() == [[5, 4, 3, 2, 1]]
    assert ranking.scores.dtype == np.float32
    assert ranking.documents == ["0", "1", "2", "3", "4"]


def test_order_is_that_of_the_distances_and_all_scores_are_above_zero():
    queries, database = make_codes()
    scores, _ = as_ranking(queries, database)
    distances = hamming_distances(queries, database)
    assert np.array_equal(np.argsort(-scores, 1, kind="stable"), np.argsort(distances, 1, kind="stable"))
    assert scores.min() >= 1


def test_ids_sort_as_texts_in_the_order_of_their_numbers():
    _, database = make_codes(items=120)
    documents = as_ranking(database[:1], database).documents
    assert documents[9:11] == ["009", "010"]
    assert documents == sorted(documents)


@pytest.mark.parametrize("ids", [[30, 4, 100, 5, 0], np.array([30, 4, 100, 5, 0], dtype=np.uint16)])
def test_integers_get_one_width(ids):
    assert as_ranking(QUERY, LADDER, ids).documents == ["030", "004", "100", "005", "000"]


def test_texts_stay_as_they_are():
    names = ["b.png", "a.png", "c", "10", "9"]
    assert as_ranking(QUERY, LADDER, names).documents == names


def test_tensors_are_codes_and_ids_too():
    found = as_ranking(torch.tensor(QUERY).float(), torch.tensor(LADDER).float(), torch.arange(8, 13))
    assert found.documents == ["08", "09", "10", "11", "12"]
    assert found.scores.tolist() == [[5, 4, 3, 2, 1]]


@pytest.mark.parametrize(
    "ids",
    [
        [0, 1, 2, 3],
        [0, 1, 2, 3, 3],
        ["a", "b", "c", "d", "a"],
        [-1, 0, 1, 2, 3],
        [0.5, 1, 2, 3, 4],
        [[0], [1], [2], [3], [4]],
    ],
)
def test_other_ids_are_one_line_of_error(ids):
    with pytest.raises(ValueError, match="ids .*allowed") as error:
        as_ranking(QUERY, LADDER, ids)
    assert "\n" not in str(error.value)


def test_codes_of_two_widths_are_an_error():
    with pytest.raises(ValueError):
        as_ranking(QUERY, LADDER[:, :3])


def test_without_ties_all_of_them_agree():
    """Five items at five distances, the first, third and last relevant: (1 + 2/3 + 3/5) / 3."""
    torchmetrics = pytest.importorskip("torchmetrics.functional.retrieval")
    sklearn = pytest.importorskip("sklearn.metrics")
    relevant = np.array([1, 0, 1, 0, 1])
    scores = as_ranking(QUERY, LADDER).scores[0]
    expected = (1 + 2 / 3 + 3 / 5) / 3
    targets = np.stack([relevant, 1 - relevant], axis=1)
    exact = retrieval_scores(QUERY, LADDER, [[1, 0]], targets).mean_average_precision
    assert exact == pytest.approx(expected)
    assert sklearn.average_precision_score(relevant, scores) == pytest.approx(expected)
    found = torchmetrics.retrieval_average_precision(torch.tensor(scores), torch.tensor(relevant))
    assert float(found) == pytest.approx(expected)

"""Rankings by real distances: hand-worked cases, all orders of ties, other libraries, and the bounds of memory."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relahash_nb.metrics import (
    binarize,
    code_distances,
    distance_levels,
    distance_scores,
    hamming_distances,
    levels,
    relevance,
    retrieval_scores,
)

REAL = ("asymmetric", "cosine")


def random_set(seed=0, queries=6, items=40, bits=11, classes=5):
    """Query codes, database codes, query targets, database targets; half of the items are there twice."""
    rng = np.random.default_rng(seed)
    codes = [rng.standard_normal((count, bits)).astype(np.float32) for count in (queries, items)]
    codes[1][items // 2 :] = codes[1][: items - items // 2]
    targets = [(rng.random((count, classes)) < 0.4).astype(int) for count in (queries, items)]
    return *codes, *targets


def average_precision_of(ranked, top_k, denominator):
    """Average precision of one ranked list of 0 and 1, straight from its definition."""
    counted = ranked[:top_k]
    precision = sum(sum(counted[: rank + 1]) / (rank + 1) for rank, hit in enumerate(counted) if hit)
    divisor = sum(counted) if denominator == "retrieved" else min(len(counted), sum(ranked))
    return precision / divisor if divisor else 0.0


def scores_of_all_orders(distances, relevant, top_k, denominator):
    """The average precision of each order of the items that sorts by distance; D is small."""
    values = []
    for order in itertools.permutations(range(len(distances))):
        if all(distances[one] <= distances[two] for one, two in itertools.pairwise(order)):
            values.append(average_precision_of([relevant[item] for item in order], top_k, denominator))
    return values


# --- distances -----------------------------------------------------------------------------------------------------


def test_distances_by_hand():
    queries, database = np.array([[3.0, -1, 0.5]]), np.array([[0.2, 5, 0], [0, 0, 0], [-6, 2, -1]])
    assert code_distances(queries, database).tolist() == [[1, 1, 3]]
    assert code_distances(queries, database, "asymmetric").tolist() == [[-2.5, -2.5, 4.5]]
    cosines = [-(0.6 - 5) / 25.04**0.5, 0, -(-18 - 2 - 0.5) / 41**0.5]
    assert code_distances(queries, database, "cosine")[0] == pytest.approx(cosines)


@pytest.mark.parametrize("distance", REAL)
def test_distances_are_those_of_each_pair(distance):
    queries, database, *_ = random_set(bits=130, items=70)
    for query, row in zip(queries, code_distances(queries, torch.tensor(database), distance), strict=True):
        for item, value in zip(database, row, strict=True):
            other = np.where(item >= 0, 1, -1) if distance == "asymmetric" else item / np.linalg.norm(item)
            assert value == pytest.approx(-np.dot(query, other), rel=1e-5)


@pytest.mark.parametrize("distance", REAL)
def test_equal_items_are_at_equal_distances_wherever_they_stand(distance):
    rng = np.random.default_rng(1)
    database = rng.standard_normal((301, 67)).astype(np.float32)
    repeated = database[rng.integers(0, 301, 1_203)]
    distances = code_distances(rng.standard_normal((9, 67)), np.concatenate([database, repeated]), distance)
    for row in distances:
        assert len(np.unique(row)) == 301
    zeros = code_distances(np.ones((1, 2)), np.array([[0.0, 1], [-0.0, 1]]), distance)
    assert zeros[0, 0] == zeros[0, 1]


def test_an_asymmetric_distance_of_binary_codes_ranks_as_hamming():
    queries, database, *targets = random_set(queries=20, items=200)
    hamming = retrieval_scores(queries, database, *targets, top_k=50)
    same = retrieval_scores(binarize(queries), database, *targets, top_k=50, distance="asymmetric")
    np.testing.assert_allclose(same.average_precision, hamming.average_precision, rtol=1e-13)
    assert (same.best, same.worst) == pytest.approx((hamming.best, hamming.worst))
    assert same.precision_at([1, 7, 99]) == pytest.approx(hamming.precision_at([1, 7, 99]))


def test_relevance_is_a_shared_label():
    assert relevance([[1, 0, 1], [0, 0, 0]], torch.tensor([[0, 0, 2], [0, 1, 0]])).tolist() == [[1, 0], [0, 0]]


# --- levels --------------------------------------------------------------------------------------------------------


def test_levels_by_hand():
    distances = [[0.5, 0.1, 0.5, 0.7, np.inf], [3, 3, 3, 3, 3]]
    relevant = [[1, 0, 0, 1, 1], [0, 1, 0, 0, 1]]
    hits, total = distance_levels(distances, relevant)
    assert hits.tolist() == [[0, 1, 1, 0, 0], [2, 0, 0, 0, 0]]
    assert total.tolist() == [[1, 2, 1, 0, 0], [5, 0, 0, 0, 0]]
    hits, total = distance_levels(distances, relevant, ranks=2)  # the second rank is within a level of two
    assert hits.tolist() == [[0, 1, 1], [2, 0, 0]]
    assert total.tolist() == [[1, 2, 1], [5, 0, 0]]


@given(st.integers(0, 999), st.integers(1, 45))
@settings(max_examples=40, deadline=None)
def test_levels_of_the_first_ranks_are_those_of_all(seed, ranks):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 12, (4, 40)).astype(float)
    distances[rng.random((4, 40)) < 0.1] = np.inf
    relevant = rng.random((4, 40)) < 0.3
    all_hits, all_total = distance_levels(distances, relevant)
    hits, total = distance_levels(distances, relevant, ranks)
    np.testing.assert_array_equal(hits.sum(1), all_hits.sum(1))
    np.testing.assert_array_equal(total.sum(1), np.isfinite(distances).sum(1))
    for row in range(4):
        levels_needed = 1 + int((np.cumsum(all_total[row]) < min(ranks, total[row].sum())).sum())
        np.testing.assert_array_equal(hits[row, :levels_needed], all_hits[row, :levels_needed])
        np.testing.assert_array_equal(total[row, :levels_needed], all_total[row, :levels_needed])


# --- scores --------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.7]), st.booleans()), min_size=1, max_size=7),
    st.sampled_from([None, 1, 3, 7]),
    st.sampled_from(["retrieved", "relevant"]),
)
@settings(max_examples=60, deadline=None)
def test_mean_best_and_worst_are_those_of_all_orders(items, top_k, denominator):
    distances, relevant = zip(*items, strict=True)
    values = scores_of_all_orders(distances, relevant, top_k, denominator)
    scores = distance_scores([distances], [relevant], top_k, denominator)
    assert scores.mean_average_precision == pytest.approx(np.mean(values), abs=1e-13)
    assert (scores.best, scores.worst) == pytest.approx((max(values), min(values)), abs=1e-13)


@pytest.mark.parametrize("distance", REAL)
@pytest.mark.parametrize("top_k", [None, 3])
def test_scores_of_codes_are_those_of_all_orders(distance, top_k):
    queries, database, labels, targets = random_set(items=6, bits=3)
    distances = code_distances(queries, database, distance)
    shared = labels @ targets.T > 0
    scores = retrieval_scores(queries, database, labels, targets, top_k, distance=distance)
    expected, best, worst = [], [], []
    for row, relevant in zip(distances, shared, strict=True):
        values = scores_of_all_orders(row, relevant, top_k, "retrieved")
        expected.append(np.mean(values))
        best.append(max(values))
        worst.append(min(values))
    assert scores.average_precision == pytest.approx(expected)
    assert (scores.best, scores.worst) == pytest.approx((np.mean(best), np.mean(worst)))
    assert scores.worst < scores.best  # some items are there twice


@pytest.mark.parametrize("distance", REAL)
def test_scikit_learn_agrees_where_no_ties_exist(distance):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    queries, database = rng.standard_normal((30, 32)), rng.standard_normal((200, 32))
    labels, targets = np.eye(4)[rng.integers(0, 4, 30)], np.eye(4)[rng.integers(0, 4, 200)]
    scores = retrieval_scores(queries, database, labels, targets, distance=distance)
    for row, (query, label) in enumerate(zip(queries, labels, strict=True)):
        other = binarize(database) if distance == "asymmetric" else database / np.linalg.norm(database, axis=1)[:, None]
        expected = sklearn_metrics.average_precision_score(targets @ label, other @ query)
        assert scores.average_precision[row] == pytest.approx(expected, abs=1e-12)
    assert scores.best == pytest.approx(scores.worst)


@pytest.mark.parametrize("distance", REAL)
@pytest.mark.parametrize("top_k", [None, 9])
def test_blocks_and_order_of_the_database_do_not_matter(monkeypatch, distance, top_k):
    queries, database, labels, targets = random_set(queries=12)
    at_once = retrieval_scores(queries, database, labels, targets, top_k, distance=distance)
    monkeypatch.setattr(levels, "_PAIRS_AT_A_TIME", 100)
    shuffled = np.random.default_rng(0).permutation(len(database))
    again = retrieval_scores(queries, database[shuffled], labels, targets[shuffled], top_k, distance=distance)
    np.testing.assert_allclose(again.average_precision, at_once.average_precision, rtol=1e-13)
    assert again.precision_at([1, 5, 40]) == pytest.approx(at_once.precision_at([1, 5, 40]))
    given = distance_scores(code_distances(queries, database, distance), labels @ targets.T > 0, top_k)
    np.testing.assert_allclose(given.average_precision, at_once.average_precision, rtol=1e-13)


@pytest.mark.parametrize("distance", REAL)
@pytest.mark.parametrize("top_k", [None, 9])
def test_self_matches_are_left_out(distance, top_k):
    _, database, _, targets = random_set(items=30)
    own = np.array([4, -1, 29])
    scores = retrieval_scores(
        database[own], database, targets[own], targets, top_k, self_matches=own, distance=distance
    )
    for query, item in enumerate(own):
        others = np.arange(30) != item
        alone = retrieval_scores(
            database[[item]], database[others], targets[[item]], targets[others], top_k, distance=distance
        )
        assert scores.average_precision[query] == pytest.approx(alone.mean_average_precision, abs=1e-14)


def test_precision_at_counts_ties_and_says_how_far_it_goes():
    scores = distance_scores([[0.5, 0.1, 0.5, 0.7]], [[1, 0, 0, 1]])
    assert scores.precision_at([1, 2, 3, 4]) == pytest.approx([0, 0.5 / 2, 1 / 3, 2 / 4])
    assert scores.precision_of_queries([2, 4]).tolist() == [[0.25, 0.5]]
    many = np.arange(3_000.0)[None]
    scores = distance_scores(many, many % 2 == 0, top_k=10)
    assert scores.precision_at(1_000) == pytest.approx(0.5)
    assert scores.total.sum() == 3_000 and scores.relevant.sum() == 1_500
    with pytest.raises(ValueError, match="1001"):
        scores.precision_at(1_001)


def test_memory_does_not_grow_with_pairs():
    queries, database, labels, targets = random_set(queries=500, items=30_000, bits=16)
    tracemalloc.start()
    retrieval_scores(queries, database, labels, targets, top_k=100, distance="cosine")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 30_000 * 8  # one number a pair


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda one: retrieval_scores(one, one, one, one, distance="euclidean"), ["distance", "euclidean", "cosine"]),
        (lambda one: retrieval_scores(one * np.inf, one, one, one, distance="cosine"), ["codes", "infinite"]),
        (lambda one: retrieval_scores(one, one, one, one * np.nan, distance="cosine"), ["targets", "NaN"]),
        (lambda one: retrieval_scores(one, one, one, one, 0, distance="cosine"), ["top_k", "0"]),
        (lambda one: retrieval_scores(one, one, one, one, distance="cosine").recall_within(2), ["cosine", "hamming"]),
        (lambda one: distance_scores(one * np.nan, one), ["distances", "NaN"]),
        (lambda one: distance_scores(one, one[:1]), ["distances", "(2, 8)", "(1, 8)"]),
        (lambda one: distance_levels(one, one, ranks=0), ["ranks", "0"]),
        (lambda one: code_distances(one, one[:, :3]), ["codes", "(2, 3)"]),
    ],
)
def test_bad_arguments_raise_one_line(call, named):
    with pytest.raises(ValueError) as error:
        call(np.ones((2, 8)))
    assert all(text in str(error.value) for text in named)
    assert "\n" not in str(error.value)


def test_hamming_is_one_of_the_distances():
    queries, database, *_ = random_set()
    np.testing.assert_array_equal(code_distances(queries, database), hamming_distances(queries, database))

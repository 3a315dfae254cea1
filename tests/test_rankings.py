"""A ranking for other evaluators: worked out by hand, and scored by those that are installed."""

import doctest

import numpy as np
import pytest
import torch

from benchmarks.other_tools import evaluators, files, page, repositories
from benchmarks.other_tools.evaluator_examples import EXAMPLES, START
from benchmarks.other_tools.evaluator_guesses import EVALUATORS, REPOSITORIES
from relahash_nb.metrics import as_ranking, hamming_distances, retrieval_scores

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
    with pytest.raises(ValueError, match=r"ids .*allowed") as error:
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


def test_scikit_learn_is_no_bound():
    """One irrelevant item, then two tied relevant ones: 2/3, where the best order has (1/2 + 2/3) / 2."""
    sklearn = pytest.importorskip("sklearn.metrics")
    database = LADDER[[0, 1, 1]]
    relevant = np.array([0, 1, 1])
    best = retrieval_scores(QUERY, database, [[1, 0]], np.stack([relevant, 1 - relevant], 1)).best
    assert best == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert sklearn.average_precision_score(relevant, as_ranking(QUERY, database).scores[0]) == pytest.approx(2 / 3)


# --- the page's blocks of evaluators and repositories ----------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_page(name):
    """Each runs where its evaluator is installed; the benchmark ran all of them."""
    module, lines = EXAMPLES[name]
    assert lines in page.PAGE.read_text(encoding="utf-8")
    assert files.read_results("evaluators")["examples"][name] == "right"
    pytest.importorskip(module)
    test = doctest.DocTestParser().get_doctest(START + lines, {}, name, None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_each_row_has_a_guess_words_and_numbers():
    rows = files.read_results("evaluators")["rows"]
    declared = {row for script in evaluators.EVALUATORS.values() for row in script.rows}
    assert set(rows) == declared == set(evaluators.WORDS) == {*EVALUATORS, "metric_learning_faiss"}
    measured = files.read_results("repositories")["rows"]
    assert set(measured) == set(repositories.WORDS) == {*REPOSITORIES, "cisip_fire_old_eval"}
    assert all(len(row["commit"]) == 40 and row["expected"] for row in measured.values())


def test_the_exact_values_beside_the_repositories_come_out_again():
    written = files.read_results("repositories")
    assert repositories.exact_scores(16) == written["exact"]["16"]
    tie_aware = written["rows"]["talr_tie_ap"]["map"]["16"]["all"]
    assert tie_aware["sorted"] == pytest.approx(written["exact"]["16"]["all"]["expected"], abs=2e-6)


def test_the_ranked_score_by_hand():
    """Ranks 1, 3 and 5 relevant; with two ranks the first alone counts."""
    distances = np.array([[0, 1, 2, 3, 4]])
    relevant = np.array([[True, False, True, False, True]])
    assert repositories.ranked_score(distances, relevant, None) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-6)
    assert repositories.ranked_score(distances, relevant, 2) == 1


def test_scores_beside_the_exact_ones_by_hand():
    """Of two tied items one is relevant: 3/4 expected, 1 best, 1/2 worst."""
    exact = (np.array([0.75]), np.array([1.0]), np.array([0.5]))
    found = evaluators.beside([0.5], exact)
    assert (found["to_expected"], found["to_best"], found["to_worst"]) == (-0.25, -0.5, 0)
    assert (found["queries_above_best"], found["queries_below_worst"]) == (0, 0)
    assert evaluators.beside([1.1], exact)["queries_above_best"] == 1


@pytest.mark.slow
def test_two_evaluators_score_the_same_again(tmp_path):
    """Installs their wheels, so it needs the package index."""
    tasks = tmp_path / "tasks.npz"
    exact = evaluators.write_tasks(tasks)
    written = files.read_results("evaluators")["rows"]
    for name in ("scikit_learn", "trec"):
        rows, examples = evaluators.run_evaluator(name, tmp_path, tasks, exact)
        assert set(examples.values()) == {"right"}
        for row, again in rows.items():
            for codes in evaluators.SETS:
                expected = written[row]["measured"][codes]["all"]["map"]
                assert again["measured"][codes]["all"]["map"] == pytest.approx(expected, abs=2e-3)

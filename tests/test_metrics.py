import itertools
import math
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from relahash_nb import metrics
from relahash_nb.metrics import average_precision, distance_histograms, histograms, retrieval_scores, statistics

GOLDEN = np.load(Path(__file__).parent / "data" / "golden_map.npz")
DENOMINATORS = ("retrieved", "relevant")


def random_set(seed=0, queries=6, items=40, bits=11, classes=5, labels=2):
    """Query codes, database codes, query targets, database targets: few bits, so many ties."""
    rng = np.random.default_rng(seed)
    codes = [rng.standard_normal((count, bits)) for count in (queries, items)]
    targets = [(rng.random((count, classes)) < labels / classes).astype(int) for count in (queries, items)]
    return *codes, *targets


def ladder(relevant):
    """One query and a database without ties: item i is i + 1 bits away, and relevant where the list says so."""
    relevant = np.asarray(relevant)
    database = np.where(np.arange(64) <= np.arange(len(relevant))[:, None], -1, 1)
    return np.ones((1, 64)), database, np.array([[1, 0]]), np.stack([relevant, 1 - relevant], 1)


def ap_of_list(relevant, top_k, denominator):
    """Average precision of one ranked list, straight from its definition."""
    ranked = relevant[:top_k]
    precision = sum(sum(ranked[: i + 1]) / (i + 1) for i, hit in enumerate(ranked) if hit)
    goal = sum(ranked) if denominator == "retrieved" else min(len(ranked), sum(relevant))
    return precision / goal if goal else 0.0


def orders_of(relevant, total):
    """All ranked lists of relevant (1) and other (0) items that the histograms allow, each equally likely."""
    levels = [
        [[int(i in hits) for i in range(n)] for hits in itertools.combinations(range(n), r)]
        for r, n in zip(relevant, total, strict=True)
    ]
    return [list(itertools.chain(*order)) for order in itertools.product(*levels)]


# --- codes ---------------------------------------------------------------------------------------------------------


def test_sign_of_zero_is_plus_one():
    assert metrics.binarize([[0.0, -0.0, -1e-30, 2]]).tolist() == [[1, 1, -1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8])
def test_binarize_takes_tensors_of_any_dtype_that_has_a_sign(dtype):
    codes = torch.tensor([[3, -2]], dtype=dtype, requires_grad=dtype.is_floating_point)
    assert metrics.binarize(codes).tolist() == [[1, -1]]


@given(st.integers(1, 140), st.integers(0, 5), st.integers(0, 99))
def test_unpack_undoes_pack(bits, items, seed):
    codes = np.random.default_rng(seed).standard_normal((items, bits))
    packed = metrics.pack(codes)
    assert packed.shape == (items, math.ceil(bits / 8)) and packed.dtype == np.uint8
    np.testing.assert_array_equal(metrics.unpack(packed, bits), metrics.binarize(codes))


@pytest.mark.parametrize("bits", [1, 8, 13, 64, 65, 200])
def test_hamming_distances_count_differing_signs(bits):
    queries, database, *_ = random_set(bits=bits)
    expected = (np.sign(queries)[:, None] != np.sign(database)).sum(2)
    np.testing.assert_array_equal(metrics.hamming_distances(queries, database), expected)
    tensors = metrics.hamming_distances(torch.tensor(queries), torch.tensor(database))
    np.testing.assert_array_equal(tensors, expected)


# --- histograms ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["numpy", "kernel"])
def way(request, monkeypatch):
    """Both ways to count, whatever the size."""
    monkeypatch.setattr(histograms, "KERNEL_PAIRS", 0 if request.param == "kernel" else math.inf)


@pytest.mark.parametrize("bits", [1, 11, 64, 130])
@pytest.mark.parametrize("classes", [1, 21, 100])
def test_histograms_count_pairs(way, bits, classes):
    data = random_set(bits=bits, classes=classes)
    relevant, total = distance_histograms(*data)
    distances = metrics.hamming_distances(*data[:2])
    shared = (data[2] @ data[3].T) > 0
    for query, distance in itertools.product(range(len(total)), range(bits + 1)):
        assert total[query, distance] == np.sum(distances[query] == distance)
        assert relevant[query, distance] == np.sum(shared[query] & (distances[query] == distance))


@pytest.mark.parametrize("block_items", [1, 7, 40])
def test_histograms_do_not_depend_on_the_size_of_a_block(way, monkeypatch, block_items):
    data = random_set(classes=70)
    at_once = distance_histograms(*data)
    monkeypatch.setattr(histograms, "BLOCK_ITEMS", block_items)
    np.testing.assert_array_equal(distance_histograms(*data), at_once)


def test_the_kernel_is_for_large_databases_alone():
    code = """
import sys
import numpy as np
from relahash_nb import metrics
codes, targets = np.ones((500, 64)), np.ones((500, 1))
metrics.retrieval_scores(codes, np.ones((6_500, 64)), targets, np.ones((6_500, 1)))
sys.exit(bool({"numba", "torch", "scipy.stats"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_distances_that_take_more_than_sixteen_bits(way):
    codes, targets = np.outer([1, -1, 1], np.ones(70_000)), np.array([[0], [1], [1]])
    relevant, total = distance_histograms(codes[2:], codes, targets[2:], targets, self_matches=[2])
    assert np.flatnonzero(total).tolist() == [0, 70_000] and np.flatnonzero(relevant).tolist() == [70_000]
    scores = retrieval_scores(codes[2:], codes, targets[2:], targets, self_matches=[2])
    assert [scores.mean_average_precision, scores.best, scores.worst] == pytest.approx([1 / 2] * 3)


def test_memory_does_not_grow_with_pairs():
    data = random_set(queries=500, items=30_000, bits=16)
    retrieval_scores(*data)  # what is loaded once is not counted
    tracemalloc.start()
    retrieval_scores(*data, top_k=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 30_000 / 2  # half a byte a pair


@pytest.mark.parametrize("top_k", [None, 9])
def test_self_matches_are_left_out(top_k):
    _, database, _, targets = random_set(items=30)
    own = np.array([4, -1, 29])
    queries, labels = database[own], targets[own]
    scores = retrieval_scores(queries, database, labels, targets, top_k, self_matches=own)
    for query, item in enumerate(own):
        others = np.arange(30) != item
        alone = retrieval_scores(queries[[query]], database[others], labels[[query]], targets[others], top_k)
        assert scores.average_precision[query] == pytest.approx(alone.mean_average_precision, abs=1e-15)
        np.testing.assert_array_equal(scores.total[query], alone.total[0])


# --- average precision ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4).filter(
        lambda levels: math.prod(math.comb(a + b, a) for a, b in levels) <= 500
    ),
    st.integers(1, 12),
    st.sampled_from(DENOMINATORS),
)
def test_mean_best_and_worst_over_all_orders(levels, top_k, denominator):
    relevant, total = [r for r, _ in levels], [r + other for r, other in levels]
    values = [ap_of_list(order, top_k, denominator) for order in orders_of(relevant, total)]
    expected, best, worst = average_precision([relevant], [total], top_k, denominator)
    assert expected[0] == pytest.approx(math.fsum(values) / len(values), abs=1e-14)
    assert (best[0], worst[0]) == pytest.approx((max(values), min(values)), abs=1e-14)


def test_relevant_first_is_not_always_best():
    # Ranks 1 and 2 hold a relevant item and another, and one of two tied items gets rank 3: a relevant one there
    # lowers the mean precision from 1 to (1 + 2/3) / 2.
    relevant, total = [[1, 0, 1]], [[1, 1, 2]]
    expected, best, worst = average_precision(relevant, total, top_k=3)
    assert (best[0], worst[0], expected[0]) == pytest.approx((1, 5 / 6, 11 / 12))
    expected, best, worst = average_precision(relevant, total, top_k=3, denominator="relevant")
    assert (best[0], worst[0], expected[0]) == pytest.approx((5 / 6, 1 / 2, 2 / 3))


def test_the_denominators_by_hand():
    data = ladder([1, 0, 0, 1])
    assert retrieval_scores(*data, top_k=3).mean_average_precision == pytest.approx(1)
    assert retrieval_scores(*data, top_k=3, denominator="relevant").mean_average_precision == pytest.approx(1 / 2)
    assert retrieval_scores(*data).mean_average_precision == pytest.approx((1 + 2 / 4) / 2)


@pytest.mark.parametrize(("nearer", "found"), [(0, 0), (50, 0), (50, 20), (700, 650)])
def test_a_wide_cut_agrees_with_exact_fractions(nearer, found):
    items, relevant, slots = 400, 150, 170
    mean = Fraction(0)
    reciprocals = sum(Fraction(1, nearer + k) for k in range(1, slots + 1))
    spread = sum(Fraction(k - 1, nearer + k) for k in range(1, slots + 1))
    for j in range(relevant + 1):
        chance = Fraction(math.comb(relevant, j) * math.comb(items - relevant, slots - j), math.comb(items, slots))
        here = Fraction(j, slots) * ((found + 1) * reciprocals + Fraction(j - 1, slots - 1) * spread)
        mean += chance * (found + here) / max(found + j, 1)
    total = [[found, nearer - found, items]]  # the nearest are all relevant: their precision is 1 each
    expected, *_ = average_precision([[found, 0, relevant]], total, top_k=nearer + slots)
    assert expected[0] == pytest.approx(float(mean), rel=1e-13)


def test_precise_far_down_the_ranking():
    # A million items, then ten tied relevant ones: the closed form must not lose its digits to cancellation.
    values = average_precision([[0, 10]], [[1_000_000, 10]])
    exact = math.fsum(i / (1_000_000 + i) for i in range(1, 11)) / 10
    for value in values:
        assert value[0] == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("case", range(5))
def test_published_values(case):
    names = ("query_codes", "database_codes", "query_targets", "database_targets", "top_k", "mAP")
    *data, top_k, published = (GOLDEN[f"case{case}_{name}"] for name in names)
    scores = retrieval_scores(*data, top_k=int(top_k))
    for score in (scores.mean_average_precision, scores.best, scores.worst):
        assert score == pytest.approx(float(published), abs=1e-12)


@given(st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(any))
@settings(deadline=None)
def test_scikit_learn_agrees_where_no_ties_exist(relevant):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    expected = sklearn_metrics.average_precision_score(relevant, -np.arange(len(relevant)))
    scores = retrieval_scores(*ladder(relevant))
    for score in (scores.mean_average_precision, scores.best, scores.worst):
        assert score == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("top_k", [1, 5, 20, None])
def test_torchmetrics_agrees_where_no_ties_exist(top_k):
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    relevant = np.random.default_rng(3).integers(0, 2, 20)
    closeness = 64 + 1 - torch.arange(1, 21)  # torchmetrics takes scores of 0 and less for "not retrieved"
    truth = torch.tensor(relevant, dtype=torch.bool)
    scores = retrieval_scores(*ladder(relevant), top_k=top_k)
    oracle = functional.retrieval_average_precision(closeness.float(), truth, top_k=top_k)
    assert scores.mean_average_precision == pytest.approx(float(oracle), abs=1e-6)
    n = top_k or 20
    assert scores.precision_at(n) == pytest.approx(float(functional.retrieval_precision(closeness.float(), truth, n)))


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("top_k", [None, 1, 7, 1000])
def test_the_score_of_a_stable_sort_is_within_the_bounds(denominator, top_k):
    data = random_set()
    scores = retrieval_scores(*data, top_k, denominator)
    relevant, values = (data[2] @ data[3].T) > 0, []
    for query, distances in enumerate(metrics.hamming_distances(*data[:2])):
        ranked = relevant[query, np.argsort(distances, kind="stable")].astype(int).tolist()
        values.append(ap_of_list(ranked, top_k, denominator))
    assert scores.worst < np.mean(values) < scores.best and scores.worst < scores.mean_average_precision < scores.best


# --- properties ----------------------------------------------------------------------------------------------------

CUTS = st.tuples(st.sampled_from([None, 1, 5, 13, 40]), st.sampled_from(DENOMINATORS))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 12), CUTS)
def test_scores_do_not_depend_on_the_order_of_the_database(seed, bits, cut):
    queries, database, labels, targets = random_set(seed, bits=bits)
    shuffled = np.random.default_rng(seed).permutation(len(database))
    one = retrieval_scores(queries, database, labels, targets, *cut)
    two = retrieval_scores(queries, database[shuffled], labels, targets[shuffled], *cut)
    np.testing.assert_array_equal(one.average_precision, two.average_precision)
    assert (one.best, one.worst) == (two.best, two.worst)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(0, 10))
def test_flipping_one_bit_of_all_codes_changes_nothing(seed, bit):
    queries, database, *targets = random_set(seed)
    before = retrieval_scores(queries, database, *targets)
    queries[:, bit] *= -1
    database[:, bit] *= -1
    after = retrieval_scores(queries, database, *targets)
    np.testing.assert_array_equal(before.total, after.total)
    assert before.mean_average_precision == after.mean_average_precision


def test_perfect_codes_score_one():
    targets = np.eye(4)[[0, 1, 2, 3] * 5]
    codes = np.repeat(2 * targets - 1, 3, axis=1)
    scores = retrieval_scores(codes[:4], codes, targets[:4], targets)
    assert scores.mean_average_precision == scores.best == scores.worst == 1
    assert scores.precision_at(5) == scores.recall_within(0) == scores.precision_within(0) == 1


@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_top_k_beyond_the_database_is_all_of_it(denominator):
    data = random_set()
    beyond, everything = (retrieval_scores(*data, top_k, denominator) for top_k in (10_000, None))
    np.testing.assert_array_equal(beyond.average_precision, everything.average_precision)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_and_arrays_of_any_dtype_agree(dtype):
    queries, database, labels, targets = random_set()
    codes = [torch.tensor(codes, dtype=torch.bfloat16, requires_grad=True) for codes in (queries, database)]
    ours = retrieval_scores(*codes, torch.tensor(labels, dtype=dtype), torch.tensor(targets, dtype=dtype), top_k=9)
    arrays = retrieval_scores(queries, database, labels, targets, top_k=9)
    np.testing.assert_array_equal(ours.average_precision, arrays.average_precision)


def test_many_queries_are_scored_in_several_blocks(monkeypatch):
    data = random_set()
    at_once = retrieval_scores(*data, top_k=9)
    monkeypatch.setattr("relahash_nb.metrics.retrieval._QUERIES_AT_A_TIME", 4)
    np.testing.assert_array_equal(retrieval_scores(*data, top_k=9).average_precision, at_once.average_precision)


# --- the other scores ----------------------------------------------------------------------------------------------


def test_precision_at_n_is_a_mean_over_all_orders():
    # Distances 0, 1, 1, 1, 2 with relevant items 1 of 1, 1 of 3, 1 of 1.
    database = np.array([[1, 1], [1, -1], [1, -1], [1, -1], [-1, -1]])
    targets = np.eye(2)[[0, 0, 1, 1, 0]]
    scores = retrieval_scores(np.ones((1, 2)), database, targets[:1], targets)
    orders = orders_of([1, 1, 1], [1, 3, 1])
    for n in range(1, 6):
        hits = np.mean([sum(order[:n]) for order in orders])
        assert scores.precision_at(n) == pytest.approx(hits / n)
    np.testing.assert_allclose(scores.precision_at([1, 5, 9]), [1, 3 / 5, 3 / 5])


def test_hamming_balls_by_hand():
    queries = np.array([[1, 1, 1, 1], [-1, -1, -1, -1]])
    database = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [1, 1, 1, -1]])
    scores = retrieval_scores(queries, database, np.eye(2)[[0, 0]], np.eye(2)[[0, 0, 1]])
    # Query 1 sees 1 of 1 at radius 0 and 2 of 3 at radius 1; query 2 sees nothing until radius 3, there 1 of 2.
    np.testing.assert_allclose(scores.precision_within(range(5)), [1 / 2, 1 / 3, 1 / 3, 7 / 12, 2 / 3])
    np.testing.assert_allclose(scores.precision_within(range(5), "skip"), [1, 2 / 3, 2 / 3, 7 / 12, 2 / 3])
    np.testing.assert_allclose(scores.recall_within(range(5)), [1 / 4, 1 / 2, 1 / 2, 3 / 4, 1])
    assert scores.precision_within() == scores.precision_within(2) == pytest.approx(1 / 3)


def test_an_empty_ball_of_every_query_is_not_a_number_when_skipped():
    scores = retrieval_scores(np.ones((1, 4)), -np.ones((2, 4)), np.ones((1, 1)), np.ones((2, 1)))
    assert math.isnan(scores.precision_within(2, "skip"))


def test_a_query_without_relevant_items_counts_as_zero():
    codes = np.array([[1.0, 1], [-1, -1]])
    scores = retrieval_scores(codes, codes, np.array([[1, 0, 0], [0, 0, 1]]), np.eye(3)[[0, 1]])
    assert scores.mean_average_precision == scores.best == scores.worst == 0.5
    assert scores.average_precision[1] == 0
    assert scores.precision_at(1) == scores.recall_within(0) == 0.5


# --- statistics ----------------------------------------------------------------------------------------------------


def test_quantization_errors_by_hand():
    codes = np.array([[2.0, -2.0], [3.0, 1.0]])  # mean 1; centred [[1, -3], [2, 0]]
    cosines = [1, 4 / math.sqrt(20)]
    np.testing.assert_allclose(metrics.code_cosine(codes), cosines)
    assert metrics.quantization_error(codes) == pytest.approx(1 - np.mean(cosines))
    centred = [4 / math.sqrt(20), 2 / math.sqrt(8)]
    assert metrics.quantization_error(codes, centred=True) == pytest.approx(1 - np.mean(centred))


@given(st.floats(0.01, 100), st.integers(0, 99))
def test_cosine_error_knows_no_scale_and_binary_codes_have_none(scale, seed):
    codes = np.random.default_rng(seed).standard_normal((7, 12))
    assert metrics.quantization_error(scale * codes) == pytest.approx(metrics.quantization_error(codes))
    assert metrics.quantization_error(scale * np.sign(codes)) == pytest.approx(0, abs=1e-14)


def test_codes_of_zeros_have_cosine_zero():
    assert metrics.code_cosine(np.zeros((2, 3))).tolist() == [0, 0]


def test_first_hadamard_rows_waste_bits():
    # A known trap: of the 64 columns of the first ten rows only 16 differ, and four are constant.
    hadamard = np.ones((1, 1))
    for _ in range(6):
        hadamard = np.kron(hadamard, [[1, 1], [1, -1]])
    rows = hadamard[:10]
    assert len(metrics.constant_bits(rows)) == 4
    assert len(metrics.duplicate_bits(rows)) == 48
    assert metrics.distinct_codes(rows) == 10


def test_bit_statistics_by_hand():
    codes = np.array([[1, 1, -1, 1], [1, -1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1]])
    assert metrics.bit_balance(codes).tolist() == [1, 0, 0, 0]
    assert metrics.bit_entropy(codes).tolist() == [0, 1, 1, 1]
    assert metrics.constant_bits(codes).tolist() == [0]
    assert metrics.duplicate_bits(codes).tolist() == [2]
    assert metrics.bit_correlation(codes).tolist() == [[1, 0, 0, 0], [0, 1, -1, 0], [0, -1, 1, 0], [0, 0, 0, 1]]
    assert metrics.distinct_codes(np.concatenate([codes, 3 * codes])) == 4


def test_bit_correlation_is_pearson():
    codes = np.random.default_rng(0).standard_normal((50, 6))
    np.testing.assert_allclose(metrics.bit_correlation(codes), np.corrcoef(np.sign(codes).T), atol=1e-14)


def test_class_distances_count_each_pair_once():
    codes, targets = random_set(items=25)[1::2]
    distances = metrics.class_distances(codes, targets)
    intra, inter = [], []
    for a, b in itertools.combinations(range(25), 2):
        (intra if targets[a] @ targets[b] else inter).append(int(np.sum(np.sign(codes[a]) != np.sign(codes[b]))))
    np.testing.assert_array_equal(distances.intra, np.bincount(intra, minlength=12))
    np.testing.assert_array_equal(distances.inter, np.bincount(inter, minlength=12))
    assert (distances.mean_intra, distances.mean_inter) == pytest.approx((np.mean(intra), np.mean(inter)))


def test_class_distances_without_a_pair():
    assert math.isnan(metrics.class_distances(np.ones((2, 3)), np.eye(2)).mean_intra)


def test_the_overlap_of_intra_and_inter_by_hand():
    distances = metrics.class_distances(np.array([[1, 1], [1, 1], [1, -1], [1, 1]]), np.eye(2)[[0, 0, 1, 1]])
    assert distances.intra.tolist() == [1, 1, 0] and distances.inter.tolist() == [2, 2, 0]
    assert distances.overlap == 1
    assert math.isnan(metrics.class_distances(np.ones((2, 3)), np.eye(2)).overlap)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_bit_histograms_have_area_one_and_know_no_scale(scale):
    codes = np.random.default_rng(0).standard_normal((300, 5))
    density, edges = metrics.bit_histograms(codes * scale, bins=30)
    assert np.allclose((density * np.diff(edges)).sum(1), 1)
    assert np.allclose(density, metrics.bit_histograms(codes)[0].reshape(5, 30, 2).mean(2))
    signs = metrics.bit_histograms(np.sign(codes) * scale, bins=5, limit=2.5)[0]
    assert np.allclose(signs[:, 1], (codes < 0).mean(0)) and np.allclose(signs[:, 3], (codes > 0).mean(0))


def test_principal_components_agree_with_scikit_learn():
    from sklearn.decomposition import PCA

    codes = np.random.default_rng(1).standard_normal((80, 6)) @ np.diag([5, 3, 2, 1, 1, 1])
    mean, directions, share = metrics.principal_components(codes)
    other = PCA(2).fit(codes)
    assert np.allclose(mean, other.mean_) and np.allclose(share, other.explained_variance_ratio_)
    assert np.allclose(np.abs(directions @ other.components_.T), np.eye(2), atol=1e-6)
    assert (directions[np.arange(2), np.abs(directions).argmax(1)] > 0).all()


@given(seed=st.integers(0, 99), top_k=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_retrieval_confusion_is_the_mean_over_random_orders_of_ties(seed, top_k):
    generator = np.random.default_rng(seed)
    codes, labels = generator.choice([-1, 1], (12, 3)), generator.integers(0, 3, 12)
    query, label = generator.choice([-1, 1], (1, 3)), generator.integers(0, 3)
    found = metrics.retrieval_confusion(query, codes, np.eye(3)[[label]], np.eye(3)[labels], top_k)
    distances = (codes != query).sum(1)
    orders = [np.lexsort((generator.random(12), distances))[:top_k] for _ in range(2_000)]
    expected = np.bincount(labels[np.concatenate(orders)], minlength=3) / (2_000 * top_k)
    assert np.allclose(found[label], expected, atol=0.05) and np.isclose(found[label].sum(), 1)
    assert np.isnan(np.delete(found, label, axis=0)).all()


def test_an_item_of_several_classes_is_shared_among_them():
    confusion = metrics.retrieval_confusion(np.ones((1, 2)), np.ones((1, 2)), [[1, 1, 0]], [[0, 1, 1]], top_k=5)
    assert confusion[:2].tolist() == [[0, 0.5, 0.5], [0, 0.5, 0.5]]


def test_centroid_distances_average_over_labels():
    codes = np.array([[1, 1, 1, 1]] * 3)
    centroids = np.array([[1, 1, 1, -1], [-1, -1, -1, 1]])
    distances = metrics.centroid_distances(codes, np.array([[1, 0], [1, 1], [0, 0]]), centroids)
    np.testing.assert_array_equal(distances, [1, 2, np.nan])


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_the_nearest_centroid_counts_how_sure_each_bit_is(array):
    centroids = array([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])
    codes = array([[0.1, 0.1, 0.1], [0.1, -3.0, 0.1], [0.1, 0.1, -5.0], [-1.0, -1.0, -1.0]])
    assert statistics.nearest_centroids(codes, centroids).tolist() == [0, 1, 0, 1]  # the second one has two bits of 0
    targets = array([[1, 0], [1, 0], [1, 1], [0, 0]])  # right, wrong, right by one of two, and none to be right about
    assert metrics.centroid_accuracy(codes, targets, centroids) == 0.5


def test_centroid_accuracy_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    centroids = metrics.binarize(generator.standard_normal((5, 16)))
    labels = generator.integers(0, 5, 200)
    codes = centroids[labels] + 4 * generator.standard_normal((200, 16))
    by_distance = KNeighborsClassifier(1).fit(centroids, np.arange(5)).score(codes, labels)
    assert 0.3 < by_distance < 1
    assert metrics.centroid_accuracy(codes, np.eye(5)[labels], centroids) == pytest.approx(by_distance)


# --- errors --------------------------------------------------------------------------------------------------------

ONES = np.ones((2, 8))
SCORES = retrieval_scores(ONES, ONES, ONES, ONES)


@pytest.mark.parametrize(
    ("call", "named"),  # what the message names: the argument, and its value or its shape
    [
        (lambda: metrics.binarize(np.ones(3)), ["codes", "(3,)"]),
        (lambda: metrics.binarize(np.array([[np.nan]])), ["codes", "NaN"]),
        (lambda: metrics.pack(torch.tensor([[math.nan]])), ["codes", "NaN"]),
        (lambda: metrics.pack(np.ones((2, 3), dtype=bool)), ["codes", "bool"]),
        (lambda: metrics.pack(torch.ones(2, 3, dtype=torch.uint8)), ["codes", "uint8"]),
        (lambda: metrics.unpack(np.zeros((1, 2), np.uint8), 8), ["(1, 2)", "(N, 1)"]),
        (lambda: metrics.unpack(np.zeros((1, 2), np.uint8), 0), ["bits", "0"]),
        (lambda: metrics.hamming_distances(ONES, ONES[:, :7]), ["codes", "(2, 8)", "(2, 7)"]),
        (lambda: retrieval_scores(ONES, ONES, ONES[:1], ONES), ["query", "(2, 8)", "(1, 8)"]),
        (lambda: retrieval_scores(ONES, ONES[:0], ONES, ONES[:0]), ["database", "(0, 8)"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES[:, :3]), ["targets", "(2, 3)"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES * np.nan), ["targets", "NaN"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES, top_k=0), ["top_k", "0"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES, top_k=1.5), ["top_k", "1.5"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES, denominator="all"), ["denominator", "'all'", "relevant"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES, self_matches=[0, 2]), ["self_matches", "2"]),
        (lambda: retrieval_scores(ONES, ONES, ONES, ONES, self_matches=[0]), ["self_matches", "(1,)"]),
        (lambda: metrics.retrieval_confusion(ONES, ONES, ONES, ONES, top_k=0), ["top_k", "0"]),
        (lambda: SCORES.precision_at(0), ["n", "0"]),
        (lambda: SCORES.precision_within(-1), ["radius", "-1"]),
        (lambda: SCORES.precision_within(1, "none"), ["empty_ball", "'none'", "skip"]),
        (lambda: metrics.centroid_distances(ONES, ONES, ONES), ["targets", "(2, 8)", "(2, 2)"]),
        (lambda: metrics.centroid_accuracy(ONES, ONES, ONES), ["targets", "(2, 8)", "(2, 2)"]),
        (lambda: metrics.centroid_accuracy(ONES, np.eye(2), ONES[:, :7]), ["centroids", "(2, 8)", "(2, 7)"]),
    ],
)
def test_bad_arguments_raise_one_line(call, named):
    with pytest.raises(ValueError) as error:
        call()
    assert all(text in str(error.value) for text in named)
    assert "\n" not in str(error.value)

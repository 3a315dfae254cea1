"""Centroids: hand-worked cases, exhaustive search where it is feasible, and properties of every method."""

import hashlib
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from relahash_nb.centroids import (
    CENTROIDS,
    LETTERS,
    describe_centroids,
    make_centroids,
    plotkin_bound,
    vote_centroids,
)

# Sylvester's matrix from its closed form: −1 to the number of binary digits that row and column share.
SYLVESTER = torch.tensor([[(-1.0) ** (row & column).bit_count() for column in range(64)] for row in range(64)])


def distances(centroids):
    """Count by hand, pair by pair."""
    rows = centroids.tolist()
    return [sum(a != b for a, b in zip(*pair, strict=True)) for pair in combinations(rows, 2)]


def best_possible(num_classes, bits):
    """Try every set of codes that holds 0 … 0 (no loss: all distances stay when bits are inverted)."""
    codes = range(1, 2**bits)
    sets = ((0, *rest) for rest in combinations(codes, num_classes - 1))
    return max(min((a ^ b).bit_count() for a, b in combinations(chosen, 2)) for chosen in sets)


# ---- every method -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CENTROIDS)
@pytest.mark.parametrize(
    ("num_classes", "bits"), [(1, 1), (1, 5), (2, 1), (3, 1), (5, 2), (10, 8), (21, 12), (9, 48), (70, 7)]
)
def test_every_method_gives_one_code_of_signs_a_class(method, num_classes, bits):
    centroids = make_centroids(num_classes, bits, method)
    assert centroids.shape == (num_classes, bits)
    assert centroids.dtype == torch.float32
    assert set(centroids.unique().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("method", CENTROIDS)
@pytest.mark.parametrize("bits", [4, 20])
def test_a_seed_decides_and_no_global_random_state_is_touched(method, bits):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state is what is looked at
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = make_centroids(12, bits, method, seed=3)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    torch.rand(7)
    assert torch.equal(make_centroids(12, bits, method, seed=3), first)
    assert not torch.equal(make_centroids(12, bits, method, seed=4), first)


@pytest.mark.parametrize("letter", LETTERS)
def test_the_letter_of_the_paper_names_the_method(letter):
    assert LETTERS[letter].startswith(letter.lower())
    assert torch.equal(make_centroids(6, 16, letter, seed=2), make_centroids(6, 16, LETTERS[letter], seed=2))


@pytest.mark.parametrize("method", ["normal", "uniform", "bernoulli"])
def test_independent_bits_are_fair_coins(method):
    centroids = make_centroids(400, 100, method)
    assert abs(centroids.mean().item()) < 5 / 200  # 40,000 coins: five standard deviations
    assert abs(np.mean(distances(centroids[:40])) - 50) < 5 * 5 / np.sqrt(780)


# ---- hadamard -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_classes", "bits"), [(2, 2), (5, 16), (10, 64), (64, 64)])
def test_hadamard_centroids_are_orthogonal(num_classes, bits):
    centroids = make_centroids(num_classes, bits, "hadamard", seed=1)
    assert torch.equal(centroids @ centroids.T, bits * torch.eye(num_classes))


@pytest.mark.parametrize(("num_classes", "bits"), [(17, 16), (32, 16), (100, 64)])
def test_hadamard_opposites_serve_when_the_rows_run_out(num_classes, bits):
    assert set(distances(make_centroids(num_classes, bits, "hadamard"))) == {bits // 2, bits}


@pytest.mark.parametrize(("num_classes", "bits", "distance"), [(128, 8, 2), (100, 16, 6), (500, 64, 28), (130, 32, 12)])
def test_hadamard_cosets_keep_the_distance_of_bent_functions(num_classes, bits, distance):
    centroids = make_centroids(num_classes, bits, "hadamard")
    assert describe_centroids(centroids).minimum_distance == distance


@pytest.mark.parametrize("seed", range(5))
def test_hadamard_bits_are_neither_constant_nor_repeated_unlike_the_first_rows(seed):
    published = describe_centroids(SYLVESTER[:10])
    assert (published.constant_bits, published.duplicate_bits) == (4, 48)  # only 16 distinct columns of 64
    shuffled = describe_centroids(make_centroids(10, 64, "hadamard", seed))
    assert (shuffled.constant_bits, shuffled.duplicate_bits) == (0, 0)


def test_hadamard_classes_get_other_rows_under_another_seed():
    drawn = {tuple(make_centroids(4, 8, "hadamard", seed)[0].tolist()) for seed in range(12)}
    assert len(drawn) > 4


# ---- max_hamming --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_classes", "bits"), [(2, 5), (3, 5), (4, 5), (5, 5), (6, 4), (9, 4), (16, 4), (4, 6)])
def test_max_hamming_is_as_far_apart_as_exhaustive_search_finds(num_classes, bits):
    centroids = make_centroids(num_classes, bits)
    assert min(distances(centroids)) == best_possible(num_classes, bits)


@pytest.mark.parametrize(
    ("num_classes", "bits", "published"),  # the minimum that random search reaches as published; it gives up on 100 × 8
    [(10, 16, 8), (100, 16, 5), (10, 32, 16), (21, 32, 14), (10, 64, 32), (21, 64, 29), (100, 64, 26), (100, 8, 1)],
)
def test_max_hamming_matches_or_beats_the_published_search(num_classes, bits, published):
    assert describe_centroids(make_centroids(num_classes, bits)).minimum_distance >= published


@pytest.mark.parametrize(("num_classes", "bits"), [(10, 16), (10, 32), (10, 64), (16, 128), (100, 64)])
def test_max_hamming_attains_the_bound_or_misses_it_by_one_and_wastes_no_bit(num_classes, bits):
    seen = describe_centroids(make_centroids(num_classes, bits))
    assert seen.plotkin_bound - 1 <= seen.minimum_distance <= seen.plotkin_bound
    assert (seen.constant_bits, seen.duplicate_bits) == (0, 0)


@settings(max_examples=8, deadline=None)
@given(num_classes=st.integers(2, 24), bits=st.integers(1, 20), seed=st.integers(0, 99))
def test_max_hamming_is_distinct_where_codes_suffice_and_within_the_bound(num_classes, bits, seed):
    seen = distances(make_centroids(num_classes, bits, seed=seed))
    assert (min(seen) > 0) == (num_classes <= 2**bits)
    assert min(seen) <= plotkin_bound(num_classes, bits)


@pytest.mark.parametrize(
    ("method", "num_classes", "bits"),
    [*product(["hadamard", "max_hamming"], [256, 200, 600], [8]), ("max_hamming", 3, 1), ("hadamard", 130, 9)],
)
def test_codes_are_used_evenly_when_they_run_short(method, num_classes, bits):
    _, uses = make_centroids(num_classes, bits, method).unique(dim=0, return_counts=True)
    assert len(uses) == min(num_classes, 2**bits)
    assert uses.max() - uses.min() <= 1


def test_a_thousand_classes_of_128_bits_beat_coins():
    far = describe_centroids(make_centroids(1000, 128)).minimum_distance
    assert far >= 56 > describe_centroids(make_centroids(1000, 128, "bernoulli")).minimum_distance


def test_centroids_of_a_seed_stay_what_they_were():
    """A failure here means: results of earlier runs cannot be made again from their configuration."""
    digests = {
        method: hashlib.sha256(make_centroids(10, 32, method).to(torch.int8).numpy().tobytes()).hexdigest()[:12]
        for method in CENTROIDS
    }
    assert digests == {
        "normal": "42ebd80d1865",
        "uniform": "4be6633bd177",
        "bernoulli": "da9bad102312",
        "max_hamming": "1cf26d4046a6",
        "hadamard": "867a40db2b65",
        "semantic": "82ffa085a787",
    }


# ---- semantic, and one's own ----------------------------------------------------------------------------------------


def mean_features(num_classes, seed=0):
    """Classes in groups of three that look alike."""
    rng = np.random.default_rng(seed)
    groups = rng.standard_normal((-(-num_classes // 3), 20))
    return np.repeat(groups, 3, axis=0)[:num_classes] + rng.standard_normal((num_classes, 20))


@pytest.mark.parametrize("bits", [16, 64])
def test_semantic_codes_are_near_where_classes_look_alike(bits):
    means = mean_features(30)
    codes = make_centroids(30, bits, "semantic", means=means).numpy()
    near = np.add.outer(np.arange(30) // 3, -(np.arange(30) // 3)) == 0
    products = codes @ codes.T
    assert products[near & ~np.eye(30, dtype=bool)].mean() > 0.15 * bits > products[~near].mean()
    cosines = 1 - squareform(pdist(means, "cosine"))
    upper = np.triu_indices(30, 1)
    assert np.corrcoef(products[upper], cosines[upper])[0, 1] > 0.5
    assert torch.equal(make_centroids(30, bits, "semantic", means=3 * means), torch.tensor(codes))  # directions count


def test_no_flipped_bit_brings_semantic_codes_nearer_to_what_they_follow():
    """Brute force: the sum of squares after each of the C·K flips, from its definition."""
    means = mean_features(12)
    cosines = (1 - squareform(pdist(means, "cosine"))).round(3)
    others = ~np.eye(12, dtype=bool)
    wanted = 10 / 2 * (cosines - cosines[others].mean())
    distance = lambda codes: np.square((codes @ codes.T - wanted)[others]).sum()
    codes = make_centroids(12, 10, "semantic", means=means).numpy().astype(float)
    least = distance(codes)
    assert least < distance(make_centroids(12, 10).numpy())
    for row, bit in product(range(12), range(10)):
        codes[row, bit] *= -1
        assert distance(codes) > least - 1e-9
        codes[row, bit] *= -1


def test_a_method_of_ones_own_is_named_by_its_module(tmp_path, monkeypatch):
    Path(tmp_path, "my_codes.py").write_text(
        "import numpy as np\n"
        "def ones(num_classes, bits, rng): return np.ones((num_classes, bits))\n"
        "def signs(num_classes, bits, rng, means): return np.where(means > 0, 1, -1)\n"
        "def wrong(num_classes, bits, rng): return np.zeros((num_classes, bits))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_centroids(3, 4, "my_codes:ones").tolist() == [[1.0] * 4] * 3
    assert make_centroids(2, 2, "my_codes:signs", means=[[2, -1], [-3, 1]] @ np.eye(2)).tolist() == [[1, -1], [-1, 1]]
    with pytest.raises(ValueError, match="my_codes:wrong"):
        make_centroids(3, 4, "my_codes:wrong")
    with pytest.raises(ValueError, match="my_codes:none"):
        make_centroids(3, 4, "my_codes:none")


# ---- describe, bound ----------------------------------------------------------------------------------------------


def test_describe_a_case_worked_by_hand():
    centroids = torch.tensor([[1, 1, 1, 1, -1], [1, 1, -1, -1, 1], [1, -1, 1, -1, -1], [1, -1, -1, 1, 1]])
    seen = describe_centroids(centroids)
    assert (seen.num_classes, seen.bits) == (4, 5)
    assert (seen.minimum_distance, seen.mean_distance) == (2, pytest.approx(16 / 6))  # 3, 2, 3, 3, 2, 3
    assert (seen.constant_bits, seen.duplicate_bits) == (1, 1)  # bit 0; bit 4 is bit 2 inverted
    assert seen.plotkin_bound == 3
    assert "minimum distance 2 (bound 3), mean 2.67, 1 constant and 1 duplicate bits" in str(seen)


@settings(max_examples=30, deadline=None)
@given(num_classes=st.integers(2, 30), bits=st.integers(1, 9), seed=st.integers(0, 999))
def test_describe_agrees_with_counting_pair_by_pair(num_classes, bits, seed):
    centroids = make_centroids(num_classes, bits, "bernoulli", seed)
    seen, counted = describe_centroids(centroids), distances(centroids)
    assert (seen.minimum_distance, seen.mean_distance) == (min(counted), pytest.approx(np.mean(counted)))
    columns = centroids.T.tolist()
    canonical = {tuple(max(column, [-bit for bit in column])) for column in columns}
    assert seen.duplicate_bits == bits - len(canonical)
    assert seen.constant_bits == sum(len(set(column)) == 1 for column in columns)


def test_describe_every_code():
    seen = describe_centroids(torch.tensor(list(product([-1, 1], repeat=10)), dtype=torch.int8))
    assert (seen.minimum_distance, seen.mean_distance) == (1, pytest.approx(10 * 512 / 1023))


@pytest.mark.parametrize(
    ("num_classes", "bits", "distance"),  # A(7,3), A(8,4), A(12,4), A(12,6), A(16,6), A(24,8): codes that exist
    [(16, 7, 3), (16, 8, 4), (144, 12, 4), (24, 12, 6), (256, 16, 6), (4096, 24, 8), (2, 9, 9)],
)
def test_the_bound_admits_the_best_codes_known(num_classes, bits, distance):
    assert plotkin_bound(num_classes, bits) >= distance


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_bound_is_never_below_exhaustive_search(bits):
    for num_classes in range(2, 2**bits + 1):
        assert plotkin_bound(num_classes, bits) >= best_possible(num_classes, bits)
    assert plotkin_bound(2**bits + 1, bits) == 0


@pytest.mark.parametrize(
    ("num_classes", "bits", "bound"),
    # 64·25/45 = 35.6; 64·2500/4950 = 32.3; 32·110/210 = 16.8; 7 of 100 codes agree in 4 bits: 4·12/21 = 2.3
    [(10, 64, 35), (100, 64, 32), (21, 32, 16), (100, 8, 2), (2, 64, 64), (3, 8, 5), (257, 8, 0)],
)
def test_the_bound_worked_by_hand(num_classes, bits, bound):
    assert plotkin_bound(num_classes, bits) == bound


# ---- vote ---------------------------------------------------------------------------------------------------------


def test_vote_worked_by_hand():
    centroids = torch.tensor([[1.0, 1, 1, -1], [1, -1, 1, -1], [-1, -1, 1, 1]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0]])
    voted = vote_centroids(targets, centroids)
    assert voted[0].tolist() == [1, 1, 1, -1]
    assert voted[1].tolist() == [-1, -1, 1, 1]
    assert voted[2].tolist() == [1, -1, 1, -1]  # 2 to 1 on bits 0, 1 and 3
    assert voted[3, [0, 2, 3]].tolist() == [1, 1, -1]  # bit 1 is a tie


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64])
def test_vote_takes_any_dtype_of_targets(dtype):
    centroids = make_centroids(5, 16, "bernoulli")
    targets = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]])
    voted = vote_centroids(targets.to(dtype), centroids)
    assert voted.dtype == centroids.dtype
    assert torch.equal(voted, vote_centroids(targets, centroids))


def test_vote_of_one_label_is_its_centroid():
    centroids = make_centroids(12, 32, "bernoulli")
    assert torch.equal(vote_centroids(torch.eye(12), centroids), centroids)


def test_vote_ties_come_from_one_vector():
    opposite = torch.stack([torch.ones(64), -torch.ones(64)])
    both, none = torch.tensor([[1, 1], [1, 1], [0, 0]]), torch.zeros(1, 2)
    ties = vote_centroids(both, opposite)
    assert ties.abs().eq(1).all() and ties.unique(dim=0).shape == (1, 64)
    assert torch.equal(vote_centroids(none, opposite)[0], ties[0])
    assert 16 < ties[0].gt(0).sum() < 48  # a mixture, not all of one sign


# ---- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "named"),  # what the message names: the argument, and its value or its shape
    [
        (lambda: make_centroids(0, 8), ["num_classes", "0"]),
        (lambda: make_centroids(10, 0), ["bits", "0"]),
        (lambda: make_centroids(10, 8.5), ["bits", "8.5"]),
        (lambda: make_centroids(10, 8, seed=-1), ["seed", "-1"]),
        (lambda: plotkin_bound(1, 8), ["num_classes", "1"]),
        (lambda: plotkin_bound(2, 0), ["bits", "0"]),
        (lambda: describe_centroids(torch.ones(1, 8)), ["centroids", "(1, 8)"]),
        (lambda: describe_centroids(torch.ones(8)), ["centroids", "(8,)"]),
        (lambda: describe_centroids(torch.tensor([[1.0, -1], [1, 0.5]])), ["centroids", "0.5"]),
        (lambda: make_centroids(10, 8, "hadamar"), ["method", "'hadamar'", *CENTROIDS, *LETTERS]),
    ],
)
def test_errors_name_in_one_line_what_was_given_and_what_is_allowed(call, named):
    with pytest.raises(ValueError) as caught:
        call()
    assert all(text in str(caught.value) for text in named)
    assert "\n" not in str(caught.value)

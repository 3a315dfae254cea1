"""RelaHash's loss against the authors' numbers and the derivation; what every loss has in common; the options."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.losses import RelaHashLoss, build_loss, find_loss, loss_options, wants_batch_norm
from relahash_nb.losses.bounds import ideal_codes, largest_advantage, lowest_loss, similarity_bound
from relahash_nb.losses.common import soft_cross_entropy
from relahash_nb.metrics import quantization_error, retrieval_scores
from relahash_nb.models import build_model
from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.training import make_optimizer

GOLDEN = np.load(Path(__file__).parent / "data" / "golden_loss.npz")


def random_codes(rows, bits, seed=0, dtype=torch.float64):
    return torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def one_hot(rows, classes):
    """Labels 0, 1, …, classes − 1, 0, 1, …"""
    return torch.eye(classes)[torch.arange(rows) % classes]


def orthogonal(classes, bits):
    """Sylvester's matrix without its row of ones, so that each centroid sums to zero."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < bits:
        upper = torch.cat([matrix, matrix], dim=1)
        lower = torch.cat([matrix, -matrix], dim=1)
        matrix = torch.cat([upper, lower])
    return matrix[1 : classes + 1]


def assert_names(error, option):
    """The error is one line that begins with the option's name."""
    message = str(error.value)
    assert message.startswith(f"{option}:")
    assert "\n" not in message


# RelaHash


@pytest.mark.parametrize("case", range(6))
def test_relahash_agrees_with_the_published_code(case):
    """Loss, similarity and gradient, in float64, single- and multi-label; the numbers come from the authors' code."""
    prefix = f"case{case}_"
    golden = {name.removeprefix(prefix): GOLDEN[name] for name in GOLDEN if name.startswith(prefix)}
    codes = torch.tensor(golden["z"], requires_grad=True)
    centroids = torch.tensor(golden["centroids"]).double()
    loss = RelaHashLoss(centroids, beta=float(golden["beta"]), margin=float(golden["margin"]))
    value = loss(codes, torch.tensor(golden["targets"]))
    value.backward()
    similarity = loss.similarity(codes).detach().numpy()
    assert np.abs(similarity - golden["logits"]).max() < 1e-10
    assert abs(value.item() - golden["loss"]) < 1e-10
    assert np.abs(codes.grad.numpy() - golden["grad_z"]).max() < 1e-10


@pytest.mark.parametrize(("beta", "expected"), [(50.0, 14.70), (8.0, 4.21)])
def test_the_loss_at_perfect_codes_is_the_derived_number(beta, expected):
    """ln(1 + (C − 1) e^{β (m − 1/√B)}) with ten orthogonal centroids and a batch of 16: not zero, though perfect."""
    centroids = orthogonal(10, 16)
    targets = one_hot(16, 10).double()
    perfect_codes = 3.7 * targets @ centroids
    value = RelaHashLoss(centroids, beta=beta, margin=0.5)(perfect_codes, targets).item()
    assert value == pytest.approx(expected, abs=5e-3)


def kinds_of_centroids(classes, bits):
    pairs = orthogonal(classes // 2, bits)
    kinds = {"pairs": torch.cat([pairs, -pairs])}
    for method in ("max_hamming", "hadamard", "bernoulli"):
        kinds[method] = make_centroids(classes, bits, method).double()
    return kinds


@pytest.mark.parametrize("kind", ["max_hamming", "hadamard", "bernoulli", "pairs"])
def test_optimised_codes_never_go_below_the_lowest_loss(kind):
    """Hadamard and max-Hamming centroids let them come within .005, at the quantization error of the ideal codes."""
    centroids = kinds_of_centroids(10, 32)[kind]
    targets = one_hot(40, 10).double()
    loss = RelaHashLoss(centroids, beta=8.0, margin=0.5)
    codes = random_codes(40, 32, seed=0).requires_grad_()
    optimizer = torch.optim.LBFGS([codes], max_iter=150, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(codes, targets)
        value.backward()
        return value

    optimizer.step(closure)
    reached = loss(codes, targets).item()
    lowest = lowest_loss(centroids, targets, beta=8.0, margin=0.5)
    assert reached >= lowest - 1e-9
    if kind in ("max_hamming", "hadamard"):
        assert reached <= lowest + 0.005
        error = quantization_error(codes.detach(), centred=True)
        assert error == pytest.approx(quantization_error(ideal_codes(centroids, targets)), abs=0.003)


def test_the_centroids_decide_the_error_at_the_optimum():
    """The numbers were found by optimising codes directly, ten classes and 64 bits: .0004, .036, .052."""
    errors = {}
    for kind, centroids in kinds_of_centroids(10, 64).items():
        errors[kind] = quantization_error(ideal_codes(centroids, one_hot(10, 10)))
    assert errors["hadamard"] == pytest.approx(0.052, abs=0.001)
    assert errors["max_hamming"] < 0.001 and errors["pairs"] < 1e-9
    assert errors["bernoulli"] > 0.02


@pytest.mark.parametrize("beta", [50.0, 8.0])
def test_ideal_codes_of_orthogonal_centroids_have_the_lowest_loss(beta):
    centroids = orthogonal(8, 16)
    targets = one_hot(16, 8).double()
    lowest = lowest_loss(centroids, targets, beta, 0.5)
    assert lowest == pytest.approx(np.log(1 + 7 * np.exp(beta * (0.5 - np.sqrt(8 / 7) / 4))))
    loss = RelaHashLoss(centroids, beta=beta, margin=0.5)
    assert loss(ideal_codes(centroids, targets), targets).item() == pytest.approx(lowest, abs=1e-9)
    assert loss(targets @ centroids, targets).item() > lowest


def test_the_advantage_of_a_simplex_is_that_of_codes_at_the_centroids():
    """Two classes at ±h: own similarity 1/√B, the other's −1/√B, and no quantization error."""
    centroids = torch.tensor([[1.0, 1, -1, -1], [-1, -1, 1, 1]])
    targets = torch.eye(2)
    assert largest_advantage(centroids, targets, batch_size=16) == pytest.approx(2 / 4)
    assert torch.equal(ideal_codes(centroids, targets).sign(), centroids)


def test_the_lowest_loss_of_random_batches_bounds_their_mean():
    centroids = make_centroids(10, 32, "bernoulli").double()
    loss = RelaHashLoss(centroids, beta=8.0, margin=0.5)
    labels = torch.randint(10, (2000, 16), generator=torch.Generator().manual_seed(0))
    values = []
    for row in labels:
        targets = torch.eye(10, dtype=torch.float64)[row]
        values.append(loss(ideal_codes(centroids, targets), targets).item())
    assert np.mean(values) >= lowest_loss(centroids, torch.eye(10), 8.0, 0.5, batch_size=16)


def test_a_bound_of_one_class_is_zero_and_a_large_exponent_does_not_overflow():
    centroids = orthogonal(10, 16)
    assert lowest_loss(orthogonal(1, 16), torch.ones(16, 1), beta=50, margin=0.5) == 0
    assert lowest_loss(centroids, one_hot(16, 10), beta=1e6, margin=0.5) == pytest.approx(0.2365e6, rel=1e-3)
    assert lowest_loss(centroids, one_hot(16, 10), beta=1e6, margin=0.0) == 0


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0], [2, -1, 0]])
def test_the_bounds_are_those_of_one_label(row):
    with pytest.raises(ValueError, match="targets"):
        lowest_loss(orthogonal(3, 16), torch.tensor([row, [1, 0, 0]]), beta=8, margin=0.5)


def test_the_mean_similarity_to_the_item_s_centroid_never_passes_its_bound():
    targets = one_hot(20, 10).double()
    loss = RelaHashLoss(orthogonal(10, 32))
    bound = similarity_bound(20)

    def mean_similarity(codes):
        return (loss.similarity(codes) * targets).sum(dim=1).mean().item()

    for seed in range(50):
        assert mean_similarity(random_codes(20, 32, seed)) <= bound
    assert mean_similarity(targets @ loss.centroids) == pytest.approx(bound)


def test_shift_and_positive_scale_of_all_codes_change_nothing():
    codes = random_codes(8, 16)
    targets = one_hot(8, 4)
    loss = RelaHashLoss(orthogonal(4, 16))
    assert loss(3 * codes + 7, targets).item() == pytest.approx(loss(codes, targets).item(), abs=1e-12)


def test_codes_that_are_all_equal_have_a_finite_loss_and_gradient():
    codes = torch.ones(4, 8, requires_grad=True)
    loss = RelaHashLoss(orthogonal(2, 8).float())
    loss(codes, one_hot(4, 2)).backward()
    assert torch.isfinite(codes.grad).all()


def test_at_its_reference_batch_size_the_loss_is_the_published_one_and_at_others_it_does_not_change():
    codes = random_codes(16, 16)
    targets = one_hot(16, 3)
    published = RelaHashLoss(orthogonal(3, 16))
    invariant = RelaHashLoss(orthogonal(3, 16), reference_batch_size=16)
    expected = published(codes, targets).item()
    assert invariant(codes, targets).item() == pytest.approx(expected, abs=1e-12)

    twice_codes = torch.cat([codes, codes])
    twice_targets = torch.cat([targets, targets])
    assert invariant(twice_codes, twice_targets).item() == pytest.approx(expected, abs=1e-12)
    assert abs(published(twice_codes, twice_targets).item() - expected) > 0.01


# What every loss has in common


def test_a_row_without_a_label_adds_nothing_to_the_cross_entropy():
    logits = random_codes(3, 5)
    targets = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=torch.float64)
    exponentials = np.exp(logits.numpy())
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    two_labels = -(math.log(softmax[0, 0]) + math.log(softmax[0, 3])) / 2
    one_label = -math.log(softmax[2, 1])
    by_hand = (two_labels + 0 + one_label) / 3
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_targets_of_any_dtype_give_one_value(name):
    codes = random_codes(6, 16, dtype=torch.float32)
    targets = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 1, 1]])
    loss = find_loss(name)(orthogonal(3, 16).float()).eval()  # in evaluation mode nothing is drawn, counted or kept
    expected = loss(codes, targets.float()).item()
    for dtype in (torch.uint8, torch.int64, torch.bool, torch.float16, torch.float64):
        assert loss(codes, targets.to(dtype)).item() == expected


@pytest.mark.parametrize("name", LOSSES)
def test_centroids_are_in_the_state_and_survive_a_reload(name):
    """The published code keeps its normalised centroids outside the state, and scores a reloaded model wrongly."""
    trained = find_loss(name)(orthogonal(3, 16)).eval()
    fresh = find_loss(name)(-orthogonal(3, 16)).eval()
    fresh.load_state_dict(trained.state_dict())
    codes = random_codes(6, 16)
    targets = one_hot(6, 3)
    assert torch.equal(fresh(codes, targets), trained(codes, targets))


@pytest.mark.parametrize("name", LOSSES)
def test_it_drives_the_codes_of_a_toy_set_to_separation(name):
    """Four classes, free codes of 16 bits: in every order of ties nearly all of an item's nearest are of its class."""
    targets = one_hot(32, 4)
    codes = random_codes(32, 16, seed=5, dtype=torch.float32).requires_grad_()
    options = {}
    if name == "bihalf":
        options["gamma"] = 0.1  # the published pull keeps free codes where they start
    torch.manual_seed(0)
    loss = find_loss(name)(orthogonal(4, 16).float(), **options)
    optimizer = torch.optim.Adam([codes, *loss.parameters()], lr=0.1)

    def worst_score():
        return retrieval_scores(codes, codes, targets, targets, self_matches=np.arange(32)).worst

    assert worst_score() < 0.5
    for _ in range(60):
        optimizer.zero_grad()
        loss(codes, targets).backward()
        optimizer.step()
    assert worst_score() > 0.95


def test_a_head_is_drawn_from_the_seed_alone_and_trained_and_saved():
    config = RunConfig(loss="cross_entropy", bits=16, seed=3)
    centroids = make_centroids(10, 16)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    loss = build_loss(config, centroids)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = build_loss(config, centroids)
    assert torch.equal(loss.head.weight, again.head.weight)
    assert list(loss.state_dict()) == ["centroids", "head.weight", "head.bias"]

    optimizer = make_optimizer(build_model(config), loss, config)
    trained = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert id(loss.head.weight) in trained
    assert id(loss.head.bias) in trained


# Options


@pytest.mark.parametrize("name", LOSSES)
def test_a_tuner_can_build_the_loss_at_both_ends_of_every_range(name):
    ranges = find_loss(name).SEARCH
    for low, high, scale in ranges.values():
        assert low < high
        assert scale in ("log", "linear")
    for end in (0, 1):
        options = {option: ends[end] for option, ends in ranges.items()}
        loss = find_loss(name)(orthogonal(3, 16), **options)
        assert {option: getattr(loss, option) for option in options} == options


def test_batch_norm_is_as_published():
    with_batch_norm = {name for name in LOSSES if wants_batch_norm(RunConfig(loss=name))}
    assert with_batch_norm == {"relahash", "orthohash", "orthohash_arc", "cross_entropy"}


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", ["relahash", "cross_entropy", "csq"])
def test_the_option_batch_norm_is_the_model_s_and_not_the_loss_s(name, batch_norm):
    config = RunConfig(loss=name, loss_options={"batch_norm": batch_norm})
    assert loss_options(config) == loss_options(RunConfig(loss=name))
    model = build_model(config)
    assert isinstance(model.hash_layer[1], torch.nn.BatchNorm1d) == batch_norm
    features = torch.rand(6, 64)
    only_linear = model.hash_layer[0](features)
    assert torch.equal(model.hash(features), only_linear) != batch_norm


@pytest.mark.parametrize("name", [*LOSSES, *BASELINES])
def test_options_of_every_name_are_checked_and_no_global_random_state_is_touched(name):
    state = torch.get_rng_state()
    finetune = name in LOSSES
    loss_options(RunConfig(loss=name, finetune=finetune))
    with pytest.raises(ValueError) as error:
        loss_options(RunConfig(loss=name, finetune=finetune, loss_options={"scael": 2}))
    assert_names(error, "scael")
    assert name in str(error.value)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("option", "config"),
    [
        ("beta", dict(beta=8, loss_options={"beta": 2})),
        ("margin", dict(loss="dpn", margin=1, loss_options={"margin": 1})),
        ("beta", dict(loss="csq", beta=8)),
        ("quantisation", dict(loss="csq", loss_options={"quantisation": 1})),
        ("quantization", dict(loss="csq", loss_options={"quantization": -1})),
        ("loss_options", dict(loss="csq", loss_options={"quantization": "a"})),
        ("batch_norm", dict(loss_options={"batch_norm": 1})),
        ("margin", dict(loss_options={"margin": math.inf})),
        ("finetune", dict(loss="lsh", finetune=True)),
        ("batch_norm", dict(loss="lsh", finetune=False, loss_options={"batch_norm": True})),
        ("rounds", dict(loss="itq", finetune=False, loss_options={"rounds": 3})),
    ],
)
def test_options_that_a_loss_cannot_take_are_refused(option, config):
    with pytest.raises(ValueError) as error:
        build_loss(RunConfig(**config), torch.ones(2, 64))
    assert_names(error, option)


def test_a_misspelled_option_is_answered_with_the_right_one():
    config = RunConfig(loss="csq", loss_options={"quantisation": 1})
    with pytest.raises(ValueError, match=r"quantization\?"):
        loss_options(config)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("relahash", "beta", 0),
        ("relahash", "beta", math.inf),
        ("relahash", "margin", -1),
        ("relahash", "reference_batch_size", 0),
        ("orthohash", "beta", 0),
        ("orthohash_arc", "margin", -1),
        ("csq", "quantization", -1),
        ("dpn", "margin", math.nan),
        ("greedyhash", "quantization", -1),
        ("bihalf", "gamma", -1),
        ("jmlh", "divergence", -1),
        ("sdh_c", "quantization", -1),
        ("sdh_c", "variance", -1),
        ("sdh_c", "independence", -1),
        ("hashnet", "alpha", 0),
        ("hashnet", "growth", -1),
        ("hashnet", "interval", 0),
        ("dpsh", "quantization", -1),
        ("dpsh", "memory", 0),
        ("dtsh", "margin", -1),
        ("dtsh", "quantization", -1),
        ("dch", "gamma", 0),
        ("dch", "quantization", -1),
        ("average_precision", "scale", 0),
    ],
)
def test_an_option_out_of_range_is_refused(name, option, value):
    with pytest.raises(ValueError) as error:
        find_loss(name)(orthogonal(3, 16), **{option: value})
    assert_names(error, option)
    assert str(value) in str(error.value)


def test_centroids_that_are_no_matrix_are_refused():
    with pytest.raises(ValueError) as error:
        RelaHashLoss(torch.ones(4))
    assert_names(error, "centroids")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("tensor", "codes_shape", "targets_shape"),
    [
        ("codes", (3, 5), (3, 2)),
        ("codes", (4,), (3, 2)),
        ("targets", (3, 4), (3, 1)),
        ("targets", (3, 4), (4, 2)),
        ("targets", (3, 4), (3,)),
    ],
)
def test_shapes_that_do_not_fit_the_centroids_are_refused(name, tensor, codes_shape, targets_shape):
    loss = find_loss(name)(orthogonal(2, 4))
    with pytest.raises(ValueError) as error:
        loss(torch.ones(codes_shape), torch.ones(targets_shape))
    assert_names(error, tensor)


def test_an_option_of_one_s_own_loss_needs_no_default(toy_module):
    toy_module(
        """
from torch import nn


class Pull(nn.Module):
    def __init__(self, centroids, strength):
        super().__init__()
        self.strength = strength

    def forward(self, codes, targets):
        return self.strength * codes.square().mean()
"""
    )
    config = RunConfig(loss="own:Pull", loss_options={"strength": 2})
    assert build_loss(config, torch.ones(3, 64)).strength == 2

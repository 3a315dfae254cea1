"""RelaHash's loss against the authors' numbers, the derivation, and a loop written another way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from relahash_nb.config import RunConfig
from relahash_nb.losses import RelaHashLoss, find_loss, loss_options, wants_batch_norm
from relahash_nb.losses.common import soft_cross_entropy
from relahash_nb.models import build_model
from relahash_nb.registry import BASELINES, LOSSES

GOLDEN = np.load(Path(__file__).parent / "data" / "golden_loss.npz")


@pytest.mark.parametrize("case", range(6))
def test_relahash_agrees_with_the_published_code(case):
    """Loss, similarity and gradient, in float64, single- and multi-label; the numbers come from the authors' code."""
    golden = {name.split("_", 1)[1]: GOLDEN[name] for name in GOLDEN if name.startswith(f"case{case}_")}
    codes = torch.tensor(golden["z"], requires_grad=True)
    centroids = torch.tensor(golden["centroids"]).double()
    loss = RelaHashLoss(centroids, float(golden["beta"]), float(golden["margin"]))
    value = loss(codes, torch.tensor(golden["targets"]))
    value.backward()
    assert np.abs(loss.similarity(codes).detach().numpy() - golden["logits"]).max() < 1e-10
    assert abs(value.item() - golden["loss"]) < 1e-10
    assert np.abs(codes.grad.numpy() - golden["grad_z"]).max() < 1e-10


def orthogonal(classes: int, bits: int) -> torch.Tensor:
    rows = torch.ones(1, 1, dtype=torch.float64)
    while len(rows) < bits:
        rows = torch.cat([torch.cat([rows, rows], 1), torch.cat([rows, -rows], 1)])
    return rows[1 : classes + 1]  # without the all-ones row, so that every centroid sums to zero


@pytest.mark.parametrize(("beta", "expected"), [(50.0, 14.70), (8.0, 4.21)])
def test_the_loss_at_perfect_codes_is_the_derived_number(beta, expected):
    """ln(1 + (C − 1) e^{β (m − 1/√B)}) with ten orthogonal centroids and a batch of 16: not zero, though perfect."""
    centroids = orthogonal(10, 16)
    classes = torch.arange(16) % 10
    targets = torch.nn.functional.one_hot(classes, 10)
    value = RelaHashLoss(centroids, beta=beta)(3.7 * centroids[classes], targets).item()
    assert value == pytest.approx(np.log(1 + 9 * np.exp(beta * (0.5 - 0.25))), abs=1e-9)
    assert value == pytest.approx(expected, abs=5e-3)


def test_the_mean_own_similarity_never_passes_its_bound():
    generator = torch.Generator().manual_seed(0)
    centroids = orthogonal(10, 32)
    targets = torch.eye(10)[torch.arange(20) % 10]
    loss = RelaHashLoss(centroids)
    for _ in range(50):
        codes = torch.randn(20, 32, generator=generator, dtype=torch.float64)
        assert (loss.similarity(codes) * targets).sum(1).mean() <= 1 / 20**0.5
    assert (loss.similarity(targets.double() @ centroids) * targets).sum(1).mean() == pytest.approx(1 / 20**0.5)


def test_shift_and_positive_scale_of_all_codes_change_nothing():
    codes = torch.randn(8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = torch.eye(4)[torch.arange(8) % 4]
    loss = RelaHashLoss(orthogonal(4, 16))
    assert loss(3 * codes + 7, targets).item() == pytest.approx(loss(codes, targets).item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_targets_of_any_dtype_give_one_value(name, dtype):
    codes = torch.randn(6, 16, generator=torch.Generator().manual_seed(2))
    targets = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 1, 1]])
    loss = find_loss(name)(orthogonal(3, 16).float()).eval()  # where nothing is drawn, counted or kept
    assert loss(codes, targets.to(dtype)).item() == loss(codes, targets.float()).item()


def test_a_row_without_a_label_adds_nothing():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    targets = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=torch.float64)
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    by_hand = -(np.log(shares[0, 0]) / 2 + np.log(shares[0, 3]) / 2 + 0 + np.log(shares[2, 1])) / 3
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(by_hand, abs=1e-12)


def test_codes_that_are_all_equal_have_a_finite_loss_and_gradient():
    codes = torch.ones(4, 8, requires_grad=True)
    RelaHashLoss(orthogonal(2, 8).float())(codes, torch.eye(2)[[0, 1, 0, 1]]).backward()
    assert torch.isfinite(codes.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_centroids_are_in_the_state_and_survive_a_reload(name):
    """The published code keeps its normalised centroids outside the state, and scores a reloaded model wrongly."""
    trained, fresh = find_loss(name)(orthogonal(3, 16)), find_loss(name)(-orthogonal(3, 16))
    fresh.load_state_dict(trained.state_dict())
    codes = torch.randn(6, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    values = [loss.eval()(codes, torch.eye(3)[[0, 1, 2, 0, 1, 2]]) for loss in (fresh, trained)]
    assert torch.equal(*values)


def test_names_in_config_are_the_registry_s():
    assert set(LOSSES) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_tuner_can_build_the_loss_at_both_ends_of_every_range(name):
    for end in (0, 1):
        options = {option: (low, high)[end] for option, (low, high, _) in find_loss(name).SEARCH.items()}
        loss = find_loss(name)(orthogonal(3, 16), **options)
        assert {option: getattr(loss, option) for option in options} == options
    assert all(low < high and scale in ("log", "linear") for low, high, scale in find_loss(name).SEARCH.values())


def test_batch_norm_is_as_published_and_an_option_overrides_it():
    published = {"relahash", "orthohash", "orthohash_arc", "cross_entropy"}
    assert {name for name in LOSSES if wants_batch_norm(RunConfig(loss=name))} == published
    for name in ("relahash", "csq"):
        for batch_norm in (True, False):
            config = RunConfig(loss=name, loss_options={"batch_norm": batch_norm})
            assert loss_options(config) == loss_options(RunConfig(loss=name))
            assert isinstance(build_model(config).hash_layer[1], torch.nn.BatchNorm1d) == batch_norm


@pytest.mark.parametrize("name", [*LOSSES, *BASELINES])
def test_options_of_every_name_are_checked_and_no_global_random_state_is_touched(name):
    state = torch.get_rng_state()
    loss_options(RunConfig(loss=name, finetune=name in LOSSES))
    with pytest.raises(ValueError, match=f"scael: 2 given; {name} takes no such option; allowed: ") as error:
        loss_options(RunConfig(loss=name, finetune=name in LOSSES, loss_options={"scael": 2}))
    assert "\n" not in str(error.value)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(beta=8, loss_options={"beta": 2}), "beta: 8.0 given, and loss_options has 2; allowed: one of them"),
        (dict(loss="dpn", margin=1, loss_options={"margin": 1}), "margin: 1.0 given, and loss_options has 1"),
        (dict(loss="csq", beta=8), "beta: 8.0 given; csq takes no such option; allowed: quantization, batch_norm"),
        (dict(loss="csq", loss_options={"quantisation": 1}), r"did you mean quantization\?"),
        (
            dict(loss="csq", loss_options={"quantization": -1}),
            "quantization: -1 given; allowed: a finite number from 0",
        ),
        (
            dict(loss="csq", loss_options={"quantization": "a"}),
            "loss_options: {'quantization': 'a'} given; csq refuses",
        ),
        (dict(loss_options={"batch_norm": 1}), "batch_norm: 1 given; allowed: true, false"),
        (dict(loss_options={"margin": float("inf")}), "margin: inf given; allowed: a finite number from 0 up"),
        (dict(loss="lsh", finetune=True), "finetune: True given; lsh has no training"),
        (dict(loss="lsh", finetune=False, loss_options={"batch_norm": True}), "batch_norm: True given; lsh takes no"),
        (dict(loss="itq", finetune=False, loss_options={"rounds": 3}), "rounds: 3 given; itq .* allowed: iterations"),
    ],
)
def test_options_that_a_loss_cannot_take_are_refused_before_anything_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        loss_options(RunConfig(**options))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RelaHashLoss(torch.ones(4)), r"centroids: shape \(4,\) given"),
        (lambda: RelaHashLoss(orthogonal(2, 4), beta=0), "beta: 0 given; allowed: a finite number above 0"),
        (lambda: RelaHashLoss(orthogonal(2, 4))(torch.ones(3, 5), torch.ones(3, 2)), r"codes: shape \(3, 5\) given"),
        (lambda: RelaHashLoss(orthogonal(2, 4))(torch.ones(3, 4), torch.ones(3, 1)), r"targets: shape \(3, 1\) given"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Training is deterministic, stops at nonsense, and the queries never choose."""

import dataclasses
import functools
import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from relahash_nb import inference
from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Split, load_dataset
from relahash_nb.features import pool_features
from relahash_nb.losses import build_loss
from relahash_nb.models import HashModel, build_model, find_device
from relahash_nb.training import SCHEDULES, Trainer, encode, evaluate, fit, score, trainer

QUICK = dict(epochs=2, batch_size=50, image_size=14, bits=16, checkpoint_minutes=0.0)


@pytest.fixture(scope="module")
def data():
    """A tenth of the embedded set."""
    whole = load_dataset(RunConfig(image_size=14))
    parts = {name: getattr(whole, name) for name in ("train", "query", "database")}
    return dataclasses.replace(whole, **{name: Split(part.pool, part.indices[::10]) for name, part in parts.items()})


@functools.cache
def centroids_of(classes=10, bits=16):
    return make_centroids(classes, bits)


def make_trainer(data, config, model=None, features=None, **options):
    centroids = centroids_of()
    model = model or build_model(config)
    return Trainer(model, build_loss(config, centroids), data, config, features, centroids, **options)


def train(trainer):
    for _ in range(trainer.epoch, trainer.config.epochs):
        trainer.train_epoch()
    return trainer.finish()


def run(data, **options):
    config = RunConfig(**QUICK | options)
    trainer = make_trainer(data, config)
    return trainer.model, train(trainer), config


def test_the_same_config_gives_the_same_codes_bit_for_bit_whatever_the_global_state(data):
    torch.manual_seed(1)
    first, history, _ = run(data)
    torch.manual_seed(2)
    torch.rand(100)
    second, again, _ = run(data)
    assert torch.equal(encode(first, data.query)[0], encode(second, data.query)[0])
    assert [record["loss"] for record in history] == [record["loss"] for record in again]
    other, _, _ = run(data, seed=1)
    assert not torch.equal(encode(first, data.query)[0], encode(other, data.query)[0])


def test_training_leaves_the_global_random_state_alone(data):
    before = torch.get_rng_state()
    run(data, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("finetune", [True, False])
def test_an_epoch_s_batches_are_shuffled_full_and_hold_an_item_once(data, finetune):
    config = RunConfig(**QUICK | dict(batch_size=70, finetune=finetune, augment="none"))
    fixed = None if finetune else torch.arange(7000.0)[:, None].expand(-1, 64)
    training = make_trainer(data, config, features=fixed)
    inputs, targets = map(torch.cat, zip(*training.batches(), strict=True))
    assert len(targets) == 280 and not torch.equal(targets, data.train.targets[:280])
    assert len(inputs.flatten(1).unique(dim=0)) == 280
    if not finetune:  # whose rows say which items they are
        assert torch.equal(targets, data.pool.targets[inputs[:, 0].long()])


def test_a_record_an_epoch(data):
    _, history, _ = run(data)
    assert [record["epoch"] for record in history] == [1, 2]
    for record in history:
        assert 0 < record["loss"] < 20 and 0 <= record["centroid_accuracy"] <= 1 and record["seconds"] > 0
        assert 0 <= record["quantization_error"] <= 1 and 0 <= record["quantization_error_centred"] <= 1
    assert history[1]["loss"] < history[0]["loss"]
    assert history[1]["centroid_accuracy"] > history[0]["centroid_accuracy"]


def test_codes_do_not_depend_on_the_batch_that_they_are_encoded_in(data, monkeypatch):
    model, _, _ = run(data, epochs=1)
    together, targets = encode(model, data.query)
    monkeypatch.setattr(inference, "CPU_BATCH", 1)
    alone, _ = encode(model, data.query)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(targets, data.query.targets)
    assert not together.is_inference()


def test_bf16_trains(data):
    _, history, _ = run(data, precision="bf16")
    assert history[-1]["loss"] < history[0]["loss"]


def test_fixed_features_train_the_hash_layer_alone(data, tmp_path):
    config = RunConfig(**QUICK | dict(finetune=False, lr=0.01, data_dir=str(tmp_path)))
    model = build_model(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = pool_features(model, data, config)
    history = fit(model, build_loss(config, centroids_of()), data, config, features, centroids_of())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("hash_layer.") for name in changed)
    assert history[1]["loss"] < history[0]["loss"]


def test_the_loop_of_a_notebook_is_fit_bit_for_bit_whatever_cells_draw_in_between(data):
    options = QUICK | dict(epochs=3, validation_per_class=2, eval_interval=2, dropout=True)
    chosen, config = data.with_validation(2, seed=0), RunConfig(**options, loss="jmlh")  # a loss that draws

    fitted = with_dropout(build_model(config))
    expected = fit(fitted, build_loss(config, centroids_of()), chosen, config, centroids=centroids_of())
    torch.manual_seed(9)
    model, told = with_dropout(build_model(config)), []
    loop = make_trainer(chosen, config, model, callbacks=[told.append])
    for epoch in range(loop.epoch, config.epochs):
        torch.rand(epoch + 5)
        state = torch.get_rng_state()
        record = loop.train_epoch()
        assert record is loop.history[-1] and loop.epoch == record["epoch"] == epoch + 1
        assert torch.equal(torch.get_rng_state(), state)
    history = loop.finish()
    assert told == history
    timeless = lambda records: [{name: record[name] for name in record if name != "seconds"} for record in records]
    assert timeless(history) == timeless(expected)
    assert all(torch.equal(tensor, fitted.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    with pytest.raises(RuntimeError, match="epochs: "):
        loop.train_epoch()


def with_dropout(model):
    model.backbone.append(nn.Sequential(nn.Flatten(), nn.Dropout(0.5)))
    return model


@pytest.mark.parametrize("validation", [0, 5])
def test_a_batch_larger_than_the_train_split_is_one_line(data, validation):
    few = dataclasses.replace(data, database=data.train).with_validation(validation, seed=0)
    config = RunConfig(**QUICK | dict(batch_size=301, validation_per_class=validation))
    with pytest.raises(ValueError, match=f"^batch_size: 301 .* {300 - 10 * validation}\\b"):
        make_trainer(few, config)


class Explodes(nn.Module):
    """Its loss is NaN from one call on. It has no centroids: the trainer has them."""

    def __init__(self, call):
        super().__init__()
        self.call, self.calls = call, 0

    def forward(self, codes, targets):
        self.calls += 1
        return codes.sum() * (float("nan") if self.calls >= self.call else 0.0)


@pytest.mark.parametrize(
    ("call", "options", "said"),
    [
        (8, {"lr": 0.5}, ["epoch 2, batch 2 of 6", "lr (now 0.5)", "weight_decay (now "]),
        (1, {}, ["epoch 1, batch 1 of 6", "relahash and its options"]),
        (8, {"precision": "bf16"}, ["epoch 2, batch 2 of 6", "precision fp32 (now bf16)"]),
    ],
)
def test_the_first_loss_that_is_not_finite_stops_with_epoch_and_batch(data, call, options, said):
    config = RunConfig(**QUICK | options)
    with pytest.raises(FloatingPointError) as error:
        fit(build_model(config), Explodes(call), data, config, centroids=centroids_of())
    assert all(part in str(error.value) for part in ["nan", *said]) and "\n" not in str(error.value)


def test_a_loss_that_overflows_before_any_update_blames_its_own_constants(data):
    with pytest.raises(FloatingPointError, match=r"batch 1 of 6.*beta \(now 1e\+39\).*margin \(now 0.5\)"):
        run(data, beta=1e39)


def test_weights_that_are_no_numbers_are_said_before_training(data):
    config = RunConfig(**QUICK)
    model = build_model(config)
    model.backbone[0].weight.data[0, 0, 0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"^weights: backbone\.0\.weight "):
        make_trainer(data, config, model)


def test_pretrained_tensors_learn_at_their_own_rate_and_fresh_ones_at_the_full_one(data):
    config = RunConfig(**QUICK | dict(lr=0.5, backbone_lr_scale=0.1))
    model = build_model(config)
    model.pretrained = frozenset(list(dict(model.backbone.named_parameters()))[:3])
    training = make_trainer(data, config, model)
    rates = {id(p): group["base_lr"] for group in training.optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        is_pretrained = name.removeprefix("backbone.") in model.pretrained
        assert rates[id(parameter)] == pytest.approx(0.05 if is_pretrained else 0.5), name


def test_the_step_schedule_is_a_tenth_from_eighty_percent_on():
    assert [SCHEDULES["step"](epoch / 100) for epoch in (0, 79, 80, 99)] == [1.0, 1.0, 0.1, 0.1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_nothing_and_the_full_rate(name):
    factors = [SCHEDULES[name](step / 1000) for step in range(1001)]
    assert min(factors) >= 0 and max(factors) == pytest.approx(1.0, abs=1e-2)


def test_the_validation_images_choose_the_epoch_and_the_queries_do_not(data, monkeypatch):
    """Scores are made up: the second of three epochs is the best by validation; its weights must come back."""
    asked, states = [], []

    def made_up(model, query, database, config, features):
        asked.append((len(query), len(database)))
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return type("Scores", (), {"mean_average_precision": [0.1, 0.9, 0.5][len(asked) - 1]})

    monkeypatch.setattr(trainer, "evaluate", made_up)
    chosen = data.with_validation(2, seed=0)
    model, history, _ = run(chosen, epochs=3)
    assert asked == [(20, len(chosen.validation_database))] * 3
    assert not set(chosen.validation.indices.tolist()) & set(chosen.validation_database.indices.tolist())
    assert [record["validation_map"] for record in history] == [0.1, 0.9, 0.5]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in model.state_dict().items())
    asked.clear()
    states.clear()
    model, history, _ = run(data, epochs=3, eval_interval=1)
    assert [record["query_map"] for record in history] == [0.1, 0.9, 0.5]
    assert all(torch.equal(tensor, states[2][name]) for name, tensor in model.state_dict().items())


def test_scores_on_the_way_come_at_their_interval(data):
    _, history, _ = run(data, epochs=3, eval_interval=2)
    assert ["query_map" in record for record in history] == [False, True, False]


def test_self_matches_are_left_out_when_asked_for(data):
    """Codes that are all different: a query in the database finds itself first, and nothing else counts."""
    query = Split(data.pool, data.database.indices[:20])
    codes = torch.randn(len(data.database), 64, generator=torch.Generator().manual_seed(0))
    kept = score(codes[:20], codes, query, data.database, RunConfig())
    dropped = score(codes[:20], codes, query, data.database, RunConfig(drop_self_matches=True))
    assert (kept.total[:, 0] == 1).all() and (dropped.total[:, 0] == 0).all()
    assert dropped.mean_average_precision < kept.mean_average_precision


def test_averaged_weights_are_the_decayed_sum_of_all_steps_and_are_what_is_left(data):
    config = RunConfig(**QUICK, ema=0.9)
    training, seen = make_trainer(data, config), []
    model, step = training.model, training.step

    def noted(*batch):
        statistics = step(*batch)
        seen.append(model.hash_layer[0].weight.detach().clone())
        return statistics

    training.step = noted
    for _ in range(config.epochs):
        training.train_epoch()
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.9 * expected + 0.1 * weight
    training.finish()
    assert torch.allclose(model.hash_layer[0].weight, expected, atol=1e-6) and not torch.equal(expected, seen[-1])


def test_a_baseline_has_no_average(data):
    """Its weights are solved for at once: an average would keep those that were drawn."""
    weights = []
    for ema in (0.0, 0.9):
        config = RunConfig(bits=16, loss="lsh", ema=ema, checkpoint_minutes=0.0)
        features = torch.rand(len(data.pool.ids), 64, generator=torch.Generator().manual_seed(0))
        training = make_trainer(data, config, features=features)
        training.finish()
        weights.append(training.model.hash_layer[0].weight)
    assert torch.equal(*weights)


def test_evaluate_scores_perfect_codes_perfectly(data):
    """A backbone that reads the class off a pixel: every code is its own centroid."""

    class Oracle(nn.Module):
        def forward(self, images):
            return images.flatten(1)

    centroids = make_centroids(10, 16)
    targets = torch.eye(10, dtype=torch.uint8)[torch.arange(40) % 10]
    pixels = (targets.float() @ centroids).clamp(0, 1).mul(255).to(torch.uint8).view(40, 1, 4, 4)
    pool = dataclasses.replace(data.pool, images=pixels, targets=targets, image_size=4)
    model = HashModel(Oracle(), feature_size=48, bits=16)
    with torch.no_grad():
        model.hash_layer[0].weight.copy_(torch.eye(16).repeat(1, 3))
    split = Split(pool, torch.arange(40))
    assert evaluate(model, split, split, RunConfig(bits=16)).mean_average_precision == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "cpux"])
def test_a_device_that_is_not_here_is_said(name):
    with pytest.raises(ValueError, match=f"^device: '{name}' "):
        find_device(name)


def test_one_cycle_rises_and_falls():
    factors = [SCHEDULES["one_cycle"](step / 100) for step in range(101)]
    top = factors.index(max(factors))
    assert factors[:top] == sorted(factors[:top]) and factors[top:] == sorted(factors[top:], reverse=True)
    assert math.isclose(factors[-1], 0, abs_tol=1e-9)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_epoch_has_the_threads_of_the_config_and_all_are_there_afterwards(data, threads, monkeypatch):
    before = torch.get_num_threads()
    seen = []
    config = RunConfig(**QUICK | dict(threads=threads))

    def step(*_):
        seen.append(torch.get_num_threads())
        raise KeyError

    monkeypatch.setattr(Trainer, "step", step)
    training = make_trainer(data, config)
    with pytest.raises(KeyError):
        training.train_epoch()
    assert seen == [threads] and torch.get_num_threads() == before


def test_no_step_asks_the_device_for_a_number(data):
    """On a GPU each of these makes the host wait for it; the sums of an epoch are looked at once in a while."""
    waiting = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique_dim", "_unique2"}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            name = function.overloadpacket.__name__
            assert name not in waiting, f"{name} in a step"
            return function(*arguments, **(options or {}))

    config = RunConfig(**QUICK)
    training = make_trainer(data, config)
    training.model.train()
    batch = next(training.batches())
    with Watch():
        record = training.step(*batch)
    assert record.isfinite().all()


DEPTHWISE = pytest.param("mobilenet_v3_small", marks=pytest.mark.slow)


@pytest.mark.parametrize("backbone", ["small_cnn", DEPTHWISE])
def test_kept_weights_give_the_run_s_own_codes(backbone, data, tmp_path):
    config = RunConfig(**QUICK | dict(epochs=1, image_size=32), backbone=backbone, weights="none")
    few = {name: Split(data.pool, getattr(data, name).indices[:100]) for name in ("train", "database")}
    data = dataclasses.replace(data, **few)
    trainer = make_trainer(data, config)
    train(trainer)
    trainer.model.save(tmp_path / "model.safetensors", config)
    codes, _ = encode(trainer.model, data.query)
    again, _ = encode(HashModel.load(tmp_path), data.query)
    assert torch.equal(again, codes)


def test_features_of_a_fixed_backbone_do_not_count_where_it_is_trained(data):
    stale = torch.zeros(len(data.pool.ids), 64)
    trainer = make_trainer(data, RunConfig(**QUICK), features=stale)
    assert trainer.features is None

"""Codes without training: against other libraries, by hand, and as runs like any other."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from relahash_nb.baselines import (
    BASELINES,
    RIDGE,
    ClassIndex,
    class_index,
    itq,
    lsh,
    pcah,
    principal_directions,
    rotate,
)
from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.losses import build_loss
from relahash_nb.metrics import retrieval_scores
from relahash_nb.models import HashModel, build_model
from relahash_nb.training import Trainer, encode, score


def skewed_features():
    """(300, 20) above 0, as after a ReLU, of variances from 9 to 0.25."""
    values = np.random.default_rng(0).gamma(1.0, 1.0, (300, 20))
    return torch.from_numpy(values * np.linspace(3, 0.5, 20)).float()


FEATURES = skewed_features()
CENTRED = FEATURES - FEATURES.mean(dim=0)
LABELS = torch.eye(3)[torch.arange(300) % 3]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy_colours():
    """Images of three colours with noise; the backbone below averages them, so its features are the mean colours."""
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(90) % 3]
    noise = torch.randint(0, 120, (90, 3, 4, 4), dtype=torch.uint8, generator=seeded())
    images = noise + 120 * targets[:, :, None, None]
    pool = Pool(images, targets, np.arange(90), 4)
    splits = {"train": np.arange(45), "database": np.arange(75), "query": np.arange(75, 90)}
    return Dataset.from_pool("colours", ["r", "g", "b"], pool, splits)


def make_trainer(name, folder, **options):
    defaults = dict(
        bits=2,
        finetune=False,
        image_size=8,
        batch_size=8,
        device="cpu",
        data_dir=str(folder),
        results_dir=str(folder),
    )
    config = RunConfig(loss=name, **defaults | options)
    model = HashModel(nn.AdaptiveAvgPool2d(1), 3, config.bits)
    loss = build_loss(config, make_centroids(3, config.bits, "bernoulli"))
    return Trainer(model, loss, noisy_colours(), config)


def codes_of(trainer):
    """Codes of query and database."""
    query_codes, _ = encode(trainer.model, trainer.data.query)
    database_codes, _ = encode(trainer.model, trainer.data.database)
    return query_codes, database_codes


@pytest.mark.parametrize("name", BASELINES)
def test_it_is_a_run_like_any_other(name, tmp_path):
    trainer = make_trainer(name, tmp_path)
    (record,) = trainer.finish()
    assert record["epoch"] == 1
    assert math.isnan(record["loss"])
    assert 0 <= record["centroid_accuracy"] <= 1
    assert 0 <= record["quantization_error"] <= 1
    assert record["seconds"] > 0


@pytest.mark.parametrize("name", BASELINES)
def test_it_retrieves_better_than_chance_unless_it_is_random(name, tmp_path):
    trainer = make_trainer(name, tmp_path)
    trainer.finish()
    query_codes, database_codes = codes_of(trainer)
    assert query_codes.shape == (15, 2)
    assert database_codes.shape == (75, 2)
    scores = score(query_codes, database_codes, trainer.data.query, trainer.data.database, trainer.config)
    if name == "random":
        assert scores.worst < 1 / 3 < scores.best
    else:
        assert scores.mean_average_precision > 0.4


@pytest.mark.parametrize("name", BASELINES)
def test_codes_depend_on_the_seed_alone(name, tmp_path):
    def query_codes(seed):
        trainer = make_trainer(name, tmp_path, seed=seed)
        trainer.finish()
        return codes_of(trainer)[0]

    draws_nothing = name in ("pcah", "class_index")
    assert torch.equal(query_codes(0), query_codes(0))
    assert torch.equal(query_codes(0), query_codes(1)) == draws_nothing


def test_lsh_is_centred_random_directions():
    """Two codes differ in a share of the bits that is the angle between the centred features, over π."""
    codes = lsh(FEATURES, LABELS, 5000, seeded()).eval()(FEATURES)
    assert torch.allclose(codes.mean(dim=0), torch.zeros(5000), atol=1e-3)
    first, second = CENTRED[:2].numpy()
    angle = math.acos(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    different_bits = ((codes[0] > 0) != (codes[1] > 0)).float().mean().item()
    assert different_bits == pytest.approx(angle / math.pi, abs=4 * 0.5 / math.sqrt(5000))


def test_pcah_is_numpy_s_eigenvectors():
    codes = pcah(FEATURES, LABELS, 6, seeded()).eval()(FEATURES).detach().numpy()
    centred = CENTRED.double().numpy()
    variances, vectors = np.linalg.eigh(np.cov(centred.T))
    largest = np.argsort(-variances)[:6]
    expected = centred @ vectors[:, largest]
    assert np.abs(np.abs(codes) - np.abs(expected)).max() < 1e-3


def rotation_error(rotated):
    return np.square(np.sign(rotated) - rotated).sum()


def test_itq_comes_nearer_to_the_signs_with_every_iteration():
    values = CENTRED @ principal_directions(FEATURES, 8).T
    errors = []
    for iterations in (0, 1, 2, 3, 5, 10, 50):
        rotation = rotate(values, seeded(), iterations)
        assert torch.allclose(rotation @ rotation.T, torch.eye(8), atol=1e-4)
        errors.append(rotation_error((values @ rotation).numpy()))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.99 * errors[0]
    layer = itq(FEATURES, LABELS, 8, seeded()).eval()
    assert torch.allclose(layer(FEATURES), values @ rotation, atol=1e-2)


def test_itq_comes_as_near_to_the_signs_as_faiss():
    faiss = pytest.importorskip("faiss")
    values = CENTRED @ principal_directions(FEATURES, 8).T
    rotation = rotate(values, seeded(), iterations=50)
    reference = faiss.ITQMatrix(8)
    reference.train(values.numpy())
    expected = rotation_error(reference.apply(values.numpy()))
    assert rotation_error((values @ rotation).numpy()) <= 1.02 * expected


def test_a_class_index_is_its_binary_digits():
    codes = ClassIndex(nn.Identity(), bits=4)(torch.eye(10)[[0, 5, 9]])
    assert codes.tolist() == [[-1, -1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]


def test_a_class_index_is_repeated_to_the_number_of_bits():
    codes = ClassIndex(nn.Identity(), bits=8)(torch.eye(10))
    assert torch.equal(codes[:, :4], codes[:, 4:])


def test_a_classifier_that_is_always_right_has_a_perfect_score():
    targets = torch.eye(10).repeat(5, 1)
    codes = ClassIndex(nn.Identity(), bits=4)(targets)
    scores = retrieval_scores(codes[:10], codes[10:], targets[:10], targets[10:])
    assert scores.worst == scores.best == 1.0


def test_the_score_of_a_class_index_is_worked_by_hand():
    """Two classes of four items; three items of the query's class and one other are predicted to be of that class.

    These four tie and come first. The last item of the query's class ties with the other four.
    """
    predicted = torch.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1, 0]]
    true = torch.eye(2)[[0, 0, 0, 1, 0, 1, 1, 1, 0]]
    codes = ClassIndex(nn.Identity(), bits=1)(predicted)
    scores = retrieval_scores(codes[8:], codes[:8], true[8:], true[:8])
    assert scores.best == pytest.approx((1 + 1 + 1 + 4 / 5) / 4)
    assert scores.worst == pytest.approx((1 / 2 + 2 / 3 + 3 / 4 + 4 / 8) / 4)


def test_a_class_index_is_predicted_by_ridge_regression():
    from sklearn.linear_model import Ridge

    layer = class_index(FEATURES, LABELS, 4, seeded())
    features = FEATURES.double().numpy()
    total_variance = np.square(features - features.mean(axis=0)).sum()
    reference = Ridge(alpha=RIDGE * total_variance / 20).fit(features, LABELS.numpy())
    logits = layer.classifier(FEATURES).detach().numpy()
    assert np.abs(logits - reference.predict(features)).max() < 1e-4


@pytest.mark.parametrize(
    ("option", "name", "options"),
    [
        ("finetune", "lsh", dict(finetune=True)),
        ("bits", "pcah", dict(bits=4)),  # the backbone gives three features
        ("bits", "class_index", dict(bits=1)),  # three classes have two digits
        ("rounds", "itq", dict(loss_options={"rounds": 3})),
        ("beta", "lsh", dict(beta=8.0)),
    ],
)
def test_what_a_baseline_cannot_do_is_refused_in_one_line(option, name, options, tmp_path):
    with pytest.raises(ValueError) as error:
        make_trainer(name, tmp_path, **options).finish()
    message = str(error.value)
    assert message.startswith(f"{option}:")
    assert "\n" not in message


def test_too_few_pictures_for_the_bits_are_said_before_any_feature(image_folder, tmp_path, relahash, without_kernels):
    """48 images are trained on; one class or seed more of a sweep changes nothing."""
    asked = without_kernels(lambda config, output: None)
    data = ["--dataset", "folder", "--root", image_folder, "--backbone", "small_cnn", "--data-dir", tmp_path / "data"]
    for command in (["train"], ["sweep", "--direct", "--seed", 0, 1]):
        code, printed, error = relahash(*command, *data, "--loss", "itq", "--bits", 64)
        assert code == 2 and not printed and error.count("\n") == 1
        assert all(part in error for part in ("bits: 64 given", "48 training images", "--bits 32", "--loss lsh"))
    assert not asked and not (tmp_path / "data").exists()


def test_too_few_features_for_the_bits_are_said_by_the_model():
    with pytest.raises(ValueError, match=r"^bits: 128 given; pcah .*small_cnn.*lsh"):
        build_model(RunConfig(loss="pcah", bits=128))

"""Codes without training: against other libraries, by hand, and as runs like any other."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from relahash_nb.baselines import (
    BASELINES,
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
from relahash_nb.models import HashModel
from relahash_nb.training import Trainer, encode, score

RELU_LIKE = torch.from_numpy(
    np.random.default_rng(0).gamma(1.0, 1.0, (300, 20)) @ np.diag(np.linspace(3, 0.5, 20))
).float()
LABELS = torch.eye(3)[torch.arange(300) % 3]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_data():
    """Images of three colours with noise; the backbone below averages them, so its features are the mean colours."""
    generator = seeded()
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(90) % 3]
    noise = torch.randint(0, 120, (90, 3, 4, 4), dtype=torch.uint8, generator=generator)
    images = noise + 120 * targets[:, :, None, None]
    rows = {"train": np.arange(45), "database": np.arange(75), "query": np.arange(75, 90)}
    return Dataset.from_pool("colours", ["r", "g", "b"], Pool(images, targets, np.arange(90), 4), rows)


def run(name, folder, **options):
    usual = dict(bits=2, finetune=False, image_size=8, batch_size=8, device="cpu")
    config = RunConfig(loss=name, data_dir=str(folder), results_dir=str(folder), **usual | options)
    model, data = HashModel(nn.AdaptiveAvgPool2d(1), 3, config.bits), make_data()
    loss = build_loss(config, make_centroids(3, config.bits, "bernoulli"))
    trainer = Trainer(model, loss, data, config)
    estimate, history = trainer.estimate_seconds(), trainer.finish()
    codes = [encode(model, split)[0] for split in (data.query, data.database)]
    return history, estimate, codes, score(*codes, data.query, data.database, config)


@pytest.mark.parametrize("name", BASELINES)
def test_it_is_a_run_like_any_other(name, tmp_path):
    history, estimate, codes, scores = run(name, tmp_path)
    assert [record["epoch"] for record in history] == [1] and math.isnan(history[0]["loss"])
    assert 0 <= history[0]["centroid_accuracy"] <= 1 and 0 <= history[0]["quantization_error"] <= 1
    assert history[0]["seconds"] > 0 == estimate["training"]
    assert [len(part) for part in codes] == [15, 75]
    again = run(name, tmp_path)[2]
    other = run(name, tmp_path, seed=1)[2]
    assert all(torch.equal(*pair) for pair in zip(codes, again, strict=True))
    assert torch.equal(codes[0], other[0]) == (name in ("pcah", "class_index"))  # what draws nothing
    chance = 1 / 3
    assert scores.worst < chance < scores.best if name == "random" else scores.mean_average_precision > 0.4


def test_lsh_is_centred_random_directions():
    layer = lsh(RELU_LIKE, LABELS, 5000, seeded()).eval()
    codes = layer(RELU_LIKE)
    assert torch.allclose(codes.mean(0), torch.zeros(5000), atol=1e-3)
    centred = (RELU_LIKE - RELU_LIKE.mean(0)).numpy()
    angle = math.acos(centred[0] @ centred[1] / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1]))
    differ = ((codes[0] > 0) != (codes[1] > 0)).float().mean().item()
    assert differ == pytest.approx(angle / math.pi, abs=4 * 0.5 / math.sqrt(5000))


def test_pcah_is_numpy_s_eigenvectors():
    codes = pcah(RELU_LIKE, LABELS, 6, seeded()).eval()(RELU_LIKE).detach().numpy()
    x = RELU_LIKE.double().numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T))
    expected = (x - x.mean(0)) @ vectors[:, np.argsort(-values)[:6]]
    assert np.abs(np.abs(codes) - np.abs(expected)).max() < 1e-3


def test_itq_comes_nearer_to_the_signs_with_every_iteration_and_as_near_as_faiss():
    faiss = pytest.importorskip("faiss")
    values = (RELU_LIKE - RELU_LIKE.mean(0)) @ principal_directions(RELU_LIKE, 8).T
    error = lambda rotated: float(np.square(np.sign(rotated) - rotated).sum())
    errors = []
    for iterations in (0, 1, 2, 3, 5, 10, 50):
        rotation = rotate(values, seeded(), iterations)
        assert torch.allclose(rotation @ rotation.T, torch.eye(8), atol=1e-4)
        errors.append(error((values @ rotation).numpy()))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(errors))
    theirs = faiss.ITQMatrix(8)
    theirs.train(values.numpy())
    assert errors[-1] < 0.99 * errors[0]
    assert errors[-1] <= 1.02 * error(theirs.apply(values.numpy()))
    layer = itq(RELU_LIKE, LABELS, 8, seeded()).eval()
    assert torch.allclose(layer(RELU_LIKE), values @ rotation, atol=1e-2)


def test_a_class_index_is_its_digits_and_its_score_is_worked_by_hand(tmp_path):
    codes = ClassIndex(nn.Identity(), bits=4)(torch.eye(10)[[0, 5, 9]])
    assert codes.tolist() == [[-1, -1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]
    right = ClassIndex(nn.Identity(), bits=8)(torch.eye(10).repeat(5, 1))
    targets = torch.eye(10).repeat(5, 1)
    perfect = retrieval_scores(right[:10], right[10:], targets[:10], targets[10:])
    assert perfect.worst == perfect.best == 1.0  # a classifier that is always right, with four bits
    # Two classes, four items each; the query's class is said of three of its own and of one other: the tie of four
    # comes first. By hand over its orders, then the last own one among the other four.
    said = torch.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1, 0]]
    true = torch.eye(2)[[0, 0, 0, 1, 0, 1, 1, 1, 0]]
    coded = ClassIndex(nn.Identity(), bits=1)(said)
    scores = retrieval_scores(coded[8:], coded[:8], true[8:], true[:8])
    assert scores.best == pytest.approx((1 + 1 + 1 + 4 / 5) / 4)
    assert scores.worst == pytest.approx((1 / 2 + 2 / 3 + 3 / 4 + 4 / 8) / 4)


def test_a_class_index_is_predicted_by_ridge_regression():
    from sklearn.linear_model import Ridge

    from relahash_nb.baselines import RIDGE

    layer = class_index(RELU_LIKE, LABELS, 4, seeded())
    x = RELU_LIKE.double().numpy()
    theirs = Ridge(alpha=RIDGE * np.square(x - x.mean(0)).sum() / 20).fit(x, LABELS.numpy())
    assert np.abs(layer.classifier(RELU_LIKE).detach().numpy() - theirs.predict(x)).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("lsh", dict(finetune=True), "finetune: True given; lsh has no training"),
        ("pcah", dict(bits=4), "bits: 4 given; 45 features of 3 numbers have 3"),
        ("class_index", dict(bits=1), "bits: 1 given; the index of 3 classes has 2 digits"),
        ("itq", dict(loss_options={"rounds": 3}), "rounds: 3 given; itq takes no such option; allowed: iterations"),
        ("lsh", dict(beta=8.0), "beta: 8.0 given; lsh takes no such option; allowed: none"),
    ],
)
def test_what_a_baseline_cannot_do_is_said(name, options, said, tmp_path):
    with pytest.raises(ValueError) as error:
        run(name, tmp_path, **options)
    assert said in str(error.value)

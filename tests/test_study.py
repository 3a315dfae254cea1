"""The study's own methods and scores: hand-worked cases; every file of a sweep and every name in it exists."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from relahash_nb.centroids import make_centroids, max_hamming
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.losses import RelaHashLoss
from relahash_nb.models import HashModel
from relahash_nb.results import read_table
from relahash_nb.sweep import read_grid

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "study").glob("*.yml")), ids=lambda path: path.name)
def test_every_grid_can_be_read(path):
    grid = read_grid(path)
    assert {"bits", "seed", "loss"} <= set(grid)
    assert "cross_entropy_plain" not in grid["loss"]  # it is cross_entropy without batch norm


def test_a_quantizers_ranking_is_scored_with_its_ties():
    """By hand: two items tie in front, one of them relevant, and a relevant one comes last, which is trained on."""
    pytest.importorskip("faiss")
    from study.quantizer import all_distances, score

    index = SimpleNamespace(search=lambda query, count: (np.array([[1.0, 1, 2]]), np.array([[2, 0, 1]])), ntotal=3)
    distances = all_distances(index, np.zeros((1, 4)))
    assert distances.tolist() == [[1, 2, 1]]
    targets = np.array([[0, 1], [1, 0], [1, 1], [1, 0]])
    data = Dataset.from_arrays(np.zeros((4, 2, 2), np.uint8), targets, train=[1], query=[3], database=[0, 1, 2])
    first, second = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    expected = {"mean_average_precision": (first + second) / 2, "best": first, "worst": second, "new_images": 3 / 4}
    assert score(distances, data, RunConfig(top_k="all")) == pytest.approx(expected)


def test_the_cosine_of_features_is_that_of_each_pair_less_the_mean():
    pytest.importorskip("faiss")
    from study.quantizer import cosine_distances

    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()
    distances = cosine_distances(rows[:2], rows[2:], rows.mean(0))
    centred = (rows - rows.mean(0)).numpy()
    for query, row in zip(centred[:2], distances, strict=True):
        for item, distance in zip(centred[2:], row, strict=True):
            assert distance == pytest.approx(-query @ item / np.linalg.norm(query) / np.linalg.norm(item))


def test_another_split_has_as_many_of_each_class_in_each_list():
    from study.splits import shuffle_lists

    lines = [f"{number}.jpg {number % 3}" for number in range(60)]
    lists = {"train.txt": lines[:20], "test.txt": lines[40:], "database.txt": lines[:40]}
    other = shuffle_lists(lists, seed=1)
    assert set(other["train.txt"]) <= set(other["database.txt"])  # as in the first split
    assert not set(other["test.txt"]) & set(other["database.txt"])
    for name, before in lists.items():
        assert sorted(line.split()[1] for line in before) == sorted(line.split()[1] for line in other[name])
        assert set(before) != set(other[name])
    assert sorted(other["test.txt"] + other["database.txt"]) == sorted(lines)
    assert shuffle_lists(lists, seed=1) == other != shuffle_lists(lists, seed=2)


def test_the_images_of_another_split_are_links_in_a_folder_of_the_same_name(tmp_path):
    from study.splits import main

    source = tmp_path / "toy"
    (source / "images").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (source / "images" / name).write_text(name)
    for name, images in (("train", "a"), ("test", "b"), ("database", "ac")):
        (source / f"{name}.txt").write_text("".join(f"images/{image} 0\n" for image in images))
    main(str(source), "4")
    main(str(source), "4")  # again
    target = tmp_path / "splits" / "4" / "toy"
    assert sorted(path.name for path in target.iterdir()) == ["database.txt", "images", "test.txt", "train.txt"]
    assert (target / "images" / "b").samefile(source / "images" / "b")


def test_the_ranking_by_cosine_is_that_of_each_pair():
    from relahash_nb.metrics import retrieval_scores

    generator = np.random.default_rng(0)
    query, database = generator.standard_normal((5, 8)), generator.standard_normal((30, 8))
    labels = np.eye(3, dtype=np.uint8)[generator.integers(0, 3, 35)]
    expected = []
    for item, label in zip(query, labels[:5], strict=True):
        cosines = [item @ other / np.linalg.norm(item) / np.linalg.norm(other) for other in database]
        hits = [bool(label @ labels[5 + row]) for row in np.argsort(cosines)[::-1]]
        expected.append(np.mean([sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]))
    scores = retrieval_scores(query, database, labels[:5], labels[5:], distance="cosine")
    assert scores.mean_average_precision == pytest.approx(np.mean(expected))


def test_thresholds_tell_apart_what_signs_do_not():
    """Two items with the query's signs, one of them in doubt: some threshold lies between it and the query."""
    from study.thresholds import spread_thresholds

    query, database = np.ones((1, 64)), np.stack([np.full(64, 0.1), np.ones(64)])
    parts = query, database, np.array([[1, 0]]), np.array([[0, 1], [1, 0]])
    assert spread_thresholds(*parts, spread=0) == pytest.approx((1 + 1 / 2) / 2)  # tied
    assert spread_thresholds(*parts, spread=0.5) == 1


def test_classes_that_look_alike_are_given_near_codes_of_the_same_set():
    from study.assigned import assigned

    means = np.repeat(np.eye(4), 2, axis=0) + 0.01  # (8, 4): each two classes look alike
    drawn = max_hamming(8, 8, np.random.default_rng(0))
    given = assigned(8, 8, np.random.default_rng(0), means)
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, given))
    agreement_drawn = sum(drawn[i] @ drawn[i + 1] for i in range(0, 8, 2))
    agreement_given = sum(given[i] @ given[i + 1] for i in range(0, 8, 2))
    assert agreement_given > agreement_drawn


def test_classes_swap_their_centroids_when_their_codes_lie_there():
    from study.reassigned import EVERY, RelaHash

    centroids, targets = torch.tensor([[1.0, 1, 1, 1], [-1, 1, -1, 1], [1, 1, -1, -1]]), torch.eye(3)
    loss, others = RelaHash(centroids, beta=8.0), RelaHashLoss(centroids[[1, 0, 2]], beta=8.0)
    for _ in range(EVERY - 1):
        loss(centroids[[1, 0, 2]], targets)
    assert torch.equal(loss.centroids, centroids)
    assert torch.equal(loss(centroids[[1, 0, 2]], targets), others(centroids[[1, 0, 2]], targets))
    assert torch.equal(loss.centroids, centroids[[1, 0, 2]])


@pytest.mark.parametrize("name", ["RelaHash", "OrthoHash", "DPN"])
def test_a_reassigned_loss_is_the_loss_until_the_classes_swap(name):
    from relahash_nb.losses import find_loss
    from study import reassigned

    centroids = make_centroids(4, 16, "bernoulli")
    codes = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(4)[torch.arange(8) % 4]
    swapping = getattr(reassigned, name)(centroids)
    fixed = find_loss(name.lower())(centroids)
    assert swapping.batch_norm == fixed.batch_norm
    assert torch.equal(swapping(codes, targets), fixed(codes, targets))
    swapping.eval()
    for _ in range(reassigned.EVERY):
        swapping(codes, targets)
    assert torch.equal(swapping.centroids, fixed.centroids)  # only training counts


def test_fc6_and_fc7_learn_from_the_teacher_and_from_the_labels():
    from study import pretrain_fc

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 12, generator=generator)
    logits = 3 * features[:, :4]  # the teacher's, which are easy to imitate
    labels = torch.eye(3, dtype=torch.uint8)[features[:, 4:7].argmax(1)]
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4 + 3))
    history = pretrain_fc.learn(classifier, features.bfloat16(), logits, labels, epochs=200)
    by_teacher, by_class = classifier(features).split([4, 3], dim=1)
    assert len(history) == 200 and history[-1] < history[0]
    assert (by_teacher.argmax(1) == logits.argmax(1)).float().mean() > 0.6  # chance is a quarter
    assert (by_class.argmax(1) == labels.argmax(1)).float().mean() > 0.6  # and a third


def test_the_pretrained_tensors_are_all_that_alexnet_has_before_its_last_layer():
    from study import pretrain_fc

    with torch.device("meta"):  # shapes without memory
        network = alexnet()
        backbone = nn.Sequential(network.features, network.avgpool)
        tensors = pretrain_fc.name_tensors(SimpleNamespace(backbone=backbone), network.classifier)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items() if "classifier.6" not in name}
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected


def test_views_of_a_photograph_are_the_whole_and_random_crops(monkeypatch):
    from study import pretrain_fc

    monkeypatch.setattr(pretrain_fc, "IMAGE_SIZE", 16)
    monkeypatch.setattr(pretrain_fc, "TEACHER_SIZE", 8)
    pixels = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pool = Pool(pixels, torch.eye(5), np.arange(5), 16)
    model = HashModel(nn.Flatten(), feature_size=768, bits=1).eval()
    features, logits = pretrain_fc.compute_view(pool, model, model, 0)
    expected = model.features(pixels / 255)
    assert features.shape == (5, 768) and logits.shape == (5, 192)
    assert torch.allclose(features.float(), expected, atol=0.02)
    first, second = (pretrain_fc.compute_view(pool, model, model, number)[0] for number in (1, 2))
    assert not torch.equal(first, second) and not torch.equal(first, features)


def test_a_part_s_hours_are_those_of_its_published_runs_and_searches(tmp_path, monkeypatch):
    from study import hours

    runs = read_table(ROOT / "docs" / "results" / "phase.csv").iloc[:2]
    seconds = dict(zip(hours.SECONDS, (1_000.0, 700.0, 100.0), strict=True))
    runs.assign(**seconds, tuning="24 trials, protocol").to_csv(tmp_path / "summary.csv", index=False)
    searches = tmp_path / "tuned" / "protocol"
    searches.mkdir(parents=True)
    (searches / "csq.json").write_text(json.dumps({"budget": {"seconds": 3_600}}))
    monkeypatch.setattr(hours, "RESULTS", tmp_path)
    assert hours.spent("protocol") == (2, 1, pytest.approx(2 * 0.5 + 1))
    assert hours.spent("new_images") == hours.spent("phase") == hours.spent("lists") == (0, 0, 0)


def test_each_part_of_the_study_whose_hours_are_known_exists():
    from study import hours

    script = (ROOT / "study" / "reality.sh").read_text(encoding="utf-8")
    assert all(f"\n{part}() {{" in script for part in hours.PARTS)

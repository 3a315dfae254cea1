"""Features of a fixed backbone: right, kept once, found again by what decides them, and never half written."""

import copy
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

from relahash_nb import features, inference
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, prepare
from relahash_nb.features import class_centroids, pool_features
from relahash_nb.models import HashModel

ITEMS, SIZE = 22, 8  # five blocks of four, and one of two


class Backbone(nn.Module):
    """Six features; it notes the items that it sees, by their first pixel, and stops at one of them if told to.

    Noise, by which batch norms are folded, comes outside of inference mode and is no item.
    """

    mean, std = (0.0,) * 3, (1.0,) * 3

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1))
        nn.init.normal_(self.layers[0].weight, std=scale)

    def forward(self, images):
        if not torch.is_inference_mode_enabled():
            return self.layers(images)
        items = (images[:, 0, 0, 0].float() * 255).round().int().tolist()
        SEEN.extend(items)
        if STOP & set(items):
            raise RuntimeError("interrupted")
        return self.layers(images)


SEEN: list[int] = []
STOP: set[int] = set()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    SEEN.clear(), STOP.clear()
    for module in (features, inference):
        monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(inference, "CPU_BATCH", 3)


@pytest.fixture
def model() -> HashModel:
    return make_model()


@pytest.fixture
def data() -> Dataset:
    return make_data()


@pytest.fixture
def config(tmp_path) -> RunConfig:
    return RunConfig(data_dir=str(tmp_path))


def make_model(seed: int = 0, **options) -> HashModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return HashModel(Backbone(**options), feature_size=6, bits=16)


def make_data(seed: int = 0, image_size: int = SIZE, queries: int = 2) -> Dataset:
    images = torch.randint(0, 256, (ITEMS, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    images[:, 0, 0, 0] = torch.arange(ITEMS)
    return over(Pool(images.to(torch.uint8), torch.eye(ITEMS).byte(), np.arange(ITEMS), image_size), queries)


def over(pool: Pool, queries: int = 2) -> Dataset:
    rest = range(queries, len(pool.ids))
    return Dataset.from_pool("noise", ["a"], pool, {"train": rest, "query": range(queries), "database": rest})


def files(config: RunConfig, suffix: str = ".npy") -> list[Path]:
    return sorted(Path(config.data_dir, "features").glob(f"*{suffix}"))


def test_a_row_is_what_a_forward_pass_of_its_item_gives(model, data, config):
    rows = pool_features(model, data, config)
    direct = copy.deepcopy(model).eval()
    for row, image in zip(rows, data.pool.images, strict=True):
        torch.testing.assert_close(row.float(), direct.features(prepare(image[None], SIZE))[0], rtol=1e-3, atol=1e-3)
    assert rows.shape == (ITEMS, 6) and rows.dtype == torch.float16


def test_images_are_resized_and_bf16_is_near(model, config):
    data = make_data(image_size=12)
    rows = pool_features(model, data, RunConfig(data_dir=config.data_dir, precision="bf16"))
    direct = model.eval().features(prepare(data.pool.images, 12))
    torch.testing.assert_close(rows.float(), direct, rtol=0.03, atol=0.03)


def test_the_second_call_runs_no_backbone(model, data, config):
    first = pool_features(model, data, config)
    assert sorted(SEEN) == list(range(ITEMS))
    second = pool_features(make_model(), data, config)
    assert len(SEEN) == ITEMS and torch.equal(first, second)


def test_the_model_and_the_process_are_left_as_they_were(model, data, config):
    before, threads = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    pool_features(model, data, config)
    assert model.training and model.backbone.training and torch.get_num_threads() == threads
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_is_written_into_the_features_stays_out_of_the_file(model, data, config, recwarn):
    rows = pool_features(model, data, config)
    kept = rows.clone()
    rows.zero_()
    assert torch.equal(pool_features(model, data, config), kept) and not recwarn.list


def test_the_rows_of_a_split_are_found_by_its_indices_and_can_be_trained_on(model, data, config):
    rows = pool_features(model, data, config)[data.train.indices].float()
    model.hash(rows).sum().backward()
    assert model.hash_layer[0].weight.grad is not None and len(rows) == ITEMS - 2


@pytest.mark.parametrize(
    "change",
    [
        dict(model=make_model(seed=1)),
        dict(data=make_data(seed=1)),
        dict(data=make_data(image_size=12)),
        dict(precision="bf16"),
    ],
    ids=["weights", "pool", "image size", "precision"],
)
def test_what_changes_the_features_has_a_file_of_its_own(change, model, data, config):
    pool_features(model, data, config)
    given = dict(model=model, data=data, precision="fp32") | change
    other = RunConfig(data_dir=config.data_dir, precision=given.pop("precision"))
    pool_features(config=other, **given)
    assert len(files(config)) == 2 and len(SEEN) == 2 * ITEMS


def test_normalisation_and_parameterless_layers_have_files_of_their_own(model, data, config):
    brighter, other = copy.deepcopy(model), copy.deepcopy(model)
    brighter.mean += 0.5
    other.backbone.layers[3] = nn.AdaptiveMaxPool2d(1)
    for network in (model, brighter, other):
        pool_features(network, data, config)
    assert len(files(config)) == 3


def test_splits_seeds_labels_and_the_hash_layer_change_nothing(model, data, config):
    pool_features(model, data, config)
    other = RunConfig(data_dir=config.data_dir, seed=5, split_seed=5, bits=32, epochs=3)
    wider = HashModel(model.backbone, feature_size=6, bits=32)
    pool_features(wider, make_data(queries=7).with_validation(0, 1), other)
    assert len(files(config)) == 1 and len(SEEN) == ITEMS


def test_files_are_known_by_path_size_and_time_of_change(model, config, image_folder, tmp_path):
    root = shutil.copytree(image_folder, tmp_path / "images")
    paths = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    pool = Pool(FileImages(root, paths, SIZE), torch.ones(len(paths), 1), np.array(paths), SIZE)
    first = pool_features(model, over(pool), config)
    direct = model.eval().features(prepare(pool.images[torch.arange(len(paths))], SIZE))
    torch.testing.assert_close(first.float(), direct, rtol=1e-3, atol=1e-3)
    assert torch.equal(first, pool_features(model, over(pool), config)) and len(files(config)) == 1
    (root / paths[0]).touch()
    pool = Pool(FileImages(root, paths, SIZE), torch.ones(len(paths), 1), np.array(paths), SIZE)
    pool_features(model, over(pool), config)
    assert len(files(config)) == 2


@pytest.mark.parametrize(
    "damage",
    [lambda good: good[:-10], lambda good: b"", lambda good: b"\x80\x04" + good[2:]],
    ids=["truncated", "empty", "garbage"],
)
def test_a_damaged_file_is_named_in_one_line(damage, model, data, config):
    pool_features(model, data, config)
    (path,) = files(config)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError) as error:
        pool_features(model, data, config)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_the_file_is_an_array_of_numpy(model, data, config):
    pool_features(model, data, config)
    rows = np.load(files(config)[0], allow_pickle=False)
    assert rows.shape == (ITEMS, 6) and rows.dtype == np.float16


def test_an_interrupted_call_leaves_no_file(model, data, config):
    STOP.add(13)  # in the fourth block
    with pytest.raises(RuntimeError, match="interrupted"):
        pool_features(model, data, config)
    assert {path.suffix for path in Path(config.data_dir, "features").iterdir()} <= {".lock"}
    STOP.clear()
    assert pool_features(model, data, config).shape == (ITEMS, 6) and len(files(config)) == 1


def test_of_two_processes_the_second_waits_for_the_first(model, data, config, tmp_path):
    first = RunConfig(data_dir=str(tmp_path / "first"))
    pool_features(model, data, first)
    path = Path(config.data_dir, "features", files(first)[0].name)
    path.parent.mkdir()
    with FileLock(path.with_suffix(".lock")):
        second = threading.Thread(target=pool_features, args=(model, data, config))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        shutil.copy(files(first)[0], path)
    second.join()
    assert len(SEEN) == ITEMS  # of the first call


def test_where_nothing_can_be_written_they_are_computed_for_this_run_alone(model, data, config, tmp_path, capsys):
    kept = pool_features(model, data, config)
    (tmp_path / "file").touch()
    rows = pool_features(model, data, RunConfig(data_dir=str(tmp_path / "file")))
    assert torch.equal(rows, kept) and not rows.is_inference()
    assert capsys.readouterr().out.count("cannot be kept in") == 1


def test_a_full_disk_costs_the_file_and_not_the_features(model, data, config, monkeypatch, capsys):
    kept = pool_features(model, data, config.replace(data_dir=f"{config.data_dir}/other"))

    def write_rows_to_a_full_disk(path, *rest):
        path.symlink_to("/dev/full")
        write_rows(path, *rest)

    write_rows = features.write_rows
    monkeypatch.setattr(features, "write_rows", write_rows_to_a_full_disk)
    assert torch.equal(pool_features(model, data, config), kept)
    said = capsys.readouterr().out
    assert not files(config) and "No space left" in said and said.count("\n") == 1


def test_features_that_are_not_finite_in_float16_are_refused(data, config):
    model = make_model(scale=1e6)
    with pytest.raises(FloatingPointError, match=r"items 0 to 3 .*float16"):
        pool_features(model, data, config)
    assert not files(config)


def test_the_class_means_of_centroids_are_those_of_the_training_images(model, config, tmp_path, monkeypatch):
    Path(tmp_path, "shown_means.py").write_text(
        "def show(num_classes, bits, rng, means): raise ValueError(means.tolist())", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = config.replace(centroids="shown_means:show", bits=16)
    pool = replace(make_data().pool, targets=torch.eye(3).byte()[torch.arange(ITEMS) % 3])
    data = Dataset.from_pool("noise", list("abc"), pool, dict(train=range(2, ITEMS), query=[0], database=[1]))
    known = pool_features(model, data, config)
    rows, labels = known[2:].double().numpy(), np.arange(2, ITEMS) % 3
    by_hand = np.stack([rows[labels == label].mean(0) for label in range(3)]) - rows.mean(0)
    for given in (None, known):
        with pytest.raises(ValueError) as error:
            class_centroids(model, data, config, given)
        means = np.array(json.loads(str(error.value)))
        np.testing.assert_allclose(means / np.bincount(labels)[:, None], by_hand, atol=2e-3)

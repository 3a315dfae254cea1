"""Files decoded once and kept; crops of a batch, drawn for each image."""

import errno
import os
import shutil
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from relahash_nb import features
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, load_dataset, prepare
from relahash_nb.datasets.images import crop, resized_crop
from relahash_nb.features import decode_images, forward_blocks, pool_features
from relahash_nb.models import HashModel, build_model

ALL = torch.arange


def test_links_within_the_root_are_followed_and_others_are_not(image_folder, tmp_path):
    root = shutil.copytree(image_folder, tmp_path / "images")
    (root / "link.png").symlink_to("red/00.png")
    (root / "folder").symlink_to("red", target_is_directory=True)
    (root / "lost.png").symlink_to("red/99.png")
    (root / "out.png").symlink_to(image_folder / "red" / "00.png")
    files = FileImages(root, ["link.png", "folder/00.png", "red/00.png", "lost.png", "out.png"], 8)
    assert files.files[:, 0].tolist() == [(root / "red" / "00.png").stat().st_size] * 3 + [-1, -2]
    first, second, third = FileImages(root, files.paths[:3], 8)[[0, 1, 2]]
    assert torch.equal(first, third) and torch.equal(second, third)
    with pytest.raises(ValueError, match=r"out\.png"):
        FileImages(root, ["out.png"], 8)[[0]]


def test_a_crop_is_a_part_of_its_own_image():
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    cut = crop(images, torch.Generator().manual_seed(1))
    assert cut.shape == (64, 3, 28, 28)
    windows = images.unfold(2, 28, 1).unfold(3, 28, 1)  # (B, 3, 5, 5, 28, 28)
    places = (windows == cut[:, :, None, None]).all((1, 4, 5))  # (B, 5, 5)
    assert places.flatten(1).sum(1).tolist() == [1] * 64
    assert places.any((0, 2)).all() and places.any((0, 1)).all()  # every row and column is begun at


def test_each_image_is_drawn_for_anew_and_from_the_generator_alone():
    """Of images whose pixels say where they are, the parts lie elsewhere and have other heights."""
    rows = torch.arange(256, dtype=torch.uint8)[:, None].expand(40, 1, 256, 64)
    before = torch.get_rng_state()
    parts = resized_crop(rows, torch.Generator().manual_seed(0)).int()
    assert torch.equal(torch.get_rng_state(), before) and parts.shape == (40, 1, 224, 56)
    heights = (parts.amax((1, 2, 3)) - parts.amin((1, 2, 3))) / 256
    assert len(parts[:, 0, 0, 0].unique()) > 20 and len(heights.unique()) > 20
    assert heights.min() >= 0.1 and heights.max() <= 1 / 3  # an area of 0.08 to 1, ratio 3/4 to 4/3, 64 pixels wide
    torch.rand(9)
    assert torch.equal(parts, resized_crop(rows, torch.Generator().manual_seed(0)).int())


@pytest.mark.parametrize("augment", ["crop", "resized_crop"])
def test_cropped_batches_have_the_size_asked_for(augment):
    images = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    assert prepare(images, 28, augment, torch.Generator().manual_seed(4)).shape == (5, 3, 28, 28)
    assert prepare(images[:, :1], 40, augment, torch.Generator().manual_seed(4)).shape == (5, 3, 40, 40)


@pytest.fixture
def config(list_folder, tmp_path) -> RunConfig:
    root = shutil.copytree(list_folder, tmp_path / "lists")
    return RunConfig(
        dataset="lists", root=str(root), recipe="quick", image_size=8, batch_size=4, data_dir=str(tmp_path / "data")
    )


@pytest.fixture
def decodes(monkeypatch) -> list[int]:
    """The items that were decoded."""
    seen = []
    decode = FileImages._decode

    def watch(self, row):
        seen.append(row)
        return decode(self, row)

    monkeypatch.setattr(FileImages, "_decode", watch)
    return seen


def kept(config) -> list[Path]:
    return sorted(Path(config.data_dir, "images").glob("*.npy"))


def test_images_are_decoded_once_whatever_the_epoch_and_the_run(config, decodes):
    data = load_dataset(config)
    direct = data.pool.images[ALL(24)]
    decodes.clear()
    for _ in range(2):
        data = decode_images(load_dataset(config), config)
        for _ in range(2):
            epoch = torch.cat([data.database.images(rows) for rows in ALL(18).split(5)])
        assert torch.equal(epoch, direct[data.database.indices])
    assert sorted(decodes) == list(range(24))
    assert torch.equal(data.pool.images[ALL(24)], direct)
    assert np.load(kept(config)[0], allow_pickle=False).shape == (24, 3, 8, 8)


def test_the_fingerprint_and_the_findings_stay(config):
    data = load_dataset(config)
    decoded = decode_images(data, config)
    assert decoded.fingerprint() == data.fingerprint() and decoded.findings == data.findings
    assert torch.equal(decoded.to("cpu").query.images(ALL(2)), data.query.images(ALL(2)))


@pytest.mark.parametrize("change", ["file", "size", "augment"])
def test_other_files_sizes_and_margins_have_files_of_their_own(change, config):
    decode_images(load_dataset(config), config)
    other = {"size": dict(image_size=9), "augment": dict(augment="crop")}.get(change, {})
    if change == "file":
        os.utime(Path(config.root, "images", "03.png"), ns=(0, 0))
    other = RunConfig(**(config.to_dict() | other))
    decoded = decode_images(load_dataset(other), other)
    assert len(kept(config)) == 2 and decoded.pool.images.shape[-1] == (8 if change == "file" else 9)


def test_an_image_that_breaks_after_the_check_is_named_and_leaves_no_cache(config):
    data = load_dataset(config)
    Path(config.root, "images", "21.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"21\.png: "):
        decode_images(data, config)
    assert {file.suffix for file in Path(config.data_dir).rglob("*.*")} <= {".lock"}  # empty; filelock may keep it


def test_of_two_processes_the_second_waits_for_the_first(config, tmp_path, decodes, capsys):
    decode_images(load_dataset(config), config)
    (whole,) = kept(config)
    moved = whole.rename(tmp_path / "whole")
    decodes.clear()
    with FileLock(whole.with_suffix(".lock")):
        second = threading.Thread(target=decode_images, args=(load_dataset(config), config))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        shutil.move(moved, whole)
    second.join()
    assert not decodes and "waiting" in capsys.readouterr().out


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("reason", ["disk", "folder"])
def test_what_cannot_be_kept_is_decoded_when_it_is_asked_for(reason, config, decodes, monkeypatch, capsys):
    if reason == "disk":
        monkeypatch.setattr(features, "write_rows", full_disk)
    if reason == "folder":
        Path(config.data_dir).write_text("a file", encoding="utf-8")
    data = decode_images(load_dataset(config), config)
    decodes.clear()
    data.query.images(ALL(3))
    assert len(decodes) == 3 and "decoded whenever they are asked for" in capsys.readouterr().out and not kept(config)


def test_a_fixed_backbone_keeps_features_and_no_images(config, decodes):
    fixed = RunConfig(**(config.to_dict() | {"finetune": False}))
    for _ in range(2):
        data = decode_images(load_dataset(fixed), fixed)
        pool_features(build_model(fixed), data, fixed)
    assert len(decodes) == 24 and not Path(config.data_dir, "images").exists()


def test_a_model_trained_on_crops_is_tested_on_the_centre_at_the_same_scale():
    """256 pixels with a grid of 8: a shrunk image has it at 7 pixels, the centre at 8, as the training crops have."""
    columns = ((torch.arange(256) // 8) % 2 * 255).to(torch.uint8)
    image = columns.expand(1, 3, 256, 256).contiguous()
    data = from_pixels(image, augment="crop")
    seen = []
    model = HashModel(Watching(seen), 3, bits=8)
    list(forward_blocks(HashModel.forward, model, data.query, "fp32"))
    expected = image[:, :, 16:240, 16:240] / 255
    assert torch.equal(seen[-1] * model.std + model.mean > 0.5, expected > 0.5)
    assert seen[-1].shape[-1] == 224


class Watching(torch.nn.Module):
    """A backbone that keeps what it was given."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.scale = torch.nn.Parameter(torch.ones(()))

    def __deepcopy__(self, memo):
        return self

    def forward(self, images):
        self.seen.append(images.clone())
        return images.mean((2, 3)) * self.scale


def from_pixels(images, augment):
    """What `load_dataset` makes of a data set of one's own, at 224 pixels."""
    from relahash_nb.datasets import inspect_dataset

    config = RunConfig(dataset="tests_pixels:load", augment=augment, image_size=224)
    module = types.ModuleType("tests_pixels")
    pool = Pool(images, torch.ones(1, 1, dtype=torch.uint8), np.arange(1), 224)
    module.load = lambda config: Dataset.from_pool("pixels", ["one"], pool, dict(train=[0], database=[0], query=[0]))
    sys.modules["tests_pixels"] = module
    try:
        return inspect_dataset(config)
    finally:
        del sys.modules["tests_pixels"]

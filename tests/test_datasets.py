"""Splits by name, images of any source, and what is done to a batch of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as V

from relahash_nb.config import RunConfig
from relahash_nb.datasets import AUGMENTATIONS, Dataset, Pool, load_dataset, prepare, split_pool
from relahash_nb.datasets.augment import jitter, shift
from relahash_nb.datasets.images import FileImages

POOL = np.random.default_rng(7).permutation(np.repeat(np.arange(10), 600))  # CIFAR-10's pool, a tenth of it


def test_fashion_mini_is_balanced_and_its_splits_are_what_they_say():
    data = load_dataset(RunConfig())
    assert data.train.targets.sum(0).tolist() == [300] * 10
    assert data.database.targets.sum(0).tolist() == [650] * 10
    assert data.query.targets.sum(0).tolist() == [50] * 10
    assert set(data.train.indices.tolist()) < set(data.database.indices.tolist())
    assert not set(data.query.indices.tolist()) & set(data.database.indices.tolist())
    assert data.pool.images.dtype == torch.uint8 and not data.multi_label


@pytest.mark.parametrize(
    ("protocol", "query", "train", "database"),
    [
        ("1", 100, 500, 5_900),
        ("1-disjoint", 100, 500, 5_400),
        ("2", 1_000, 5_000, 5_000),
        ("2-official", 1_000, 5_000, 5_000),
    ],
)
def test_cifar_s_protocols_have_their_counts(protocol, query, train, database, monkeypatch):
    import relahash_nb.datasets.splits as splits

    monkeypatch.setattr(
        splits, "PROTOCOLS", {"1": (100, 500, False), "1-disjoint": (100, 500, True), "2": (1_000, None, False)}
    )
    official = np.arange(6_000) >= 5_000
    parts = split_pool(POOL, official, protocol, seed=3)
    assert {name: len(rows) for name, rows in parts.items()} == dict(query=query, train=train, database=database)
    if protocol != "2-official":
        assert {tuple(np.bincount(POOL[rows])) for rows in parts.values()} == {
            (query // 10,) * 10, (train // 10,) * 10, (database // 10,) * 10
        }  # fmt: skip
    assert not np.intersect1d(parts["query"], parts["database"]).size
    assert np.isin(parts["train"], parts["database"]).all() == (protocol != "1-disjoint")
    again = split_pool(POOL, official, protocol, seed=3)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_the_split_depends_on_its_seed_and_on_nothing_else():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    first = split_pool(POOL.repeat(10), POOL.repeat(10) < 0, "1", seed=0)["query"]
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002
    assert np.array_equal(first, split_pool(POOL.repeat(10), POOL.repeat(10) < 0, "1", seed=0)["query"])
    assert not np.array_equal(first, split_pool(POOL.repeat(10), POOL.repeat(10) < 0, "1", seed=1)["query"])


def test_a_folder_gives_a_tenth_of_each_class_to_the_queries(image_folder):
    data = load_dataset(RunConfig(dataset="folder", root=str(image_folder), image_size=12, batch_size=8))
    assert data.class_names == ("blue", "green", "red")
    assert data.query.targets.sum(0).tolist() == [2, 2, 2]
    assert len(data.train) == len(data.database) == 54
    names = [str(name).split("/")[0] for name in data.query.ids]
    assert names == [data.class_names[row.argmax()] for row in data.query.targets]


def test_lists_share_images_and_keep_several_labels(list_folder):
    data = load_dataset(RunConfig(dataset="lists", root=str(list_folder), image_size=8, batch_size=4))
    assert (len(data.train), len(data.query), len(data.database)) == (12, 6, 18)
    assert len(data.pool.ids) == 24 and data.multi_label
    assert data.query.targets[1].tolist() == [0, 1, 0, 1]  # number 19
    expected = Image.open(list_folder / "images" / "19.png").resize((11, 8), Image.Resampling.BILINEAR)  # of 14 × 10
    middle = np.asarray(expected)[:, 2:10]  # as torchvision's CenterCrop rounds
    assert np.array_equal(data.query.images(torch.tensor([1]))[0].permute(1, 2, 0), middle)


@pytest.mark.parametrize("root", [None, "no/such/folder"])
def test_a_missing_root_is_said(root):
    with pytest.raises(ValueError, match=r"root: .* given; lists needs the folder that holds the images"):
        load_dataset(RunConfig(dataset="lists", root=root))


def test_files_are_the_same_whether_decoded_at_once_or_batch_by_batch(image_folder):
    paths = [f"red/{number:02d}.png" for number in range(5)]
    files = FileImages(image_folder, paths, image_size=8)
    assert torch.equal(torch.cat(list(files.blocks(2)))[[3, 1]], files[torch.tensor([3, 1])])
    assert torch.equal(torch.cat(list(files.blocks(2, start=3))), files[[3, 4]])


def test_a_small_image_is_kept_as_it_is_and_enlarged_on_the_device(image_folder):
    files = FileImages(image_folder, ["red/00.png"], image_size=224)
    assert files.shape == (1, 3, 12, 12)
    assert prepare(files[[0]], 224).shape == (1, 3, 224, 224)


def test_resizing_is_pillow_s_to_one_level():
    """As the published pipeline does it: bilinear, antialiased, rounded to 8 bits."""
    images = torch.randint(0, 256, (2, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for size in (8, 33):
        for image, ours in zip(images, prepare(images, size), strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
            assert (ours * 255 - V.pil_to_tensor(pillow)).abs().max() <= 1.001


def test_grey_images_become_three_equal_channels():
    images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
    batch = prepare(images, 4)
    assert batch.shape == (1, 3, 4, 4) and torch.equal(batch[:, 0], batch[:, 2])


def test_jitter_is_torchvision_s_brightness_then_contrast_for_each_image_on_its_own():
    images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    brightness = torch.rand(4, 1, 1, 1, generator=generator) * 0.1 + 0.95
    contrast = torch.rand(4, 1, 1, 1, generator=generator) * 0.1 + 0.95
    assert len(brightness.unique()) == 4
    expected = [
        V.adjust_contrast(V.adjust_brightness(image, b.item()), c.item())
        for image, b, c in zip(images, brightness, contrast, strict=True)
    ]
    assert torch.allclose(jitter(images, torch.Generator().manual_seed(2)), torch.stack(expected), atol=1e-6)


def test_shift_moves_each_image_as_a_whole():
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 14, 14] = 1
    moved = shift(images, torch.Generator().manual_seed(0))
    assert moved.sum((1, 2, 3)).tolist() == [1.0] * 64
    places = moved.flatten(1).argmax(1)
    rows, columns = places // 28, places % 28
    assert rows.min() == columns.min() == 12 and rows.max() == columns.max() == 16


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmented_images_stay_in_range_and_follow_their_seed(name):
    images = torch.randint(0, 256, (8, 3, 14, 14), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    first = prepare(images, 14, name, torch.Generator().manual_seed(4))
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, prepare(images, 14, name, torch.Generator().manual_seed(4)))
    assert (name == "none") == torch.equal(first, prepare(images, 14))


def test_batches_in_order_hold_every_item_and_shuffled_ones_are_all_full():
    data = load_dataset(RunConfig())
    sizes = [len(targets) for _, targets in data.query.batches(64)]
    assert sizes == [64] * 7 + [52]
    targets = torch.cat([targets for _, targets in data.query.batches(64)])
    assert torch.equal(targets, data.query.targets)
    shuffled = list(data.query.batches(64, generator=torch.Generator().manual_seed(0)))
    assert [len(targets) for _, targets in shuffled] == [64] * 7
    assert not torch.equal(shuffled[0][1], data.query.targets[:64])


def toy(train, database, query=(9,)):
    targets = torch.eye(2, dtype=torch.uint8)[torch.arange(10) % 2]
    pool = Pool(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), targets, np.arange(10), 2)
    return Dataset.from_pool("toy", ("even", "odd"), pool, dict(train=train, database=database, query=query))


def test_validation_comes_out_of_the_database_and_not_out_of_training_where_it_can():
    data = toy(train=[0, 1, 2, 3], database=list(range(8))).with_validation(2, seed=0)
    assert sorted(data.validation.indices.tolist()) == [4, 5, 6, 7]
    assert data.train.indices.tolist() == [0, 1, 2, 3]
    assert len(data.database) == 8 and data.validation_database.indices.tolist() == [0, 1, 2, 3]


def test_validation_takes_training_images_where_there_are_no_others():
    data = toy(train=list(range(8)), database=list(range(8))).with_validation(1, seed=0)
    taken = set(data.validation.indices.tolist())
    assert len(taken) == 2 and taken.isdisjoint(data.train.indices.tolist()) and len(data.train) == 6
    assert data.validation.targets.sum(0).tolist() == [1, 1]


def test_too_large_a_validation_split_is_said():
    with pytest.raises(ValueError, match="validation_per_class: 5 given; toy's database has too few images"):
        toy(train=[0, 1], database=list(range(8))).with_validation(5, seed=0)


def test_positions_in_another_split():
    data = toy(train=[1, 3], database=[3, 4, 1])
    assert data.train.positions_in(data.database).tolist() == [2, 0]
    assert data.query.positions_in(data.database).tolist() == [-1]


def test_the_fingerprint_knows_pixels_targets_and_splits():
    data = toy(train=[0, 1], database=[0, 1, 2])
    others = [toy(train=[0], database=[0, 1, 2]), toy(train=[0, 1], database=[0, 1, 2])]
    others[1].pool.images[0, 0, 0, 0] = 1
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 3
    assert data.fingerprint() == toy(train=[0, 1], database=[0, 1, 2]).fingerprint()


def test_a_batch_larger_than_the_training_set_is_said():
    with pytest.raises(ValueError, match="batch_size: 4000 is too large; fashion_mini has 3000 training images"):
        load_dataset(RunConfig(batch_size=4000))
    # Validation takes images first from those not trained on, then from train: 360 a class leave 2,900.
    with pytest.raises(ValueError, match="batch_size: 3000 is too large; fashion_mini has"):
        load_dataset(RunConfig(validation_per_class=360, batch_size=3000))


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    import torchvision

    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", no_network)
    with pytest.raises(ValueError, match=r"cifar10: not in .*, and not to be downloaded \(no route to host\)"):
        load_dataset(RunConfig(dataset="cifar10", data_dir=str(tmp_path)))


class Archive:
    """A data set of torchvision's whose archive makes one folder; it reads what is there only if it is whole."""

    classes = ("a", "b")

    def __init__(self, root, train, download):
        folder = Path(root, "cifar-10-batches-py")
        if download:
            folder.mkdir(exist_ok=True)
            (folder / "batch").write_text("half" if INTERRUPT else "whole")
            if INTERRUPT:
                raise RuntimeError("File not found or corrupted.")
        if not folder.is_dir() or (folder / "batch").read_text() != "whole":
            raise RuntimeError("Dataset not found or corrupted.")
        self.data, self.targets = np.zeros((6_000, 2, 2, 3), dtype=np.uint8), [0, 1] * 3_000

    def __len__(self):
        return len(self.targets)


INTERRUPT: list[bool] = []


def test_an_archive_is_unpacked_aside_and_moved_in_place_whole(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Archive)
    config = RunConfig(dataset="cifar10", data_dir=str(tmp_path / "data"))
    INTERRUPT.append(True)
    with pytest.raises(ValueError, match="not to be downloaded"):
        load_dataset(config)
    assert not list((tmp_path / "data").iterdir())
    INTERRUPT.clear()
    assert len(load_dataset(config).pool.ids) == 12_000
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-py"]


def test_nothing_is_unpacked_over_what_is_there(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Archive)
    mine = tmp_path / "cifar-10-batches-py" / "batch"
    mine.parent.mkdir()
    mine.write_text("my own")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py: not whole; move it away, and it is downloaded anew"):
        load_dataset(RunConfig(dataset="cifar10", data_dir=str(tmp_path)))
    assert mine.read_text() == "my own" and list(tmp_path.iterdir()) == [mine.parent]


def test_torchvision_s_sets_become_a_pool_of_both_parts(tmp_path, monkeypatch):
    import torchvision

    class Part:
        classes = ("a", "b")

        def __init__(self, root, train, download):
            count = 12_000 if train else 3_000
            self.data = np.full((count, 4, 4, 3), 1 if train else 2, dtype=np.uint8)
            self.targets = [number % 2 for number in range(count)]

        def __len__(self):
            return len(self.targets)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Part)
    data = load_dataset(RunConfig(dataset="cifar10", protocol="2-official"))
    assert data.pool.images.shape == (15_000, 3, 4, 4)
    assert data.query.images(torch.arange(3)).unique().tolist() == [2]
    assert (len(data.train), len(data.query), len(data.database)) == (12_000, 3_000, 12_000)


def test_one_s_own_data_set_needs_a_name_only(monkeypatch):
    import relahash_nb.config

    monkeypatch.setattr(relahash_nb.config, "own", lambda config: toy(train=[0, 1], database=[0, 1, 2]), raising=False)
    assert load_dataset(RunConfig(dataset="relahash_nb.config:own", batch_size=2)).name == "toy"

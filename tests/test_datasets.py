"""Splits by name, images of any source, and what is done to a batch of them."""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as V

from relahash_nb.config import RunConfig
from relahash_nb.datasets import AUGMENTATIONS, Dataset, Pool, Split, load_dataset, prepare, sources, split_pool
from relahash_nb.datasets.images import FileImages, jitter, shift
from relahash_nb.datasets.sources import Protocol
from relahash_nb.features import forward_blocks
from relahash_nb.models import HashModel

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
    small = {"1": Protocol(100, 500), "1-disjoint": Protocol(100, 500, disjoint=True), "2": Protocol(1_000, None)}
    monkeypatch.setattr(sources, "PROTOCOLS", small)
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


def test_a_folder_holds_a_fifth_of_each_class_out_for_the_queries(image_folder):
    data = load_dataset(RunConfig(dataset="folder", root=str(image_folder), image_size=12, batch_size=8))
    assert data.class_names == ("blue", "green", "red")
    assert data.query.targets.sum(0).tolist() == [4, 4, 4]
    assert len(data.train) == len(data.database) == 48
    assert not set(data.query.indices.tolist()) & set(data.database.indices.tolist())
    names = [str(name).split("/")[0] for name in data.query.ids]
    assert names == [data.class_names[row.argmax()] for row in data.query.targets]


def test_lists_share_images_and_keep_several_labels(list_folder):
    data = load_dataset(RunConfig(dataset="lists", root=str(list_folder), image_size=8, batch_size=4))
    assert (len(data.train), len(data.query), len(data.database)) == (12, 6, 18)
    assert len(data.pool.ids) == 24 and data.multi_label
    assert data.query.targets[1].tolist() == [0, 1, 0, 1]  # number 19
    expected = Image.open(list_folder / "images" / "19.png").resize((11, 8), Image.Resampling.BILINEAR)  # of 14 × 10
    middle = np.asarray(expected)[:, 2:10]  # as torchvision's CenterCrop rounds
    ours = data.query.images(torch.tensor([1]))[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - middle).max() <= 1  # resizing only what is kept rounds otherwise


@pytest.mark.parametrize("root", [None, "no/such/folder"])
def test_a_missing_root_is_said(root):
    with pytest.raises(ValueError, match=r"^root: .*lists"):
        load_dataset(RunConfig(dataset="lists", root=root))


def test_files_are_the_same_whether_decoded_at_once_or_batch_by_batch(image_folder):
    paths = [f"red/{number:02d}.png" for number in range(5)]
    files = FileImages(image_folder, paths, size=8)
    assert torch.equal(files[torch.arange(5)][[3, 1]], files[torch.tensor([3, 1])])


def test_a_file_is_enlarged_to_the_size_asked_for(image_folder):
    files = FileImages(image_folder, ["red/00.png"], size=224)
    assert files.shape == files[[0]].shape == (1, 3, 224, 224)


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


def toy(train, database, query=(9,)):
    targets = torch.eye(2, dtype=torch.uint8)[torch.arange(10) % 2]
    pool = Pool(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), targets, np.arange(10), 2)
    return Dataset.from_pool("toy", ("even", "odd"), pool, dict(train=train, database=database, query=query))


def test_validation_comes_out_of_training_alone():
    """The labels of the rest of the database are not given to a method."""
    data = toy(train=[0, 1, 2, 3], database=list(range(8))).with_validation(1, seed=0)
    taken, left = set(data.validation.indices.tolist()), set(data.train.indices.tolist())
    assert taken | left == {0, 1, 2, 3} and len(taken) == len(left) == 2
    assert data.validation.targets.sum(0).tolist() == [1, 1]
    assert len(data.database) == 8 and set(data.validation_database.indices.tolist()) == set(range(8)) - taken


def test_too_large_a_validation_split_is_said():
    for count in (2, 5):  # all training images, or more
        with pytest.raises(ValueError, match=f"^validation_per_class: {count} .*toy"):
            toy(train=[0, 1, 2, 3], database=list(range(8))).with_validation(count, seed=0)


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


def test_the_fingerprint_knows_no_strides():
    """Every other index of a tensor, and targets whose columns lie one after another."""
    data = toy(train=[0, 1, 2, 3], database=list(range(8)))
    strided = replace(data, database=Split(data.pool, torch.arange(8).repeat_interleave(2)[::2]))
    columns = data.with_pool(replace(data.pool, targets=data.pool.targets.T.contiguous().T))
    assert not strided.database.indices.is_contiguous() and not columns.pool.targets.is_contiguous()
    assert strided.fingerprint() == columns.fingerprint() == data.fingerprint()


def test_a_batch_larger_than_the_training_set_is_said():
    with pytest.raises(ValueError, match=r"^batch_size: 4000 .*3000"):
        load_dataset(RunConfig(batch_size=4000))
    with pytest.raises(ValueError, match=r"^batch_size: 2950 .*2900"):
        load_dataset(RunConfig(validation_per_class=10, batch_size=2950))


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    import torchvision

    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", no_network)
    with pytest.raises(ValueError, match=r"^cifar10: .*no route to host.*cifar-10-python\.tar\.gz"):
        load_dataset(RunConfig(dataset="cifar10", data_dir=str(tmp_path)))


@pytest.mark.parametrize("place", ["data", "."])
def test_an_archive_that_someone_brought_is_used(place, tmp_path, monkeypatch):
    import torchvision

    class Archive:
        """torchvision's part of it: an archive in the root is unpacked, and the network is not asked."""

        classes = ("a", "b")

        def __init__(self, root, train, download):
            if not (download and Path(root, "cifar-10-python.tar.gz").is_file()):
                raise RuntimeError("Dataset not found or corrupted.")
            self.data, self.targets = np.zeros((6_000, 2, 2, 3), dtype=np.uint8), [0, 1] * 3_000

        def __len__(self):
            return len(self.targets)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Archive)
    monkeypatch.chdir(tmp_path)
    config = RunConfig(dataset="cifar10", data_dir=str(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz.*data$"):
        load_dataset(config)
    (tmp_path / place / "cifar-10-python.tar.gz").write_text("")
    assert len(load_dataset(config).pool.ids) == 12_000


def test_an_archive_is_read_when_its_upload_is_complete(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    kinds = {"batches.meta": {"label_names": list("abcdefghij")}}
    for number, name in enumerate([*(f"data_batch_{batch}" for batch in range(1, 6)), "test_batch"]):
        kinds[name] = {"data": np.full((2_000, 3_072), number, np.uint8), "labels": list(range(10)) * 200}
    files = {name: pickle.dumps(content) for name, content in kinds.items()}
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    whole = archive.read_bytes()
    for name, value in {
        "tgz_md5": hashlib.md5(whole).hexdigest(),
        "train_list": [[name, sums[name]] for name in files if name.startswith("data")],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": CIFAR10.meta | {"md5": sums["batches.meta"]},
    }.items():
        monkeypatch.setattr(CIFAR10, name, value)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing")
    monkeypatch.chdir(tmp_path)
    archive.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz.*data"):
        load_dataset(RunConfig(dataset="cifar10"))
    archive.write_bytes(whole)
    data = load_dataset(RunConfig(dataset="cifar10"))
    assert data.pool.images.shape == (12_000, 3, 32, 32) and len(data.query) == 1_000
    assert data.class_names == tuple("abcdefghij")


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


def test_what_is_no_data_set_is_said(monkeypatch):
    import relahash_nb.config

    monkeypatch.setattr(relahash_nb.config, "own", lambda config: ([], []), raising=False)
    with pytest.raises(ValueError, match=r"config:own: .*tuple.*Dataset"):
        load_dataset(RunConfig(dataset="relahash_nb.config:own"))


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
def test_arrays_of_any_layout_become_a_data_set(layout):
    shape = {"NHW": (6, 5, 4), "NHWC": (6, 5, 4, 3), "NCHW": (6, 3, 5, 4)}[layout]
    images = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    data = Dataset.from_arrays(images, [0, 1, 2] * 2, train=[0, 1, 2], query=[3])
    assert data.pool.images.shape == (6, 1 if layout == "NHW" else 3, 5, 4) and data.class_names == ("0", "1", "2")
    assert data.database.indices.tolist() == [0, 1, 2] and data.query.targets.tolist() == [[1, 0, 0]]
    if layout == "NHWC":
        assert torch.equal(data.pool.images[1], torch.from_numpy(images[1]).permute(2, 0, 1))
    for wrong, targets in ((images.astype(np.float32), [0] * 6), (images, [0] * 5), (images[0, 0], [0] * 6)):
        with pytest.raises(ValueError, match=r"^(images|targets): "):
            Dataset.from_arrays(wrong, targets, train=[0], query=[1])


def test_class_names_can_be_printed_and_drawn_and_are_told_apart():
    pool = toy(train=[0], database=[0]).pool
    names = Dataset.from_pool(
        "toy", ["$a$", "b\x1b\n", "c\udcff", "crane", "crane"], pool, {"train": [0], "query": [1], "database": [0]}
    ).class_names
    assert names == ("\ufffda\ufffd", "b\ufffd\ufffd", "c\ufffd", "crane", "crane (2)")


@pytest.mark.parametrize(
    ("augment", "centre", "size"), [("resized_crop", True, 256), ("crop", True, 256), ("jitter", False, 224)]
)
def test_a_model_trained_on_crops_is_evaluated_on_the_centre(augment, centre, size, list_folder):
    config = RunConfig(dataset="lists", root=str(list_folder), recipe="paper", augment=augment, batch_size=4)
    data = load_dataset(config)
    assert data.pool.centre == centre and data.pool.images.shape[-1] == size
    seen = []
    backbone = torch.nn.AdaptiveAvgPool2d(1)
    backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model = HashModel(backbone, feature_size=3, bits=8)
    list(forward_blocks(HashModel.features, model, Split(data.pool, data.query.indices[:2]), "fp32"))
    kept = data.query.images(torch.arange(2))
    expected = V.center_crop(kept, [224, 224]) if centre else kept
    torch.testing.assert_close(seen[0] * model.std + model.mean, expected.float() / 255)

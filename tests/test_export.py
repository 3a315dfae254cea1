"""A model as one file gives the codes that torch gives, for every family of networks; a baseline carries its fit."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from relahash_nb.config import RunConfig
from relahash_nb.export import bits_for, export_baseline, export_model, export_run
from relahash_nb.metrics import pack
from relahash_nb.models import HashModel, build_model
from relahash_nb.pictures import scan
from relahash_search.model import Model

NAMES = dict(run=None, dataset=None, loss="relahash", backbone="any", weights="none")
OWN = """
from torch import nn


def tiny(weights):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(7), nn.Flatten())
"""


def smooth_images(count: int, size: int) -> torch.Tensor:
    """Images (N, 3, S, S) uint8 of soft spots, without noise."""
    generator = torch.Generator().manual_seed(0)
    spots = torch.rand(count, 3, 6, 6, generator=generator)
    images = F.interpolate(spots, (size, size), mode="bicubic").clamp(0, 1)
    return (images * 255).round().byte()


def settled(model: HashModel, images: torch.Tensor) -> HashModel:
    """A model whose norms have seen images, so that its codes lie around 0, where a rounding changes a sign."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it sees
    some = images[:100] / 255
    with torch.no_grad():
        model.train()(some)
        model.eval()
        model.hash_layer.train()
        model.hash_layer[1].reset_running_stats()
        model(some)  # again, now that the other norms stand still
    return model.eval()


def torch_codes(model: HashModel, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(batch / 255).numpy() for batch in images.split(50)])


def build(backbone: str, size: int, bits: int = 64, **options) -> HashModel:
    return build_model(
        RunConfig(backbone=backbone, weights="none", image_size=size, bits=bits, device="cpu", **options)
    )


FAMILIES = [
    ("small_cnn", 28),
    pytest.param("alexnet", 64, marks=pytest.mark.slow),
    pytest.param("alexnet", 224, marks=pytest.mark.slow),
    pytest.param("resnet18", 64, marks=pytest.mark.slow),
    pytest.param("mobilenet_v3_large", 64, marks=pytest.mark.slow),
    pytest.param("vgg11", 64, marks=pytest.mark.slow),
    pytest.param("densenet121", 64, marks=pytest.mark.slow),
    pytest.param("googlenet", 64, marks=pytest.mark.slow),
    pytest.param("inception_v3", 96, marks=pytest.mark.slow),
    pytest.param("swin_t", 64, marks=pytest.mark.slow),
    pytest.param("tf_efficientnet_lite0", 64, marks=pytest.mark.slow),
    pytest.param("vit_tiny_patch16_224", 224, marks=pytest.mark.slow),
    pytest.param("convnext_atto", 64, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("backbone", "size"), FAMILIES)
def test_the_codes_of_500_images_are_torch_s(backbone, size):
    images = smooth_images(500, size)
    model = settled(build(backbone, size), images)
    expected = torch_codes(model, images)
    found = Model.from_bytes(export_model(model, **NAMES)).codes(images.numpy())
    differing = (found >= 0) != (expected >= 0)  # (N, K)
    balance = (expected >= 0).mean()
    assert 0.4 < balance < 0.6 and len(np.unique(pack(expected), axis=0)) > 100  # else nearly any model would pass
    assert differing.mean() <= 1e-3 and differing.sum(axis=1).max() <= 2


def test_the_embedded_images_too_and_training_goes_on_where_it_was():
    from relahash_nb.datasets import load_dataset, prepare

    config = RunConfig(bits=64, device="cpu")
    data = load_dataset(config)
    images = data.database.images(torch.arange(500))
    model = settled(build_model(config), images.expand(-1, 3, -1, -1)).train()
    content = export_model(model, **NAMES)
    assert model.training
    with torch.no_grad():
        expected = model.eval()(prepare(images, 28))
    found = Model.from_bytes(content).codes(images.expand(-1, 3, -1, -1).contiguous().numpy())
    assert ((found >= 0) != (expected.numpy() >= 0)).mean() <= 1e-3


def test_any_number_of_images_at_a_time():
    import onnxruntime

    model = build("small_cnn", 28)
    session = onnxruntime.InferenceSession(export_model(model, **NAMES))
    images = smooth_images(7, 28).numpy()
    for count in (1, 2, 7):
        (codes,) = session.run(None, {"images": images[:count]})
        assert codes.shape == (count, 64)
        torch.testing.assert_close(codes, torch_codes(model.eval(), torch.from_numpy(images[:count])))


def test_a_hash_layer_without_a_batch_norm():
    model = HashModel(nn.AdaptiveAvgPool2d(1), feature_size=3, bits=16, batch_norm=False).eval()
    model.image_size = model.decoded_size = 8
    images = smooth_images(20, 8)
    found = Model.from_bytes(export_model(model, **NAMES)).codes(images.numpy())
    torch.testing.assert_close(found, torch_codes(model, images), rtol=1e-5, atol=1e-6)


def test_a_network_whose_codes_depend_on_other_images_is_refused():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1))
    model = HashModel(backbone, feature_size=4, bits=16).eval()
    model.image_size = model.decoded_size = 8
    with pytest.raises(ValueError, match="other images") as caught:
        export_model(model, **NAMES)
    assert "\n" not in str(caught.value)


def test_what_has_no_linear_hash_layer_or_no_image_size_is_refused():
    model = build("small_cnn", 28)
    model.hash_layer = nn.Tanh()
    with pytest.raises(ValueError, match="hash layer"):
        export_model(model, **NAMES)
    with pytest.raises(ValueError, match="image size"):
        export_model(HashModel(nn.AdaptiveAvgPool2d(1), feature_size=3, bits=16), **NAMES)


def test_the_digest_names_weights_and_preprocessing_and_the_file_no_folder(tmp_path):
    def metadata(model, **names):
        content = export_model(model, **(NAMES | names))
        assert b"site-packages" not in content and str(tmp_path).encode() not in content
        return Model.from_bytes(content).metadata

    model = build("small_cnn", 28)
    first = metadata(model, weights=str(tmp_path / "mine.safetensors"))
    assert first.weights == "mine.safetensors"
    assert metadata(build("small_cnn", 28), backbone="other").digest == first.digest
    assert metadata(build("small_cnn", 28, seed=1)).digest != first.digest
    assert metadata(build("small_cnn", 28, augment="crop")).digest != first.digest
    assert (first.image_size, first.decoded_size) == (28, 28)
    assert metadata(build("small_cnn", 28, augment="crop")).decoded_size == 32


# A finished run


def test_a_run_becomes_one_file_by_a_command(trained, relahash, tmp_path):
    (folder,) = (trained.results / "runs").iterdir()
    out = tmp_path / "model.onnx"
    code, printed, _ = relahash("export", folder, "--out", out)
    assert code == 0 and str(out) in printed
    model = Model.from_file(out)
    images = smooth_images(30, 14)
    expected = torch_codes(HashModel.load(folder), images)
    assert np.array_equal(model.codes(images.numpy()) >= 0, expected >= 0)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metadata = model.metadata
    assert (metadata.run, metadata.bits, metadata.image_size) == (folder.name, 16, 14)
    for name in ("dataset", "loss", "backbone", "weights"):
        assert getattr(metadata, name) == config[name]


def test_a_wrong_command_is_a_line_and_leaves_no_file(relahash, tmp_path):
    for arguments in ([], [tmp_path / "nothing"], ["a", "b"], [tmp_path, "--out"]):
        code, _, errors = relahash("export", *arguments)
        assert code == 2 and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_one_s_own_backbone_is_exported_where_the_caller_names_it(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    config = RunConfig(backbone="own:tiny", weights="none", image_size=16, bits=16, device="cpu", save_weights="all")
    images = smooth_images(100, 16)
    model = settled(build_model(config), images)
    model.save(tmp_path / "model.safetensors", config)
    with pytest.raises(ValueError, match="own:tiny"):
        export_run(tmp_path / "model.safetensors")
    content = export_run(tmp_path / "model.safetensors", backbone="own:tiny")
    assert np.array_equal(Model.from_bytes(content).codes(images.numpy()) >= 0, torch_codes(model, images) >= 0)
    monkeypatch.delitem(sys.modules, "own", raising=False)


# Baselines


@pytest.fixture(scope="module")
def soft_folder(tmp_path_factory):
    """A hundred pictures in two folders."""
    root = tmp_path_factory.mktemp("soft")
    for number, image in enumerate(smooth_images(100, 28)):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return root


@pytest.mark.parametrize("loss", ["itq", "pcah", "lsh"])
def test_a_baseline_is_fitted_once_and_its_file_gives_the_codes_that_it_computed(loss, soft_folder):
    fitted = export_baseline(soft_folder, "small_cnn", weights="none", bits=24, image_size=28, loss=loss)
    model = Model.from_bytes(fitted.content)
    files = scan(soft_folder).files
    assert list(fitted.codes) == files and not fitted.faults
    for path in files:
        assert np.array_equal(model.hash(soft_folder / path), fitted.codes[path])
    assert len({code.tobytes() for code in fitted.codes.values()}) > 20
    metadata = model.metadata
    assert (metadata.run, metadata.loss, metadata.bits, metadata.backbone) == (None, loss, 24, "small_cnn")


def test_pictures_that_cannot_be_read_are_named_and_left_out(image_folder, tmp_path):
    for path in scan(image_folder).files[:30]:
        (tmp_path / path.replace("/", "-")).write_bytes((image_folder / path).read_bytes())
    (tmp_path / "broken.png").write_text("<html>")
    fitted = export_baseline(tmp_path, "small_cnn", weights="none", bits=16, image_size=28)
    assert len(fitted.codes) == 30 and len(fitted.faults) == 1 and str(tmp_path / "broken.png") in fitted.faults[0]


@pytest.mark.parametrize(("pictures", "bits"), [(3, 8), (31, 8), (32, 16), (128, 64), (512, 256), (10**6, 256)])
def test_few_pictures_get_fewer_bits(pictures, bits):
    assert bits_for(pictures, 1000) == bits
    assert bits_for(pictures, 64) == min(bits, 64)


def test_the_number_of_bits_counts_pictures_that_can_be_read(image_folder, tmp_path):
    for number, path in enumerate(scan(image_folder).files[:20]):
        (tmp_path / f"{number}.png").write_bytes((image_folder / path).read_bytes())
    for number in range(200):
        (tmp_path / f"broken{number}.png").write_text("<html>")
    fitted = export_baseline(tmp_path, "small_cnn", weights="none", image_size=28)
    assert {code.size for code in fitted.codes.values()} == {1} and len(fitted.faults) == 200


def test_too_few_pictures_are_told_before_a_network_is_built(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("relahash_nb.export.build_model", None)  # whoever builds one fails otherwise
    with pytest.raises(ValueError, match="--bits 60"):
        export_baseline(image_folder, "small_cnn", weights="none", bits=64, image_size=28)
    with pytest.raises(ValueError, match="no picture"):
        export_baseline(tmp_path, "small_cnn", weights="none")
    with pytest.raises(ValueError, match="relahash"):
        export_baseline(image_folder, "small_cnn", loss="relahash")

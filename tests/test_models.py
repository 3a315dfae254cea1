"""Backbones without their heads, weights that fit in part, a seed that alone decides, and models that are loaded."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import alexnet, mobilenet_v3_small
from torchvision.transforms.v2 import functional as V

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool, prepare
from relahash_nb.inference import forward_blocks
from relahash_nb.models import HashModel, build_backbone, build_model
from relahash_nb.registry import BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_codes_with_a_gradient(name):
    model = build_model(RunConfig(backbone=name, weights="none", image_size=64, bits=20))
    codes = model(torch.rand(3, 3, 64, 64))
    assert codes.shape == (3, 20)
    codes.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_torchvision_s_models_serve_by_name_without_their_classes(name):
    backbone = build_backbone(name, "none").eval()
    features = backbone(torch.rand(2, 3, 64, 64)).flatten(1)
    assert features.shape[1] != 1000
    assert not [module for module in backbone.modules() if getattr(module, "out_features", 0) == 1000]


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_a_network_with_auxiliary_classifiers_gives_features_alone_while_it_trains(name):
    backbone = build_backbone(name, "none").train()
    assert backbone(torch.rand(2, 3, 96, 96)).shape[1] != 1000
    assert not [module for module in backbone.modules() if getattr(module, "out_features", 0) == 1000]


def test_alexnet_s_features_are_those_of_torchvision_before_its_head():
    ours, theirs = build_backbone("alexnet", "none").eval(), alexnet().eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    images = torch.rand(2, 3, 224, 224)
    expected = theirs.classifier[:6](theirs.avgpool(theirs.features(images)).flatten(1))
    assert torch.equal(ours(images), expected)


def test_images_are_normalised_as_imagenet_s_weights_expect():
    model = HashModel(nn.Identity(), feature_size=12, bits=4)
    images = torch.rand(5, 3, 2, 2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = ((images.permute(0, 2, 3, 1) - mean) / std).permute(0, 3, 1, 2).flatten(1)
    assert torch.allclose(model.features(images), by_hand, atol=1e-6)


def test_a_seed_decides_the_weights_and_the_global_state_stays():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, same, other = (build_model(RunConfig(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(first.hash_layer[0].weight, other.hash_layer[0].weight)


@pytest.mark.parametrize(("keep", "rate"), [(False, 0.0), (True, 0.2)])
def test_dropout_is_off_unless_asked_for(keep, rate):
    model = build_model(RunConfig(backbone="mobilenet_v3_small", weights="none", image_size=32, dropout=keep))
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {rate}


def test_a_backbone_that_is_not_finetuned_keeps_still():
    model = build_model(RunConfig(finetune=False)).train()
    assert not model.backbone.training and model.hash_layer.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        "hash_layer.0.weight",
        "hash_layer.1.weight",
        "hash_layer.1.bias",
    ]


def test_part_of_a_network_is_taken_and_what_is_drawn_anew_is_said(tmp_path, capsys):
    state = mobilenet_v3_small().state_dict()
    trunk = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    save_file(trunk | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "trunk.safetensors")
    options = dict(backbone="mobilenet_v3_small", image_size=32)
    model = build_model(RunConfig(**options, weights=str(tmp_path / "trunk.safetensors")))
    assert model.pretrained == set(trunk) and len(model.weights_digest) == 16
    assert torch.equal(model.backbone.features[0][0].weight, trunk["features.0.0.weight"])
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "classifier.0 " in said and "features" not in said


def test_without_weights_nothing_counts_as_pretrained():
    model = build_model(RunConfig())
    assert model.pretrained == set() and not model.weights_digest


def test_weights_that_a_run_of_ours_has_kept_are_found_under_their_names(tmp_path, capsys):
    trained = build_model(RunConfig(seed=5))
    trained.save(tmp_path / "model.safetensors", RunConfig(seed=5))
    model = build_model(RunConfig(weights=str(tmp_path / "model.safetensors")))
    assert torch.equal(model.backbone[0].weight, trained.backbone[0].weight)
    assert capsys.readouterr().out.count("\n") == 1


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    state = build_backbone("small_cnn", "none").state_dict()
    state["4.weight"][0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"^weights: .*nan\.safetensors.*4\.weight$"):
        build_model(RunConfig(weights=str(tmp_path / "nan.safetensors")))


@pytest.mark.parametrize(
    ("option", "others"),
    [
        (dict(backbone="alexnett"), {}),
        (dict(weights="missing.safetensors"), {}),
        (dict(weights=__file__), {}),
        (dict(weights="imagenet"), {}),
        (dict(image_size=16), dict(backbone="alexnet", weights="none")),
        (dict(backbone="no.such:backbone"), {}),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line_with_the_value(option, others):
    ((name, value),) = option.items()
    with pytest.raises(ValueError) as error:
        build_model(RunConfig(**option, **others))
    said = str(error.value)
    assert str(value) in said and "\n" not in said
    assert said.startswith(f"{name}: ") or ":" in str(value)  # an object's own name stands for the option


def test_weights_that_fit_nothing_are_an_error(tmp_path):
    save_file({"else": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"^weights: .*other\.safetensors.*small_cnn.*else.*0\.weight"):
        build_model(RunConfig(weights=str(tmp_path / "other.safetensors")))


def queries(size: int = 32):
    images = torch.randint(0, 256, (12, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pool = Pool(images, torch.ones(12, 1, dtype=torch.uint8), np.arange(12), size)
    return Dataset.from_pool("noise", ["a"], pool, {part: range(12) for part in ("train", "query", "database")}).query


def codes_of(model: HashModel) -> torch.Tensor:
    return torch.cat(list(forward_blocks(HashModel.forward, model, queries(), "fp32")))


def make(backbone: str, folder, **options) -> tuple[HashModel, RunConfig]:
    """A model whose tensors are no longer those of its seed; a MobileNet's trunk is from a file, the rest drawn."""
    weights = "none"
    if backbone == "mobilenet_v3_small":
        state = build_backbone(backbone, "none").state_dict()
        trunk = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
        weights = str(folder / "part.safetensors")
        save_file(trunk, weights)
    config = RunConfig(backbone=backbone, weights=weights, bits=16, image_size=32, **options)
    model = build_model(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and (config.finetune or name.startswith("hash_layer.")):
                tensor.mul_(torch.empty_like(tensor).uniform_(0.5, 1.5, generator=generator))
    return model, config


@pytest.mark.parametrize("finetune", [True, False])
@pytest.mark.parametrize("backbone", ["small_cnn", "mobilenet_v3_small", "timm"])
def test_a_saved_model_gives_the_same_codes(backbone, finetune, tmp_path):
    if backbone == "timm":
        pytest.importorskip("timm")
        backbone = "tf_efficientnet_lite0"
    model, config = make(backbone, tmp_path, finetune=finetune)
    model.to(memory_format=torch.channels_last)  # as the trainer has it
    model.save(tmp_path / "model.safetensors", config)
    loaded = HashModel.load(tmp_path)
    assert not loaded.training and loaded.mean.device.type == "cpu"
    codes, again = codes_of(model), codes_of(loaded)
    assert torch.equal(again > 0, codes > 0)
    torch.testing.assert_close(again, codes)


IN_A_FRESH_PROCESS = """
import sys
import torch
from relahash_nb.models import HashModel

model = HashModel.load(sys.argv[1])
assert "tests" not in sys.modules
torch.save(model(torch.load(sys.argv[2], weights_only=True)), sys.argv[3])
"""


def test_a_saved_model_needs_nothing_of_the_process_that_saved_it(tmp_path):
    model, config = make("small_cnn", tmp_path)
    model.save(tmp_path / "model.safetensors", config)
    images = torch.rand(5, 3, 32, 32)
    torch.save(images, tmp_path / "images.pt")
    arguments = [str(tmp_path / name) for name in ("", "images.pt", "codes.pt")]
    done = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stderr
    torch.testing.assert_close(torch.load(tmp_path / "codes.pt", weights_only=True), model.eval()(images))


def test_code_that_a_file_names_is_not_imported(tmp_path, monkeypatch):
    """Somebody's own backbone is given by the caller."""
    (tmp_path / "their_network.py").write_text("from relahash_nb.backbones import small_cnn as build")
    monkeypatch.syspath_prepend(tmp_path)
    model, config = make("their_network:build", tmp_path)
    model.save(tmp_path / "model.safetensors", config)
    del sys.modules["their_network"]
    with pytest.raises(ValueError, match=r"^model: .*their_network:build"):
        HashModel.load(tmp_path)
    assert "their_network" not in sys.modules
    loaded = HashModel.load(tmp_path, backbone=build_backbone("small_cnn", "none"))
    torch.testing.assert_close(codes_of(loaded), codes_of(model))


@pytest.mark.parametrize(
    ("finetune", "save_weights", "kept"),
    [(True, "trained", True), (False, "trained", False), (False, "all", True), (True, "none", None)],
)
def test_what_weights_can_give_again_is_left_out(finetune, save_weights, kept, tmp_path):
    model, config = make("mobilenet_v3_small", tmp_path, finetune=finetune, save_weights=save_weights)
    model.save(tmp_path / "model.safetensors", config)
    if kept is None:
        assert not (tmp_path / "model.safetensors").exists()
        return
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {"hash_layer.0.weight", "hash_layer.1.running_mean", "backbone.classifier.0.weight"} <= names
    assert ("backbone.features.0.0.weight" in names) == kept


def test_other_weights_than_the_run_s_are_said_and_others_can_be_given(tmp_path, capsys):
    model, config = make("mobilenet_v3_small", tmp_path, finetune=False)
    model.save(tmp_path / "model.safetensors", config)
    (tmp_path / "part.safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(ValueError, match=r"^weights: .*part\.safetensors"):
        HashModel.load(tmp_path)
    capsys.readouterr()
    HashModel.load(str(tmp_path / "model.safetensors"), weights=tmp_path / "moved.safetensors")
    assert not capsys.readouterr().out
    state = load_file(tmp_path / "moved.safetensors")
    save_file(state | {"features.0.1.bias": state["features.0.1.bias"] + 1}, tmp_path / "part.safetensors")
    HashModel.load(tmp_path)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "part.safetensors" in said


def test_a_run_is_found_by_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "runs" / "some-run"
    folder.mkdir(parents=True)
    build_model(RunConfig()).save(folder / "model.safetensors", RunConfig())
    monkeypatch.chdir(tmp_path)
    assert HashModel.load("some-run").hash_layer[0].out_features == 64
    with pytest.raises(ValueError, match=r"^run: .*some-run") as error:  # the one that the name is like
        HashModel.load("some-ran")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"no model", "foreign"])
def test_what_is_no_model_is_said_in_one_line(content, tmp_path):
    path = tmp_path / "model.safetensors"
    if content == "foreign":
        save_file({"hash_layer.0.weight": torch.zeros(2, 2)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^model: ") as error:
        HashModel.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("loss", ["lsh", "itq", "csq"])
def test_every_kind_of_hash_layer_is_loaded(loss, tmp_path):
    config = RunConfig(loss=loss, bits=16, finetune=False)
    model = build_model(config)
    if loss != "csq":
        solve(model, torch.rand(200, 64, generator=torch.Generator().manual_seed(0)), torch.ones(200, 1), config)
    model.save(tmp_path / "model.safetensors", config)
    features = torch.rand(5, 64)
    assert torch.equal(HashModel.load(tmp_path).hash(features), model.eval().hash(features))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> HashModel:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    build_model(RunConfig()).save(path, RunConfig())
    return HashModel.load(path)


@pytest.mark.parametrize(
    ("images", "value"),
    [
        (torch.zeros(1, 3, 28, 28, dtype=torch.uint8), "uint8"),
        (torch.full((1, 3, 28, 28), 255.0), "255"),
        (torch.full((1, 3, 28, 28), -2.0), "-2"),
    ],
)
def test_images_that_were_not_prepared_are_refused(images, value, loaded):
    with pytest.raises(ValueError, match=f"^images: .*{value}.*preprocess"):
        loaded(images)


def test_a_training_model_is_not_asked_for_the_range_of_its_images():
    build_model(RunConfig())(torch.full((2, 3, 28, 28), 255.0))


def test_a_built_model_prepares_images_as_its_loaded_copy_does_and_one_made_by_hand_says_that_it_cannot(loaded):
    image = torch.randint(0, 256, (3, 40, 30), dtype=torch.uint8)
    assert torch.equal(build_model(RunConfig()).preprocess(image), loaded.preprocess(image))
    with pytest.raises(ValueError, match=r"^image: "):
        HashModel(nn.Flatten(), feature_size=12, bits=4).preprocess(image)


def test_a_new_image_is_prepared_as_the_data_set_s_own(loaded, image_folder, tmp_path):
    path = next(image_folder.rglob("*.png"))
    pixels = V.pil_to_tensor(Image.open(path))
    expected = prepare(pixels[None], 28)[0]
    assert torch.equal(loaded.preprocess(Image.open(path)), expected)
    assert torch.equal(loaded.preprocess(pixels), expected) and loaded(expected[None]).shape == (1, 64)
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8))
    large.save(tmp_path / "large.png")
    files = FileImages(tmp_path, ["large.png"], 28)
    assert torch.equal(loaded.preprocess(large), prepare(files[[0]], 28)[0])
    assert loaded.preprocess(large.convert("L")).shape == (3, 28, 28)


def test_a_model_of_crops_is_given_the_centre(tmp_path):
    config = RunConfig(augment="crop", image_size=56)
    build_model(config).save(tmp_path / "model.safetensors", config)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, 4:60, 4:60] = 255
    assert HashModel.load(tmp_path).preprocess(image).min() == 1


@pytest.mark.parametrize("image", [torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.uint8), "picture.jpg"])
def test_what_is_no_image_is_refused(image, loaded):
    with pytest.raises(ValueError, match=r"^image: .*allowed: "):
        loaded.preprocess(image)

"""Backbones without their heads, weights that fit in part, and a seed that alone decides."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import alexnet, resnet18

from relahash_nb.config import RunConfig
from relahash_nb.models import BACKBONES, HashModel, build_backbone, build_model, load_partial


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_codes_with_a_gradient(name):
    model = build_model(RunConfig(backbone=name, weights="none", image_size=64, bits=20))
    codes = model(torch.rand(3, 3, 64, 64))
    assert codes.shape == (3, 20)
    codes.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_torchvision_s_models_serve_by_name_without_their_classes(name):
    backbone = build_backbone(name, "none").eval()
    features = backbone(torch.rand(2, 3, 64, 64)).flatten(1)
    assert features.shape[1] != 1000
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


@pytest.mark.parametrize(("keep", "rate"), [(False, 0.0), (True, 0.5)])
def test_dropout_is_off_unless_asked_for(keep, rate):
    model = build_model(RunConfig(backbone="alexnet", weights="none", image_size=64, dropout=keep))
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {rate}


def test_a_backbone_that_is_not_finetuned_keeps_still():
    model = build_model(RunConfig(finetune=False)).train()
    assert not model.backbone.training and model.hash_layer.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        "hash_layer.0.weight",
        "hash_layer.1.weight",
        "hash_layer.1.bias",
    ]


def test_part_of_a_network_is_taken_and_the_rest_reported(tmp_path):
    trunk = {name: tensor for name, tensor in alexnet().state_dict().items() if name.startswith("features.")}
    save_file(trunk | {"classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "trunk.safetensors")
    backbone = build_backbone("alexnet", "none")
    report = load_partial(backbone, tmp_path / "trunk.safetensors")
    assert set(report.taken) == set(trunk)
    assert report.unfit == ("classifier.1.weight",)
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias")
    assert torch.equal(backbone.features[0].weight, trunk["features.0.weight"])
    assert str(report).startswith("10 tensors taken (features.0.weight, ")


def test_only_what_came_from_the_file_counts_as_pretrained(tmp_path, capsys):
    state = {name: tensor for name, tensor in resnet18().state_dict().items() if name.startswith("layer1.")}
    save_file(state, tmp_path / "part.safetensors")
    model = build_model(RunConfig(backbone="resnet18", weights=str(tmp_path / "part.safetensors"), image_size=32))
    assert model.pretrained == set(state)
    assert "tensors stayed fresh (conv1.weight" in capsys.readouterr().out
    assert build_model(RunConfig()).pretrained == set()


def test_weights_that_a_run_of_ours_has_kept_are_found_under_their_names(tmp_path):
    trained = build_model(RunConfig(seed=5))
    save_file(trained.state_dict(), tmp_path / "run.safetensors")
    report = load_partial(build_backbone("small_cnn", "none"), tmp_path / "run.safetensors")
    assert not report.fresh and set(report.unfit) == {name for name in trained.state_dict() if "hash_layer" in name}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(backbone="alexnett"), "backbone: 'alexnett' given; allowed: alexnet, small_cnn, torchvision's"),
        (dict(weights="missing.safetensors"), "there is no such file; allowed: imagenet, none, or a safetensors file"),
        (dict(weights=__file__), "is no safetensors file"),
        (dict(weights="imagenet"), "small_cnn has none of its own"),
        (dict(backbone="alexnet", weights="none", image_size=16), "image_size: 16 given; alexnet cannot take it"),
        (dict(backbone="no.such:backbone"), "cannot be loaded"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(options, said):
    with pytest.raises(ValueError) as error:
        build_model(RunConfig(**options))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_weights_that_fit_nothing_are_an_error(tmp_path):
    save_file({"else": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"nothing in .*other\.safetensors fits the backbone: 0 tensors taken"):
        build_model(RunConfig(weights=str(tmp_path / "other.safetensors")))

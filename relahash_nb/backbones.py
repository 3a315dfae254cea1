"""Networks without their classifiers: ours, torchvision's, timm's, or a function of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from relahash_nb.registry import BACKBONES, did_you_mean, load

if TYPE_CHECKING:  # torchvision takes seconds to load
    from torchvision.models import GoogLeNet, Inception3


def build_backbone(name: str, weights: str) -> nn.Module:
    """Build a network whose output is features, not classes.

    Args:
        name: One of `BACKBONES`; else `package.module:function`, called with the weights' name; else a classification
            model of torchvision; else, where timm is installed, one of timm's.
        weights: `imagenet`; anything else means none.

    Raises:
        ValueError: There is no such network, or its weights cannot be had.

    Example:
        >>> import torch
        >>> build_backbone("resnet18", "none").eval()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512])
    """
    if weights != "imagenet":
        weights = "none"
    try:
        if name in BACKBONES or ":" in name:
            return load(BACKBONES, name)(weights)
        if name in torchvision_names():
            return from_torchvision(name, weights)
        return from_timm(name, weights)
    except OSError as error:
        allowed = "allowed too: none, or a safetensors file"
        raise ValueError(f"weights: {weights} for {name} could not be downloaded ({error}); {allowed}") from None


def alexnet(weights: str) -> nn.Module:
    """AlexNet up to fc7, 4,096 features: the backbone of the paper (Krizhevsky 2014, arXiv 1404.5997)."""
    return from_torchvision("alexnet", weights)


def small_cnn(weights: str) -> nn.Module:
    """Five convolutions, 64 features: for small images, to be trained from scratch in seconds on a CPU."""
    if weights != "none":
        allowed = "allowed: none, or a safetensors file"
        raise ValueError(f"weights: {weights!r} given; small_cnn has none of its own; {allowed}")

    def convolution(before: int, after: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)

    network = nn.Sequential(
        *convolution(3, 16), nn.MaxPool2d(2),
        *convolution(16, 32), *convolution(32, 32), nn.MaxPool2d(2),
        *convolution(32, 64), *convolution(64, 64), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip
    # Fashion-MNIST's; for other images batch norm does the rest.
    return with_normalisation(network, mean=(0.285,) * 3, std=(0.353,) * 3)


def torchvision_names() -> list[str]:
    """The names of torchvision's classification models."""
    from torchvision import models

    return models.list_models(module=models)


def from_torchvision(name: str, weights: str) -> nn.Module:
    """A classification model of torchvision, under its own tensor names, without the layer that gives the classes."""
    from torchvision import models

    model = models.get_model(name, weights="DEFAULT" if weights == "imagenet" else None)
    if isinstance(model, (models.GoogLeNet, models.Inception3)):
        remove_auxiliary_heads(model)
    heads = []
    for path, module in model.named_modules():
        outputs = getattr(module, "out_features", getattr(module, "out_channels", None))
        if outputs == 1000:  # the classes of ImageNet
            heads.append(path)
    model.set_submodule(heads[-1], nn.Identity())
    return model


def remove_auxiliary_heads(model: GoogLeNet | Inception3) -> None:
    """Let the model return features alone: with its auxiliary classifiers it returns a tuple while it trains."""
    model.aux_logits = False
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, name):
            setattr(model, name, None)


def from_timm(name: str, weights: str) -> nn.Module:
    """A model of timm without its classifier; images are normalised as its weights expect."""
    try:
        import timm
    except ImportError:
        raise unknown_backbone(name, "or, with `pip install timm`, timm's") from None
    if not timm.is_model(name):
        raise unknown_backbone(name, "or timm's")
    model = timm.create_model(name, pretrained=weights == "imagenet", num_classes=0)
    expected = timm.data.resolve_model_data_config(model)
    return with_normalisation(model, expected["mean"], expected["std"])


def unknown_backbone(name: str, others: str) -> ValueError:
    """The error for a name that nobody has; `others` says whether timm was asked."""
    allowed = f"{', '.join(BACKBONES)}, torchvision's classification models, {others}"
    hint = did_you_mean(name, [*BACKBONES, *torchvision_names()])
    return ValueError(f"backbone: {name!r} given; allowed: {allowed}{hint}")


def with_normalisation(network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """The network with the mean and the deviation, one number a channel, by which `HashModel` normalises its images."""
    network.register_buffer("mean", Tensor(mean), persistent=False)
    network.register_buffer("std", Tensor(std), persistent=False)
    return network

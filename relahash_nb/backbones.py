"""Networks without their classifiers: ours, torchvision's, timm's, or a function of your own."""

import torchvision
from torch import nn

from relahash_nb.registry import BACKBONES, did_you_mean, load

TORCHVISION = torchvision.models.list_models(module=torchvision.models)  # classification models


def build_backbone(name: str, weights: str) -> nn.Module:
    """A network whose output is features, not classes; a ValueError: no such one, or its weights are not to be had.

    The name is in `BACKBONES`; else `package.module:function`, called with the weights' name; else a classification
    model of torchvision; else, where timm is installed, one of timm's. Any weights but `imagenet` mean none.

    Example:
        >>> import torch
        >>> build_backbone("resnet18", "none").eval()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512])
    """
    weights = weights if weights == "imagenet" else "none"
    try:
        if name in BACKBONES or ":" in name:
            return load(BACKBONES, name)(weights)
        if name in TORCHVISION:
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
    network.mean, network.std = (0.285,) * 3, (0.353,) * 3  # Fashion-MNIST's; batch norm does the rest for other images
    return network


def from_torchvision(name: str, weights: str) -> nn.Module:
    """A classification model of torchvision, under its own tensor names, without the layer that gives the classes."""
    model = torchvision.models.get_model(name, weights="DEFAULT" if weights == "imagenet" else None)
    if getattr(model, "aux_logits", False):  # GoogLeNet and Inception return a tuple while they train
        model.aux_logits = False
        for auxiliary in {"aux1", "aux2", "AuxLogits"} & set(model._modules):
            setattr(model, auxiliary, None)
    sizes = {
        path: getattr(module, "out_features", getattr(module, "out_channels", None))
        for path, module in model.named_modules()
    }
    head = [path for path, size in sizes.items() if size == 1000][-1]
    model.set_submodule(head, nn.Identity())
    return model


def from_timm(name: str, weights: str) -> nn.Module:
    """A model of timm without its classifier; images are normalised as its weights expect."""
    try:
        import timm
    except ImportError:
        timm = None
    if timm is None or not timm.is_model(name):
        hint = did_you_mean(name, [*BACKBONES, *TORCHVISION])
        others = "or timm's" if timm else "or, with `pip install timm`, timm's"
        allowed = f"{', '.join(BACKBONES)}, torchvision's classification models, {others}"
        raise ValueError(f"backbone: {name!r} given; allowed: {allowed}{hint}")
    model = timm.create_model(name, pretrained=weights == "imagenet", num_classes=0)
    model.mean, model.std = model.default_cfg["mean"], model.default_cfg["std"]
    return model


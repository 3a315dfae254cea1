"""Backbone → linear, no bias → batch norm → codes. The rest of the work is torchvision's."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from relahash_nb.config import RunConfig, load_attribute
from relahash_nb.losses import wants_batch_norm

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of `precision`
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class HashModel(nn.Module):
    """Images in, codes out.

    Args:
        backbone: Images (B, 3, H, W) to features (B, F, …). It may have `mean` and `std`, three numbers each, by which
            its images are normalised; ImageNet's otherwise.
        feature_size: F, of the flattened features.
        bits: K, from 1 up.

    Example:
        >>> model = HashModel(nn.AdaptiveAvgPool2d(1), feature_size=3, bits=16)
        >>> model(torch.rand(4, 3, 8, 8)).shape
        torch.Size([4, 16])
    """

    def __init__(self, backbone: nn.Module, feature_size: int, bits: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.hash_layer = nn.Sequential(nn.Linear(feature_size, bits, bias=False), nn.BatchNorm1d(bits))
        nn.init.normal_(self.hash_layer[0].weight, std=0.01)  # as the published code does
        mean, std = getattr(backbone, "mean", IMAGENET_MEAN), getattr(backbone, "std", IMAGENET_STD)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.pretrained: frozenset[str] = frozenset()  # names of the backbone's tensors that were not drawn anew

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of images (B, 3, H, W) float from 0 to 1."""
        return self.hash(self.features(images))

    def train(self, mode: bool = True) -> HashModel:
        """Training mode, or not; a backbone that is not finetuned stays in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Features (B, F) of images (B, 3, H, W) float from 0 to 1."""
        return self.backbone(images.sub(self.mean).div_(self.std)).flatten(1)

    def hash(self, features: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of features (B, F)."""
        return self.hash_layer(features)


def build_model(config: RunConfig) -> HashModel:
    """The model that a config names, drawn from its seed alone; no global random state is used or changed.

    Args:
        config: Resolved or not. Of it count `backbone`, `weights`, `bits`, `image_size`, `dropout`, `finetune`, `seed`,
            and whether `loss` wants a batch norm.

    Returns:
        On the CPU, in training mode.

    Raises:
        ValueError: No such backbone, an image size that it cannot take, or weights that are missing or fit nothing.

    Example:
        >>> model = build_model(RunConfig(bits=32))
        >>> model.hash_layer[0].weight.shape[0]
        32
    """
    config = config.resolve()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        is_file = config.weights not in ("imagenet", "none")
        backbone = build_backbone(config.backbone, "none" if is_file else config.weights)
        pretrained = tuple(backbone.state_dict()) if config.weights == "imagenet" else ()
        if is_file:
            report = load_partial(backbone, Path(config.weights))
            pretrained = report.taken
            print(f"weights: {config.weights}: {report}")
        if not config.dropout:
            for module in backbone.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        model = HashModel(backbone, _feature_size(backbone, config), config.bits)
        if not wants_batch_norm(config):
            model.hash_layer[1] = nn.Identity()
    model.pretrained = frozenset(pretrained)
    backbone.requires_grad_(config.finetune)
    return model.train()


def build_backbone(name: str, weights: str) -> nn.Module:
    """A network whose output is features, not classes.

    Args:
        name: In `BACKBONES`; else `package.module:function`, called with the weights' name; else a classification
            model of torchvision; else, where timm is installed, one of timm's.
        weights: `imagenet` or `none`.

    Raises:
        ValueError: No such backbone, or its weights are not to be had.

    Example:
        >>> build_backbone("resnet18", "none").eval()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512])
    """
    try:
        if name in BACKBONES:
            return BACKBONES[name](weights)
        if ":" in name:
            return load_attribute(name)(weights)
        if name in torchvision_names():
            return from_torchvision(name, weights)
        return from_timm(name, weights)
    except OSError as error:
        raise ValueError(
            f"weights: {weights} for {name} could not be downloaded ({error}); allowed too: none, or a safetensors file"
        ) from None


def alexnet(weights: str) -> nn.Module:
    """AlexNet up to fc7, 4,096 features: the backbone of the paper (Krizhevsky 2014, arXiv 1404.5997)."""
    return from_torchvision("alexnet", weights)


def small_cnn(weights: str) -> nn.Module:
    """Five convolutions, 64 features: for small images, to be trained from scratch in seconds on a CPU."""
    if weights != "none":
        raise ValueError(
            f"weights: {weights!r} given; small_cnn has none of its own; allowed: none, or a safetensors file"
        )
    network = nn.Sequential(
        *_convolution(3, 16), nn.MaxPool2d(2),
        *_convolution(16, 32), *_convolution(32, 32), nn.MaxPool2d(2),
        *_convolution(32, 64), *_convolution(64, 64), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip
    network.mean, network.std = (0.285,) * 3, (0.353,) * 3  # Fashion-MNIST's; batch norm does the rest for other images
    return network


def _convolution(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def torchvision_names() -> list[str]:
    """Classification models of the installed torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


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
        known = [*BACKBONES, *torchvision_names()]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        others = "or timm's" if timm else "or, with `pip install timm`, timm's"
        allowed = f"{', '.join(BACKBONES)}, torchvision's classification models, {others}"
        raise ValueError(f"backbone: {name!r} given; allowed: {allowed}{hint}")
    model = timm.create_model(name, pretrained=weights == "imagenet", num_classes=0)
    model.mean, model.std = model.default_cfg["mean"], model.default_cfg["std"]
    return model


def load_partial(backbone: nn.Module, path: Path) -> WeightsReport:
    """Copies from a safetensors file what fits a backbone by name and shape.

    Args:
        backbone: Filled in place.
        path: The file. A leading `backbone.` in its names, as our own runs write them, is left out.

    Returns:
        What was taken, what stayed fresh, and what did not fit.

    Raises:
        ValueError: There is no such file, it is no safetensors file, or nothing in it fits.
    """
    if not path.is_file():
        raise ValueError(
            f"weights: {str(path)!r} given, and there is no such file; allowed: imagenet, none, or a safetensors file"
        )
    try:
        found = {name.removeprefix("backbone."): tensor for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"weights: {path} is no safetensors file ({error})") from None
    own = backbone.state_dict()
    taken = tuple(name for name in own if name in found and found[name].shape == own[name].shape)
    report = WeightsReport(
        taken,
        fresh=tuple(name for name in own if name not in taken and not name.endswith("num_batches_tracked")),
        unfit=tuple(name for name in found if name not in taken),
    )
    if not taken:
        raise ValueError(f"weights: nothing in {path} fits the backbone: {report}")
    backbone.load_state_dict({name: found[name] for name in taken}, strict=False)
    return report


@dataclass(frozen=True)
class WeightsReport:
    """What a weights file gave to a backbone: names of tensors.

    Attributes:
        taken: In the file and in the backbone, with one shape.
        fresh: In the backbone alone; they stay as they were drawn.
        unfit: In the file, and not in the backbone or of another shape there.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unfit: tuple[str, ...]

    def __str__(self) -> str:
        parts = (("taken", self.taken), ("stayed fresh", self.fresh), ("did not fit", self.unfit))
        return "; ".join(f"{len(names)} tensors {what}{_some(names)}" for what, names in parts)


def _some(names: tuple[str, ...], most: int = 4) -> str:
    return f" ({', '.join(names[:most])}{', …' if len(names) > most else ''})" if names else ""


def _feature_size(backbone: nn.Module, config: RunConfig) -> int:
    """F, from two black images: no convention about a backbone's attributes is needed."""
    size = config.image_size
    was_training = backbone.training
    try:
        with torch.no_grad():
            return backbone.eval()(torch.zeros(2, 3, size, size)).flatten(1).shape[1]
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"image_size: {size} given; {config.backbone} cannot take it ({str(error).splitlines()[0]})"
        ) from None
    finally:
        backbone.train(was_training)


# Your own backbone: a function from the weights' name to a module that gives features, and an entry here and in
# config.BACKBONE_NAMES; or `--backbone package.module:function` without either.
BACKBONES = {"alexnet": alexnet, "small_cnn": small_cnn}

"""Backbone → linear, no bias → batch norm → codes; saved and loaded with all that a new image needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from relahash_nb.backbones import build_backbone
from relahash_nb.config import RunConfig
from relahash_nb.datasets.checks import shorten
from relahash_nb.datasets.images import prepare
from relahash_nb.devices import find_device
from relahash_nb.losses import wants_batch_norm
from relahash_nb.pictures import decoded_size, read_square
from relahash_nb.registry import DIRECTIONS
from relahash_nb.saved_model import (
    ModelFacts,
    digest_of,
    find_model_file,
    read_model_file,
    read_safetensors,
    write_model_file,
)

__all__ = ["HashModel", "build_backbone", "build_model", "digest_of", "find_device"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class HashModel(nn.Module):
    """Images in, codes out.

    Args:
        backbone: Images (B, 3, H, W) to features (B, F, …). It may have `mean` and `std`, three numbers each, by which
            its images are normalised; ImageNet's otherwise.
        feature_size: F, of the flattened features.
        bits: K, from 1 up.
        batch_norm: Whether a batch norm follows the hash layer's linear map.

    Attributes:
        pretrained: The names of the backbone's tensors that came from weights.
        weights_digest: Of these tensors as they were at the start, from `digest_of`; empty without weights.
        image_size: Height and width in pixels of the images that `preprocess` gives; None where it is not known.
        decoded_size: Height and width to which `preprocess` scales an image before it cuts the middle out.
        facts: Of a loaded model: what was saved beside its tensors.

    Example:
        >>> model = HashModel(nn.AdaptiveAvgPool2d(1), feature_size=3, bits=16)
        >>> model(torch.rand(4, 3, 8, 8)).shape
        torch.Size([4, 16])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, feature_size: int, bits: int, batch_norm: bool = True) -> None:
        super().__init__()
        linear = nn.Linear(feature_size, bits, bias=False)
        nn.init.normal_(linear.weight, std=0.01)  # as the published code does
        last = nn.BatchNorm1d(bits) if batch_norm else nn.Identity()
        self.backbone = backbone
        self.hash_layer: nn.Module = nn.Sequential(linear, last)
        self.feature_size = feature_size
        mean = torch.as_tensor(getattr(backbone, "mean", IMAGENET_MEAN))
        std = torch.as_tensor(getattr(backbone, "std", IMAGENET_STD))
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(1, 3, 1, 1), persistent=False)
        self.pretrained: frozenset[str] = frozenset()
        self.weights_digest = ""
        self.image_size: int | None = None
        self.decoded_size: int | None = None
        self.facts: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of images (B, 3, H, W) float from 0 to 1; see `features`."""
        return self.hash(self.features(images))

    def train(self, mode: bool = True) -> HashModel:
        """Training mode, or not; a backbone that is not finetuned stays in evaluation mode."""
        super().train(mode)
        is_finetuned = any(parameter.requires_grad for parameter in self.backbone.parameters())
        if not is_finetuned:
            self.backbone.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Features (B, F) of images (B, 3, H, W) float from 0 to 1, which are normalised here.

        Raises:
            ValueError: The images are no floats; or, in evaluation mode on a CPU, they are not between 0 and 1.
        """
        self._check_images(images)
        return self.backbone(images.sub(self.mean).div_(self.std)).flatten(1)

    def _check_images(self, images: Tensor) -> None:
        expected = "expected: float from 0 to 1, as model.preprocess(image) gives"
        if not images.is_floating_point():
            dtype = str(images.dtype).removeprefix("torch.")
            raise ValueError(f"images: {dtype} given; {expected}")
        if self.training or images.device.type != "cpu":  # a GPU would be waited for, and training takes `prepare`'s
            return
        low, high = (value.item() for value in images.aminmax())
        if low < -0.05 or high > 1.05:
            raise ValueError(f"images: values from {low:.3g} to {high:.3g} given; {expected}")

    def hash(self, features: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of features (B, F)."""
        return self.hash_layer(features)

    def preprocess(self, image: Image.Image | Tensor) -> Tensor:
        """A new image, prepared as the run's own were: (3, S, S) float32 from 0 to 1.

        Args:
            image: A PIL image of any mode, or a uint8 tensor (1 or 3, H, W).

        Raises:
            ValueError: The image is neither; or the model was built by hand, so that its image size is not known.
        """
        if self.image_size is None or self.decoded_size is None:
            raise ValueError("image: the model knows no image size; build_model and HashModel.load set it")
        if isinstance(image, Image.Image):
            pixels = torch.from_numpy(read_square(image, self.decoded_size))
        else:
            pixels = check_pixels(image)
        side = min(*pixels.shape[1:], self.decoded_size)
        if pixels.shape[1:] != (side, side):
            pixels = cut_middle(pixels, side)
        augment = "none" if self.decoded_size == self.image_size else "centre"
        return prepare(pixels[None], self.image_size, augment)[0]

    def save(self, path: Path | str, config: RunConfig) -> None:
        """Write what the run trained, and what else `load` needs, to a safetensors file; whole or not at all.

        With `save_weights` `trained` the tensors are all of a finetuned model; of a frozen one those that no weights
        can give again: the hash layer and what was drawn anew. `all` keeps all. No file is written with `none`, nor for
        `class_index` and `random`, which are bounds and no hash layers.

        Raises:
            OSError: The file cannot be written.
        """
        if config.save_weights == "none" or not isinstance(self.hash_layer, nn.Sequential):
            return
        omitted: set[str] = set()
        if config.save_weights == "trained" and not config.finetune:
            omitted = {f"backbone.{name}" for name in self.pretrained}
        tensors = {}
        for name, tensor in self.state_dict().items():
            if name not in omitted:  # safetensors wants memory in order, and convolution weights may lie channels last
                tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        facts = ModelFacts(
            backbone=config.backbone,
            bits=config.bits,
            image_size=config.image_size,
            decoded_size=decoded_size(config.image_size, config.augment),
            mean=self.mean.flatten().tolist(),
            std=self.std.flatten().tolist(),
            eps=getattr(self.hash_layer[1], "eps", None),
            weights=config.weights,
            weights_digest=self.weights_digest if omitted else "",
        )
        write_model_file(Path(path), facts, tensors)

    @classmethod
    def load(
        cls,
        run: Path | str,
        weights: Path | str | None = None,
        backbone: nn.Module | Callable[[str], nn.Module] | None = None,
    ) -> HashModel:
        """The model that a run saved, on the CPU, in evaluation mode. It imports nothing that the file names.

        Args:
            run: A run's folder, its name in `results/runs`, or the file.
            weights: What a frozen backbone started from, where it lies elsewhere now.
            backbone: Only where the run's backbone was one of your own: the same function, or what it gives.

        Raises:
            ValueError: There is no such file, it is damaged or not of `save`, or the backbone or its weights cannot be
                had.
        """
        path = find_model_file(run)
        facts, tensors = read_model_file(path)
        source = "none"
        if facts.weights_digest:  # some tensors are not in the file
            source = str(weights or facts.weights)
        if backbone is None:
            backbone = build_named_backbone(facts, tensors, source, path)
        elif not isinstance(backbone, nn.Module):
            backbone = backbone(source)
        pretrained = {}
        for name, tensor in read_pretrained(backbone, facts.backbone, source).items():
            if f"backbone.{name}" not in tensors:
                pretrained[name] = tensor
                tensors[f"backbone.{name}"] = tensor
        if source != "none" and digest_of(pretrained) != facts.weights_digest:
            print(f"weights: {source} differ from those that {path} was trained with; its codes will be others")

        feature_size = tensors["hash_layer.0.weight"].shape[1]
        model = cls(backbone, feature_size, facts.bits, batch_norm=facts.eps is not None)
        fault = compare_tensors(tensors, model.state_dict())
        if fault:
            raise ValueError(f"model: {path} does not fit {facts.backbone} as it is here ({fault})")
        model.load_state_dict(tensors)
        model.mean = torch.tensor(facts.mean).view(1, 3, 1, 1)
        model.std = torch.tensor(facts.std).view(1, 3, 1, 1)
        model.image_size = facts.image_size
        model.decoded_size = facts.decoded_size
        model.facts = facts.model_dump()
        model.pretrained = frozenset(pretrained)
        model.weights_digest = facts.weights_digest
        return model.requires_grad_(False).eval()


def build_model(config: RunConfig) -> HashModel:
    """Build the model that a config names, on its device, in training mode; no global random state is used or changed.

    Raises:
        ValueError: No such backbone or device, an image size that it cannot take, or weights that are missing or fit
            nothing.

    Example:
        >>> build_model(RunConfig(bits=32)).hash_layer[0].weight.shape
        torch.Size([32, 64])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = build_backbone(config.backbone, config.weights)
        pretrained = read_pretrained(backbone, config.backbone, config.weights)
        if config.weights not in ("imagenet", "none"):
            missing = backbone.load_state_dict(pretrained, strict=False).missing_keys
            print(f"weights: {config.weights}: {describe_missing(missing)}")
        if not pretrained and not config.finetune:
            print(f"weights: none; {config.backbone} is random, and stays so without finetune")
        if not config.dropout:
            turn_off_dropout(backbone)
        feature_size = measure_features(backbone, config.backbone, config.image_size)
        if config.loss in DIRECTIONS and config.bits > feature_size:
            limit = f"{config.loss} finds {feature_size} in the features of {config.backbone}"
            raise ValueError(f"bits: {config.bits} given; {limit}; --loss lsh takes any number")
        model = HashModel(backbone, feature_size, config.bits, wants_batch_norm(config))
    if pretrained:
        model.pretrained = frozenset(pretrained)
        model.weights_digest = digest_of(pretrained)
    model.image_size = config.image_size
    model.decoded_size = decoded_size(config.image_size, config.augment)
    backbone.requires_grad_(config.finetune)
    return model.to(find_device(config.device)).train()


def read_pretrained(backbone: nn.Module, name: str, source: str) -> dict[str, Tensor]:
    """The pretrained tensors of a backbone, by name.

    Args:
        backbone: As `build_backbone` gives it; it has the weights of `imagenet` already.
        name: Of the backbone, for messages.
        source: `imagenet`, `none`, or a safetensors file, whose tensors serve where name and shape fit.

    Raises:
        ValueError: The file cannot be read, nothing in it fits, or a number in it is not finite.
    """
    if source == "none":
        return {}
    expected = backbone.state_dict()
    if source == "imagenet":
        return expected
    found = read_weights(source)
    fitting = {}
    for key, tensor in expected.items():
        if key in found and found[key].shape == tensor.shape:
            fitting[key] = found[key]
    if not fitting:
        names = f"it has {list_few(found)}, expected {list_few(expected)}"
        raise ValueError(f"weights: nothing in {source} fits {name}: {names}")
    broken = [key for key, tensor in fitting.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"weights: {source}: not finite: {list_few(broken)}")
    return fitting


def read_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; of a run's own file, those of its backbone by the names that they have there.

    Raises:
        ValueError: There is no such file, or it is not of safetensors.
    """
    try:
        tensors, _ = read_safetensors(path)
    except ValueError as error:
        allowed = "allowed: imagenet, none, or a safetensors file"
        raise ValueError(f"weights: {path!r} given; {error}; {allowed}") from None
    return {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}


def build_named_backbone(facts: ModelFacts, tensors: Mapping[str, Tensor], weights: str, path: Path) -> nn.Module:
    """The backbone that a model file names: a built-in one, torchvision's or timm's, for which nothing is imported.

    Args:
        facts: They name it.
        tensors: Of the file. They are compared with the network's before it takes memory and time.
        weights: `imagenet`; anything else means none.
        path: Of the file, for messages.

    Raises:
        ValueError: The name is of somebody's own code, nobody has it, its weights cannot be had, or it has other
            tensors than the file.
    """
    name = facts.backbone
    if ":" in name:
        advice = f"give the function: HashModel.load(run, backbone={name.replace(':', '.')})"
        raise ValueError(f"model: {path} needs {name}; code that a file names is not imported; {advice}")
    try:
        fault = compare_tensors(backbone_tensors(tensors), tensors_on_paper(name), complete=not facts.weights_digest)
        if fault:
            raise ValueError(f"other tensors: {fault}")
        return build_backbone(name, weights)
    except (RuntimeError, MemoryError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"model: {path}: {name} cannot be built ({reason})") from None


def backbone_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the backbone, by the names that they have there."""
    prefix = "backbone."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def tensors_on_paper(backbone: str) -> dict[str, Tensor]:
    """The tensors of a network without their memory; none where its layers cannot be made so, as RegNet's."""
    try:
        with torch.device("meta"):
            return build_backbone(backbone, "none").state_dict()
    except NotImplementedError:
        return {}


def compare_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], complete: bool = True) -> str:
    """What is wrong with some tensors: a name, shape or dtype; or "".

    Args:
        given: By name.
        expected: Likewise; where there are none, nothing is wrong.
        complete: Whether each of the expected ones is needed.
    """
    if not expected:
        return ""
    for name, tensor in given.items():
        if name not in expected:
            return f"{shorten(name)} is none of its tensors"
        other = expected[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            return f"{name}: {tuple(tensor.shape)} {tensor.dtype}; expected {tuple(other.shape)} {other.dtype}"
    missing = [name for name in expected if name not in given]
    if complete and missing:
        return f"without {list_few(missing)}"
    return ""


def measure_features(backbone: nn.Module, name: str, image_size: int) -> int:
    """F, the size of a backbone's features, from two black images; a ValueError if it cannot take them."""
    was_training = backbone.training
    images = torch.zeros(2, 3, image_size, image_size)
    try:
        with torch.no_grad():
            return backbone.eval()(images).flatten(1).shape[1]
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"image_size: {image_size} given; {name} cannot take it ({reason})") from None
    finally:
        backbone.train(was_training)


def turn_off_dropout(network: nn.Module) -> None:
    """Set the share that each dropout layer drops to 0."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def check_pixels(image: Any) -> Tensor:
    """The image itself, if it is a uint8 tensor (1 or 3, H, W); else a ValueError."""
    allowed = "allowed: a PIL image, a uint8 tensor (3, H, W)"
    if not isinstance(image, Tensor):
        raise ValueError(f"image: {type(image).__name__} given; {allowed}")
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(f"image: {image.dtype} {tuple(image.shape)} given; {allowed}")
    return image


def cut_middle(pixels: Tensor, side: int) -> Tensor:
    """The middle square (C, side, side) of pixels (C, H, W), whose shorter side is first resized to `side`."""
    from torchvision.transforms.v2 import functional

    resized = functional.resize(pixels, [side], antialias=True)
    return functional.center_crop(resized, [side, side])


def describe_missing(names: Iterable[str]) -> str:
    """Which layers a file has no weights for; `names` are of their tensors."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)  # each once, in order
    return f"{', '.join(layers)} drawn anew" if layers else "all layers"


def list_few(names: Iterable[str]) -> str:
    """The first four of some names."""
    names = list(names)
    listed = ", ".join(names[:4])
    return f"{listed}, …" if len(names) > 4 else listed

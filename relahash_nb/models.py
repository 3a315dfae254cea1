"""Backbone → linear, no bias → batch norm → codes; saved and loaded with all that a new image needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as V

from relahash_nb.backbones import build_backbone
from relahash_nb.config import RunConfig
from relahash_nb.datasets.images import decoded_size, middle_square, prepare, to_rgb
from relahash_nb.files import write
from relahash_nb.losses import wants_batch_norm
from relahash_nb.paths import project_path

__all__ = ["DTYPES", "HashModel", "build_backbone", "build_model", "digest_of", "find_device"]

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
        self.pretrained: frozenset[str] = frozenset()  # tensors of the backbone that came from weights
        self.weights_digest = ""  # of these as they were at the start
        self.facts: dict[str, Any] = {}  # of a loaded model: what was saved beside its tensors

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of images (B, 3, H, W) float from 0 to 1; see `features`."""
        return self.hash(self.features(images))

    def train(self, mode: bool = True) -> HashModel:
        """Training mode, or not; a backbone that is not finetuned stays in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Features (B, F) of images (B, 3, H, W) float from 0 to 1, which are normalised here; others are refused."""
        expected = "expected: float from 0 to 1, as model.preprocess(image) gives"
        if not images.is_floating_point():
            raise ValueError(f"images: {str(images.dtype).removeprefix('torch.')} given; {expected}")
        if self.facts and images.device.type == "cpu":  # never in training: on a GPU the check would wait for it
            low, high = (value.item() for value in images.aminmax())
            if low < -0.05 or high > 1.05:
                raise ValueError(f"images: values from {low:.3g} to {high:.3g} given; {expected}")
        return self.backbone(images.sub(self.mean).div_(self.std)).flatten(1)

    def hash(self, features: Tensor) -> Tensor:
        """Codes (B, K), before the sign, of features (B, F)."""
        return self.hash_layer(features)

    def preprocess(self, image: Any) -> Tensor:
        """A new image as the run's own were prepared, (3, S, S) float32 from 0 to 1; for a model that `load` gave.

        Args:
            image: A PIL image of any mode, or a uint8 tensor (1 or 3, H, W); a ValueError refuses others.
        """
        size, kept = self.facts["image_size"], self.facts["decoded_size"]
        if isinstance(image, Image.Image):
            image.draft(None, (2 * kept, 2 * kept))  # as files of data sets are read; of an image in memory it is none
            image = middle_square(to_rgb(image), kept)
        elif not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
            given = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise ValueError(f"image: {given} given; allowed: a PIL image, a uint8 tensor (3, H, W)")
        side = min(*image.shape[1:], kept)
        if image.shape[1:] != (side, side):
            image = V.center_crop(V.resize(image, [side], antialias=True), [side, side])
        return prepare(image[None], size, "none" if kept == size else "centre")[0]

    def save(self, path: Path | str, config: RunConfig) -> None:
        """Writes what the run trained, and what else `load` needs, to a safetensors file; whole or not at all.

        With `save_weights` `trained` the tensors are all of a finetuned model; of a frozen one those that no weights
        can give again: the hash layer and what was drawn anew. `all` keeps all. No file is written with `none`, nor for
        `class_index` and `random`, which are bounds and no hash layers. An OSError says that it cannot be written.
        """
        if config.save_weights == "none" or not isinstance(self.hash_layer, nn.Sequential):
            return
        left = set() if config.finetune or config.save_weights == "all" else {f"backbone.{n}" for n in self.pretrained}
        # safetensors writes memory as it lies, and convolution weights may lie channels last.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.state_dict().items()
            if name not in left
        }
        facts = {
            **{name: getattr(config, name) for name in ("backbone", "bits", "image_size")},
            "decoded_size": decoded_size(config.image_size, config.augment),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "eps": getattr(self.hash_layer[1], "eps", None),  # None: no batch norm
            "weights": config.weights,
            "weights_digest": self.weights_digest if left else "",  # of the tensors that are not in the file
        }
        content = save(tensors, {"relahash_nb": json.dumps(facts)})
        write(Path(path), lambda temporary: temporary.write_bytes(content))  # readable as other files are

    @classmethod
    def load(cls, run: Path | str, weights: Path | str | None = None) -> HashModel:
        """The model that a run saved, on the CPU, in evaluation mode.

        Args:
            run: A run's folder, its name in `results/runs`, or the file.
            weights: What a frozen backbone started from, where it lies elsewhere now.

        Raises:
            ValueError: There is no such file, it is not of `save`, or the backbone or its weights cannot be had.
        """
        path = Path(run) if len(Path(run).parts) > 1 or Path(run).exists() else project_path("results") / "runs" / run
        path = path / "model.safetensors" if path.is_dir() else path
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["relahash_nb"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = "there is no such file" if not path.is_file() else f"not a file of HashModel.save ({error})"
            advice = "a run keeps it with save_weights all or trained"
            raise ValueError(f"model: {str(path)!r} given; {reason}; {advice}") from None
        source = str(weights or facts["weights"]) if facts["weights_digest"] else "none"
        backbone, pretrained = build_backbone(facts["backbone"], source), {}
        if source != "none":
            given = (
                _read_weights(backbone, facts["backbone"], source) if source != "imagenet" else backbone.state_dict()
            )
            pretrained = {name: given[name] for name in given if f"backbone.{name}" not in tensors}
            if digest_of(pretrained) != facts["weights_digest"]:
                print(f"weights: {source} differ from those that {path} was trained with; its codes will be others")
        model = cls(backbone, tensors["hash_layer.0.weight"].shape[1], facts["bits"])
        model.hash_layer[1] = nn.Identity() if facts["eps"] is None else nn.BatchNorm1d(facts["bits"], facts["eps"])
        whole = tensors | {f"backbone.{name}": tensor for name, tensor in pretrained.items()}
        try:
            model.load_state_dict(whole)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"model: {path} does not fit {facts['backbone']} as it is here ({reason})") from None
        model.mean, model.std = (torch.tensor(facts[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        model.pretrained, model.weights_digest, model.facts = frozenset(pretrained), facts["weights_digest"], facts
        return model.requires_grad_(False).eval()


def build_model(config: RunConfig) -> HashModel:
    """The model that a config names, on its device, in training mode; no global random state is used or changed.

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
        pretrained = backbone.state_dict() if config.weights == "imagenet" else {}
        if config.weights not in ("imagenet", "none"):
            pretrained = _read_weights(backbone, config.backbone, config.weights)
            missing = backbone.load_state_dict(pretrained, strict=False).missing_keys
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in missing))
            print(f"weights: {config.weights}: " + (f"{', '.join(layers)} drawn anew" if layers else "all layers"))
        if not (pretrained or config.finetune):
            print(f"weights: none; {config.backbone} is random, and stays so without finetune")
        for module in backbone.modules():
            if isinstance(module, nn.Dropout) and not config.dropout:
                module.p = 0.0
        model = HashModel(backbone, _feature_size(backbone, config), config.bits)
        if not wants_batch_norm(config):
            model.hash_layer[1] = nn.Identity()
    model.pretrained = frozenset(pretrained)
    model.weights_digest = digest_of(pretrained) if pretrained else ""
    backbone.requires_grad_(config.finetune)
    return model.to(find_device(config.device)).train()


def _read_weights(backbone: nn.Module, name: str, path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file that fit the named backbone by name, less `backbone.`, and shape."""
    if not Path(path).is_file():
        allowed = "allowed: imagenet, none, or a safetensors file"
        raise ValueError(f"weights: {path!r} given, and there is no such file; {allowed}")
    try:
        found = {name.removeprefix("backbone."): tensor for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"weights: {path} is no safetensors file ({error})") from None
    own = backbone.state_dict()
    fitting = {key: found[key] for key in own if key in found and found[key].shape == own[key].shape}
    few = lambda names: ", ".join(list(names)[:4]) + (", …" if len(names) > 4 else "")
    if not fitting:
        raise ValueError(f"weights: nothing in {path} fits {name}: it has {few(found)}, expected {few(own)}")
    broken = [key for key, tensor in fitting.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"weights: {path}: not finite: {few(broken)}")
    return fitting


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """16 hexadecimal digits of a text and of tensors: names, dtypes, shapes and values."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _feature_size(backbone: nn.Module, config: RunConfig) -> int:
    """F, from two black images: no convention about a backbone's attributes is needed."""
    size, was_training = config.image_size, backbone.training
    try:
        with torch.no_grad():
            return backbone.eval()(torch.zeros(2, 3, size, size)).flatten(1).shape[1]
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"image_size: {size} given; {config.backbone} cannot take it ({reason})") from None
    finally:
        backbone.train(was_training)


def find_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one, else the CPU. A ValueError says that it is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {name!r} given, and not to be had here ({str(error).splitlines()[0]})") from None
    return device

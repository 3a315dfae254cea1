"""Every knob of a run, checked, and the name that a run gets from them. Imports nothing of ours, and no torch."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import importlib
import json
import re
import shlex
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

DATASET_NAMES = ("fashion_mini", "fashion_mnist", "cifar10", "cifar100", "lists", "folder")
LOSS_NAMES = ("relahash",)
CENTROID_NAMES = ("max_hamming", "hadamard", "bernoulli", "normal", "uniform")
BACKBONE_NAMES = ("alexnet", "small_cnn")

# What a None stands for: the recipe's word, unless the data set or the loss has one of its own.
RECIPES: dict[str, dict[str, Any]] = {
    # The published code: AlexNet, CIFAR-10 resized to 224 pixels, 64 bits: mAP@all .8388 after the last epoch,
    # 4.08 h on a T4 (the authors' Colab run); the paper's table has .852. doi 10.1109/ACCESS.2023.3259104
    "paper": dict(
        backbone="alexnet", weights="imagenet", image_size=224, epochs=100, batch_size=16, lr=1e-4,
        backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step", augment="jitter",
    ),
    # Ours: a small network from scratch, in half a minute on two cores; see the README for its scores.
    "quick": dict(
        backbone="small_cnn", weights="none", image_size=28, epochs=20, batch_size=64, lr=3e-3,
        backbone_lr_scale=1.0, weight_decay=5e-4, schedule="cosine", augment="jitter",
    ),
}  # fmt: skip
DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "fashion_mini": dict(recipe="quick"),
    "fashion_mnist": dict(recipe="quick"),
    "cifar10": dict(recipe="paper", protocol="1"),
    "cifar100": dict(recipe="paper", protocol="1"),
}
LOSS_DEFAULTS: dict[str, dict[str, Any]] = {"relahash": dict(beta=8.0, margin=0.5)}

# Where and how a run is carried out, not what comes out of it. What the data were, a fingerprint in run.json says.
NOT_IN_RUN_ID = ("recipe", "device", "root", "data_dir", "results_dir", "checkpoint_minutes", "fresh")


def knob(default: Any, meaning: str, **allowed: Any) -> Any:
    """A field of `RunConfig`: its default, what it means, and what is allowed (`minimum`, `above`, `names`, …)."""
    return field(default=default, metadata={"meaning": meaning, **allowed})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: what is learned from which data, how, and where the files go.

    `None` means: what the recipe, the data set or the loss says; `resolve()` fills it in. Names are built-in ones, or
    `package.module:attribute` for your own data set, loss or backbone.

    Raises:
        ValueError: A value is of another type or outside its range; the line names it and says what is allowed.

    Example:
        >>> config = RunConfig(bits=32).resolve()
        >>> config.beta, config.epochs, config.run_id
        (8.0, 20, 'fashion_mini-32bits-relahash-seed0-e2b74f2e')
        >>> RunConfig(bits=0)
        Traceback (most recent call last):
        ValueError: bits: 0 given; allowed: an integer from 1 to 4096
    """

    recipe: str | None = knob(
        None,
        "what a None stands for: the published settings, or minutes on a CPU; None: the data set says",
        choices=tuple(RECIPES),
    )
    dataset: str = knob("fashion_mini", "data set, or a function of your own", names=DATASET_NAMES)
    protocol: str | None = knob(None, "CIFAR's split", choices=("1", "1-disjoint", "2", "2-official"))
    root: str | None = knob(None, "folder of the images, for lists and folder")
    bits: int = knob(64, "length of a hash code", minimum=1, maximum=4096)
    loss: str = knob("relahash", "training loss, or a class of your own", names=LOSS_NAMES)
    loss_options: dict[str, Any] | None = knob(None, "further options of the loss, as JSON on the command line")
    beta: float | None = knob(None, "scale of the similarities in the loss", above=0)
    margin: float | None = knob(None, "taken off the similarity to the own centroid", minimum=0)
    centroids: str = knob("max_hamming", "how the target codes are drawn", names=CENTROID_NAMES)
    backbone: str | None = knob(None, "network before the hash layer; any of torchvision's or timm's too")
    weights: str | None = knob(None, "imagenet, none, or a safetensors file, which may hold a part of the network")
    finetune: bool = knob(True, "train the backbone too; if not, only the hash layer on its fixed features")
    image_size: int | None = knob(None, "pixels, height and width", minimum=8, maximum=4096)
    augment: str | None = knob(
        None, "training images: flipped, brightness and contrast jittered by .05, shifted",
        choices=("none", "flip", "jitter", "shift"),
    )  # fmt: skip
    epochs: int | None = knob(None, "passes over the training images", minimum=1)
    batch_size: int | None = knob(None, "training images a step; incomplete last batches are dropped", minimum=2)
    lr: float | None = knob(None, "learning rate of the hash layer", above=0)
    backbone_lr_scale: float | None = knob(None, "the pretrained tensors' learning rate over lr", minimum=0)
    weight_decay: float | None = knob(None, "of Adam, on all parameters", minimum=0)
    schedule: str | None = knob(
        None, "learning rate over time; step: × 0.1 at 80 %", choices=("step", "cosine", "one_cycle", "constant")
    )
    dropout: bool = knob(False, "keep the backbone's dropout layers; the published code has them off")
    precision: str = knob("fp32", "of the network; the loss is always fp32", choices=("fp32", "bf16", "fp16"))
    device: str = knob("auto", "auto, cpu, cuda, cuda:1, mps")
    top_k: int | Literal["all"] | None = knob(None, "ranks counted by the average precision, or all", minimum=1)
    denominator: str = knob(
        "retrieved", "average precision over the relevant items within top_k, or over min(top_k, all relevant)",
        choices=("retrieved", "relevant"),
    )  # fmt: skip
    drop_self_matches: bool = knob(False, "leave a query's own image out of its ranking where the database has it")
    validation_per_class: int = knob(0, "images a class held out to choose the epoch; 0: the last", minimum=0)
    eval_interval: int = knob(0, "epochs between scores on the way; 0: only after the last", minimum=0)
    seed: int = knob(0, "of the weights, the batches and the augmentation", minimum=0)
    split_seed: int = knob(0, "of the split, and of nothing else", minimum=0)
    centroid_seed: int = knob(0, "of the centroids, and of nothing else", minimum=0)
    save_weights: str = knob("hash_layer", "weights kept after the run", choices=("hash_layer", "all", "none"))
    checkpoint_minutes: float = knob(
        5.0, "minutes between checkpoints of the training, each at the end of an epoch; 0: none", minimum=0
    )
    fresh: bool = knob(False, "start anew where a checkpoint is there that cannot be used")
    data_dir: str = knob("data", "downloads and caches")
    results_dir: str = knob("results", "runs and tables")

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for knob_ in dataclasses.fields(self):
            value, hint = getattr(self, knob_.name), hints[knob_.name]
            if not _allows(hint, knob_.metadata, value):
                allowed = describe_allowed(knob_)
                raise ValueError(f"{knob_.name}: {value!r} given; allowed: {allowed}{_nearest(value, knob_.metadata)}")
            if type(value) is int and float in _options(hint):  # so that lr 1 and lr 1.0 are one run
                object.__setattr__(self, knob_.name, float(value))

    def resolve(self) -> RunConfig:
        """Fills every None that a recipe, the data set or the loss has a value for.

        Returns:
            The config that is written to `config.json`. Resolving it again changes nothing.

        Example:
            >>> RunConfig(dataset="cifar10", batch_size=64).resolve().lr
            0.0001
        """
        dataset = DATASET_DEFAULTS.get(self.dataset, {})
        recipe = self.recipe or dataset.get("recipe", "paper")
        defaults = RECIPES[recipe] | dataset | LOSS_DEFAULTS.get(self.loss, {}) | dict(recipe=recipe, top_k="all")
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    @property
    def run_id(self) -> str:
        """Name of the run's folder: data set, bits, loss, seed, and a hash of all that changes the result."""
        values = self.resolve().to_dict()
        text = json.dumps({name: values[name] for name in sorted(values) if name not in NOT_IN_RUN_ID})
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        # The root differs between machines, so it is not hashed; its last name tells one folder of lists from another.
        data = self.dataset if self.root is None else f"{self.dataset}-{Path(self.root).resolve().name}"
        name = f"{data}-{self.bits}bits-{self.loss}-seed{self.seed}-{digest}"
        return re.sub(r"[^A-Za-z0-9._-]+", ".", name)

    @property
    def command(self) -> str:
        """The command line that repeats the run: what differs from what `None` stands for.

        Example:
            >>> RunConfig(bits=32, seed=1).command
            'relahash train --bits 32 --seed 1'
        """
        values = self.resolve().to_dict()
        given = {name: values[name] for name in ("dataset", "loss")}
        usual = RunConfig(recipe=values["recipe"], **given).resolve().to_dict()
        usual |= RunConfig().to_dict() | {
            name: usual[name] for name, value in RunConfig().to_dict().items() if value is None
        }
        usual["recipe"] = RunConfig(**given).resolve().recipe
        unsaid = {"checkpoint_minutes", "fresh"}  # they repeat nothing
        options = [(name, value) for name, value in values.items() if value != usual[name] and name not in unsaid]
        return shlex.join(["relahash", "train", *(text for name, value in options for text in _option(name, value))])

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON and papermill."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """A config from plain values, as `to_dict` gave them.

        Raises:
            ValueError: A name is no field, or a value is not allowed.

        Example:
            >>> RunConfig.from_dict({"bitz": 32})
            Traceback (most recent call last):
            ValueError: bitz: no such parameter (did you mean bits?)
        """
        known = [knob_.name for knob_ in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
                raise ValueError(f"{name}: no such parameter ({hint})")
        return cls(**values)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> RunConfig:
        """The config in a notebook's parameters cell, and in the cell that papermill puts below it.

        papermill only warns about a name that the notebook does not have; here it is an error.

        Args:
            namespace: The notebook's `globals()`.

        Raises:
            ValueError: A parameter is unknown, or its value is not allowed.

        Example:
            >>> RunConfig.from_notebook({"In": ["", "# Parameters\\nbits = 32"], "bits": 32, "np": ...}).bits
            32
        """
        cells = [cell for cell in namespace.get("In", []) if re.match(r"#\s*(@title )?Parameters\b", cell)]
        assigned = [node.id for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)]
        fields = [knob_.name for knob_ in dataclasses.fields(cls) if knob_.name in namespace]
        return cls.from_dict({name: namespace[name] for name in [*assigned, *fields] if name in namespace})


def describe_allowed(knob_: dataclasses.Field) -> str:
    """What a field of `RunConfig` may be, in words.

    Example:
        >>> describe_allowed(RunConfig.__dataclass_fields__["lr"])
        'a number above 0, or None'
    """
    rule = knob_.metadata
    hint = typing.get_type_hints(RunConfig)[knob_.name]
    options = _options(hint)
    words = {int: "an integer", float: "a number", str: "a text", bool: "True or False"}
    kind = words.get(options[0], "a dictionary")
    if "choices" in rule:
        kind = ", ".join(rule["choices"])
    elif "names" in rule:
        kind = ", ".join(rule["names"]) + ", or package.module:attribute"
    elif "above" in rule:
        kind += f" above {rule['above']}"
    elif "maximum" in rule:
        kind += f" from {rule['minimum']} to {rule['maximum']}"
    elif "minimum" in rule:
        kind += f" from {rule['minimum']} up"
    rest = [repr(value) for option in options[1:] for value in typing.get_args(option) or (None,)]
    return ", or ".join([kind, *rest])


def load_attribute(name: str) -> Any:
    """The object that `package.module:attribute` names.

    Raises:
        ValueError: The module cannot be imported or lacks the attribute.

    Example:
        >>> load_attribute("math:tau") > 6
        True
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: cannot be loaded ({error}); expected package.module:attribute") from error


def shipped(path: str) -> Path:
    """A notebook or data file of the project, installed or in a checkout.

    Raises:
        FileNotFoundError: Neither the wheel nor the checkout has it.

    Example:
        >>> shipped("notebooks/01_train.ipynb").name
        '01_train.ipynb'
    """
    package = Path(__file__).parent
    for candidate in (package / "share" / path, package.parent / path):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{path}: neither in {package / 'share'} nor in {package.parent}")


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows: `int | None` gives int and NoneType."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _allows(hint: Any, rule: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is of the type, and within the choices or the range."""
    options = _options(hint)
    if value is None:
        return type(None) in options
    if any(value in typing.get_args(option) for option in options if typing.get_origin(option) is Literal):
        return True
    kinds = {typing.get_origin(option) or option for option in options} - {Literal, type(None)}
    accepted = kinds | ({int} if float in kinds else set())  # 1 is as good a learning rate as 1.0
    if type(value) not in accepted:
        return False
    if "choices" in rule:
        return value in rule["choices"]
    if "names" in rule:
        return value in rule["names"] or re.fullmatch(r"[\w.]+:\w+", value) is not None
    # Written so that NaN is refused as well.
    above, low, high = rule.get("above"), rule.get("minimum"), rule.get("maximum")
    return (above is None or value > above) and (low is None or value >= low) and (high is None or value <= high)


def _option(name: str, value: Any) -> tuple[str, str]:
    """As it is typed on the command line."""
    return f"--{name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)


def _nearest(value: Any, rule: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(value), rule.get("choices") or rule.get("names") or (), n=1)
    return f" (did you mean {close[0]}?)" if close else ""

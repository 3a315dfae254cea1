"""`RunConfig`: every knob of a run, checked, and the name that a run gets from them."""

import ast
import dataclasses
import difflib
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from relahash_nb.config.recipes import (
    BASELINE_NAMES,
    CENTROID_NAMES,
    DATASET_DEFAULTS,
    DATASET_NAMES,
    LOSS_DEFAULTS,
    LOSS_NAMES,
    RECIPES,
)
from relahash_nb.config.rules import allows, describe_allowed, knob, nearest, options

# Where and how a run is carried out, not what comes out of it. What the data were, a fingerprint in run.json says.
NOT_IN_RUN_ID = (
    *("recipe", "device", "compile", "root", "data_dir", "results_dir", "checkpoint_minutes", "fresh"),
    *("max_megapixels", "cache_gigabytes"),
)
# Of those that make the run's name, the seed repeats a setting, and these change nothing of its scores.
NOT_A_SETTING = (*NOT_IN_RUN_ID, "seed", "save_weights", "eval_interval")


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
    root: str | None = knob(None, "folder of the images and their lists, or of a sub-folder a class")
    bits: int = knob(64, "length of a hash code", minimum=1, maximum=4096)
    loss: str = knob(
        "relahash", "training loss, or a baseline without training, or a class of your own",
        names=LOSS_NAMES + BASELINE_NAMES,
    )  # fmt: skip
    loss_options: dict[str, Any] | None = knob(None, "further options of the loss, as JSON on the command line")
    beta: float | None = knob(None, "scale of the similarities in the loss", above=0)
    margin: float | None = knob(None, "taken off the similarity to the own centroid", minimum=0)
    centroids: str = knob("max_hamming", "how the target codes are drawn", names=CENTROID_NAMES)
    backbone: str | None = knob(None, "network before the hash layer; any of torchvision's or timm's too")
    weights: str | None = knob(None, "imagenet, none, or a safetensors file, which may hold a part of the network")
    finetune: bool = knob(True, "train the backbone too; if not, only the hash layer on its fixed features")
    image_size: int | None = knob(None, "pixels, height and width", minimum=8, maximum=4096)
    augment: str | None = knob(
        None, "training images: flipped; and jittered by .05 in brightness and contrast, shifted, or cropped",
        choices=("none", "flip", "jitter", "shift", "crop", "resized_crop"),
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
    compile: bool = knob(False, "torch.compile for training and fixed features; it pays in long runs alone")
    top_k: int | Literal["all"] | None = knob(None, "ranks counted by the average precision, or all", minimum=1)
    denominator: str = knob(
        "retrieved", "average precision over the relevant items within top_k, or over min(top_k, all relevant)",
        choices=("retrieved", "relevant"),
    )  # fmt: skip
    drop_self_matches: bool | None = knob(None, "leave a query's own image out of its ranking, if the database has it")
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
    max_megapixels: float = knob(100.0, "of an image; a larger one is refused, as it may be a trap", above=0)
    cache_gigabytes: float = knob(50.0, "of disk for decoded images, the latest kept; 0: decode every time", minimum=0)
    data_dir: str = knob("data", "downloads and caches")
    results_dir: str = knob("results", "runs and tables")

    def __post_init__(self) -> None:
        for knob_ in dataclasses.fields(self):
            value = getattr(self, knob_.name)
            if not allows(knob_, value):
                allowed = describe_allowed(knob_)
                raise ValueError(f"{knob_.name}: {value!r} given; allowed: {allowed}{nearest(knob_, value)}")
            if type(value) is int and float in options(knob_):  # so that lr 1 and lr 1.0 are one run
                object.__setattr__(self, knob_.name, float(value))

    def resolve(self) -> Self:
        """Fills every None that a recipe, the data set or the loss has a value for.

        Returns:
            The config that is written to `config.json`. Resolving it again changes nothing.

        Example:
            >>> RunConfig(dataset="cifar10", batch_size=64).resolve().lr
            0.0001
        """
        dataset = DATASET_DEFAULTS.get(self.dataset, {})
        recipe = self.recipe or dataset.get("recipe", "paper")
        usual = dict(top_k="all", drop_self_matches=False)
        defaults = usual | RECIPES[recipe] | dataset | LOSS_DEFAULTS.get(self.loss, {}) | dict(recipe=recipe)
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
        unsaid = {"checkpoint_minutes", "fresh", "cache_gigabytes"}  # they repeat nothing
        options = [(name, value) for name, value in values.items() if value != usual[name] and name not in unsaid]
        return shlex.join(["relahash", "train", *(text for name, value in options for text in _option(name, value))])

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON and papermill."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
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
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """The config of an older run: unknown fields are dropped, missing ones get their defaults."""
        known = {knob_.name for knob_ in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def setting(self) -> dict[str, Any]:
        """The resolved fields that two runs of one setting share."""
        values = self.resolve().to_dict()
        return {name: values[name] for name in SETTING_FIELDS}

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
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


def _option(name: str, value: Any) -> tuple[str, str]:
    """As it is typed on the command line."""
    return f"--{name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)


SETTING_FIELDS = tuple(knob_.name for knob_ in dataclasses.fields(RunConfig) if knob_.name not in NOT_A_SETTING)
"""What two runs must share to be seeds of one setting; beside them the data, by their fingerprint."""

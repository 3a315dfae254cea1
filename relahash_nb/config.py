"""`RunConfig`: every option of a run, checked, with a value for each, and the run's name. Imports no torch."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from relahash_nb.options import Count, LocalPath, NotNegative, ObjectName, Options, Positive, Seed, one_of, option
from relahash_nb.registry import BASELINES, CENTROIDS, DATASETS, LOSSES, loss_defaults
from relahash_nb.threads import available_cores

TORCHVISION_DATASETS = ("fashion_mnist", "cifar10", "cifar100")  # they have the protocols
ROOT_DATASETS = ("imagenet100", "nuswide_21", "coco", "lists", "folder")  # they need the folder that holds the images

RECIPES: dict[str, dict[str, Any]] = {
    # The published command line, with its β 8. The authors' Colab run (β 50, 64 bits, CIFAR-10, 4.08 h on a T4) has
    # mAP@all .8388 after the last epoch; β and batch size of the paper's .852 are not known.
    # doi 10.1109/ACCESS.2023.3259104
    "paper": dict(
        backbone="alexnet", weights="imagenet", image_size=224, epochs=100, batch_size=16, lr=1e-4,
        backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step", augment="jitter",
    ),
    # Ours: a small network from scratch, in half a minute on one core.
    "quick": dict(
        backbone="small_cnn", weights="none", image_size=28, epochs=20, batch_size=64, lr=3e-3,
        backbone_lr_scale=1.0, weight_decay=5e-4, schedule="cosine", augment="jitter",
    ),
    # Ours: fine-tunes a network that has seen ImageNet, in less than an hour on two cores; scores: docs/results.md.
    "laptop": dict(
        backbone="tf_efficientnet_lite0", weights="imagenet", image_size=160, epochs=12, batch_size=64, lr=3e-3,
        backbone_lr_scale=0.3, weight_decay=1e-5, schedule="one_cycle", augment="trivial", beta=64.0, margin=0.025,
    ),
    # Ours, for photographs: only the hash layer is trained, on features of a network that has seen ImageNet.
    "photos": dict(
        backbone="mobilenet_v3_large", weights="imagenet", finetune=False, image_size=224, epochs=20, batch_size=64,
        lr=1e-3, backbone_lr_scale=1.0, weight_decay=5e-4, schedule="cosine", augment="none",
    ),
}  # fmt: skip
# What a data set has of its own goes before the recipe.
DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "fashion_mini": dict(recipe="quick"),
    "fashion_mnist": dict(recipe="quick", protocol="1"),
    "cifar10": dict(recipe="paper", protocol="1"),
    "cifar100": dict(recipe="paper", protocol="1"),
    "imagenet100": dict(recipe="paper", augment="resized_crop", top_k=1_000),
    "nuswide_21": dict(recipe="paper", augment="crop", top_k=5_000),
    "coco": dict(recipe="paper", augment="resized_crop", top_k=5_000, drop_self_matches=True),
    "folder": dict(recipe="photos"),
}
TUNED_FIELDS = ("lr", "weight_decay", "epochs", "batch_size", "beta", "margin", "loss_options")  # by `relahash tune`
# Data sets that an option belongs to; others take no such option.
BELONGS_TO = {
    "root": ROOT_DATASETS,
    "protocol": TORCHVISION_DATASETS,
    "holdout": ("folder",),
    "truncated": ROOT_DATASETS,
}


class RunConfig(Options):
    """One run: what is learned from which data, how, and where the files go.

    A config has a value for each option as soon as it is made. What is not given, or None, comes from the data set and
    the recipe. Each option is of one kind: *identity* repeats a setting (the seed), a *setting* changes what comes out,
    *bookkeeping* does not. Names are built-in ones, or `package.module:attribute` for your own data set, loss,
    centroids or backbone.

    Raises:
        ValueError: A name or a value is not allowed, or two options contradict one another.

    Example:
        >>> config = RunConfig(bits=32)
        >>> config.lr, config.epochs, config.run_id
        (0.003, 20, 'fashion_mini-32bits-relahash-seed0-7a9eedeb')
        >>> config.given, config.replace(recipe="paper").lr
        ({'bits': 32}, 0.0001)
        >>> RunConfig(bits=0)
        Traceback (most recent call last):
        ValueError: bits: 0 given; allowed: an integer from 1 to 4096
    """

    # A default of None: the data set or the recipe has one, or there is none.
    # fmt: off
    recipe: Literal["paper", "quick", "laptop", "photos"] = option(
        None, "preset for options that are not given; default: quick for Fashion-MNIST, photos for folder, else paper",
        "bookkeeping")
    dataset: Annotated[str, *one_of(DATASETS)] = option("fashion_mini", "data set, or your own function")
    protocol: Literal["1", "1-disjoint", "2", "2-official"] | None = option(
        None, "how CIFAR and Fashion-MNIST are split into query, database and train")
    root: LocalPath | None = option(
        None, "folder with the images, and their lists or one sub-folder per class", "bookkeeping")
    holdout: Annotated[float, Field(ge=0, lt=1)] = option(
        0.2, "share of each class of a folder that is only used as queries, never trained on or searched")
    truncated: bool = option(False, "take JPEG files without their end, grey where it is missing, and count them")
    bits: Annotated[int, Field(ge=1, le=4096)] = option(64, "length of a hash code")
    loss: Annotated[str, *one_of([*LOSSES, *BASELINES])] = option(
        "relahash", "training loss, or a baseline that is not trained, or your own class")
    loss_options: dict[str, JsonValue] | None = option(None, "further options of the loss; JSON on the command line")
    beta: Positive | None = option(
        None, "scale of the similarities in the loss; not given: a recipe's for relahash, else the loss's own")
    margin: NotNegative | None = option(
        None, "subtracted from the similarity to an item's own centroid; not given: as for beta")
    centroids: Annotated[str, *one_of(CENTROIDS)] = option("max_hamming", "target codes of the classes")
    backbone: str = option(None, "network before the hash layer; any model of torchvision or timm, or your own")
    weights: Annotated[str, AfterValidator(os.path.expanduser)] = option(
        None, "pretrained weights: imagenet, none, or a safetensors file")
    finetune: bool = option(None, "train the backbone too; if False, only the hash layer on fixed features")
    image_size: Annotated[int, Field(ge=8, le=4096)] = option(None, "height and width in pixels")
    augment: Literal["none", "flip", "jitter", "shift", "crop", "resized_crop", "trivial"] = option(
        None, "random changes of training images; all but none flip them, jitter also changes brightness and contrast, "
        "trivial crops and takes one of torchvision's TrivialAugment")
    epochs: Count = option(None, "passes over the training images")
    batch_size: Annotated[int, Field(ge=2, le=10**9)] = option(
        None, "training images per step; an incomplete last batch is dropped")
    sampler: Literal["shuffle", "classes"] = option(
        "shuffle", "what a batch is: shuffle takes images in any order, classes as many of each of some classes, which "
        "losses of pairs like")
    lr: Positive = option(None, "learning rate of the hash layer")
    backbone_lr_scale: NotNegative = option(None, "learning-rate multiplier for pretrained weights")
    weight_decay: NotNegative = option(None, "weight decay of Adam, on all parameters")
    schedule: Literal["step", "cosine", "one_cycle", "constant"] = option(
        None, "learning rate over the epochs; step multiplies it by 0.1 after 80 %")
    ema: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "decay at each step of an average of the weights, which is then scored; 0: no average")
    dropout: bool = option(False, "keep the backbone's dropout layers; the published code turns them off")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "number format of the network; the loss uses fp32")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps", "bookkeeping")
    threads: Annotated[int, Field(ge=1, le=1024)] = option(
        None, "threads of the processor; default: 1 for small_cnn and fixed features, else all cores", "bookkeeping")
    top_k: Count | Literal["all"] = option(None, "ranks that the average precision counts")
    denominator: Literal["retrieved", "relevant"] = option(
        "retrieved", "average precision divides by the relevant items within top_k, or by min(top_k, all relevant)")
    drop_self_matches: bool = option(None, "leave a query's own image out of its ranking")
    validation_per_class: Annotated[int, Field(ge=0, le=10**9)] = option(
        0, "images per class that are held out to choose the best epoch; 0: keep the last epoch")
    eval_interval: Annotated[int, Field(ge=0, le=10**9)] = option(
        0, "epochs between scores during training; 0: only after the last epoch", "bookkeeping")
    seed: Seed = option(0, "seed of the initial weights, the batches and the augmentation", "identity")
    split_seed: Seed = option(0, "seed of the split into query, database and train")
    centroid_seed: Seed | None = option(0, "seed of the centroids; None: the run's own seed")
    tuning: str | None = option(
        None, "budget of the search that chose the options; `sweep --tuned` sets it, and tables keep such runs apart")
    save_weights: Literal["trained", "all", "none"] = option(
        "trained", "weights to keep: those that were trained, all, or none", "bookkeeping")
    checkpoint_minutes: NotNegative = option(
        5.0, "minutes between checkpoints during training; 0: no checkpoints", "bookkeeping")
    data_dir: LocalPath = option("data", "folder for downloads and caches", "bookkeeping")
    results_dir: LocalPath = option("results", "folder for runs and figures", "bookkeeping")
    metrics: ObjectName | None = option(
        None, "your own function from codes and targets to further scores", "bookkeeping")
    callback: ObjectName | None = option(
        None, "your own function from the config to one that is called with each epoch's record", "bookkeeping")
    # fmt: on

    @model_validator(mode="before")
    @classmethod
    def _drop_none(cls, values: dict[str, Any]) -> dict[str, Any]:
        """None is as good as not given where the default is None."""
        fields = cls.model_fields
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in fields or fields[name].default is not None
        }

    @model_validator(mode="after")
    def _fill(self) -> Self:
        """Gives every option that was not given the value of its data set or recipe."""
        self._check_belongings()
        for name, value in self._defaults().items():
            if name not in self.model_fields_set:
                self.__dict__[name] = value  # the model is frozen for its users
        self._check_contradictions()
        return self

    def _defaults(self) -> dict[str, Any]:
        """What the data set and the recipe say, and what follows from the options that were given."""
        of_dataset = DATASET_DEFAULTS.get(self.dataset, {})
        recipe = self.recipe or of_dataset.get("recipe", "paper")
        defaults = dict(top_k="all", drop_self_matches=False, finetune=True) | RECIPES[recipe] | of_dataset
        defaults["recipe"] = recipe
        if self.loss in BASELINES:
            defaults["finetune"] = False
        for name in ("beta", "margin"):  # a recipe's are for relahash alone, where loss_options has none
            if self.loss != "relahash" or name in (self.loss_options or {}):
                defaults.pop(name, None)
        chosen = defaults | self.given
        if chosen["backbone"] == "small_cnn":
            defaults["weights"] = "none"
        is_large = chosen["finetune"] and chosen["backbone"] != "small_cnn"
        defaults["threads"] = available_cores() if is_large else 1  # small operators are no faster on two threads
        return defaults

    def _check_belongings(self) -> None:
        """Refuses an option of another data set; one's own data set may take any."""
        for name, datasets in BELONGS_TO.items():
            value = getattr(self, name)
            is_taken = ":" in self.dataset or self.dataset in datasets
            if not is_taken and value != type(self).model_fields[name].default:
                raise ValueError(f"{name}: {self.dataset} takes none, and {value!r} is given")

    def _check_contradictions(self) -> None:
        """Refuses options that contradict one another."""
        loss_options = self.loss_options or {}
        for name in ("beta", "margin"):
            value = getattr(self, name)
            if value is not None and name in loss_options:
                raise ValueError(f"{name}: {value} given, and {loss_options[name]} in loss_options; give one")
        if self.finetune and self.loss in BASELINES:
            raise ValueError(f"finetune: True given; {self.loss} has no training, and needs fixed features: False")

    @property
    def own_names(self) -> list[str]:
        """The options that are `package.module:attribute`: code of one's own."""
        names = (self.dataset, self.backbone, self.loss, self.centroids, self.metrics or "")
        return [name for name in names if ":" in name]

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given; `replace` and the sweep keep these, and fill in the others anew."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def replace(self, **changes: Any) -> Self:
        """A config of the given options with some changed; what follows from them changes too."""
        return type(self)(**(self.given | changes))

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values, for JSON."""
        return self.model_dump()

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """A config from a run's `config.json`: fields that are gone are dropped, new ones get their defaults."""
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        if known.get("loss") == "cross_entropy_plain":  # as this loss was called up to version 0.1
            known |= {"loss": "cross_entropy", "loss_options": {"batch_norm": False}}
        return cls(**known)

    def setting(self) -> dict[str, Any]:
        """The options that change what comes out; two runs with one setting and data differ by the seed.

        `eval_interval` is among them where validation chooses the epoch, since it says which epochs there are.
        One setting is told in one way: `loss_options` have no `beta` and `margin`, which are fields, and whole numbers
        without a decimal point. A `beta` or `margin` that is the loss's own default is None.
        """
        names = [*self.of_kind("setting")]
        if self.validation_per_class:
            names.append("eval_interval")
        values = {name: getattr(self, name) for name in names}
        options = {name: shorten(value) for name, value in (self.loss_options or {}).items()}
        for name in options.keys() & {"beta", "margin"}:
            values[name] = as_number(options.pop(name))
        values["loss_options"] = options or None
        return self._without_defaults(values)

    def _without_defaults(self, values: dict[str, Any]) -> dict[str, Any]:
        """A setting whose `beta` and `margin` are None where they are the loss's own defaults."""
        for name in ("beta", "margin"):
            if values[name] is not None and values[name] == loss_defaults(self.loss).get(name):
                values[name] = None
        return values

    @property
    def run_id(self) -> str:
        """Name of the run's folder: data set, bits, loss, seed, and a hash of what differs from the defaults."""
        fields = type(self).model_fields
        changed = {name: value for name, value in self.setting().items() if value != fields[name].default}
        digest = hashlib.sha256(json.dumps([self.seed, sorted(changed.items())]).encode()).hexdigest()[:8]
        # The root differs between machines, so it is not hashed; its last name tells one folder of lists from another.
        data = self.dataset if self.root is None else f"{self.dataset}-{Path(self.root).resolve().name}"
        return re.sub(r"[^A-Za-z0-9._-]+", ".", f"{data}-{self.bits}bits-{self.loss}-seed{self.seed}-{digest}")

    @property
    def command(self) -> str:
        """The command line that repeats the run, such as `relahash train --bits 32 --seed 1`.

        Threads are named but where one is the default: all cores are another number on another machine.
        """
        bare = RunConfig(dataset=self.dataset, loss=self.loss)
        defaults = bare.replace(recipe=self.recipe).to_dict()
        defaults |= {"recipe": bare.recipe, "checkpoint_minutes": self.checkpoint_minutes}
        defaults["threads"] = 1 if self.replace(threads=None).threads == 1 else None
        defaults |= {name: RunConfig.model_fields[name].default for name in ("dataset", "loss")}
        words = ["relahash", "train"]
        for name, value in self.to_dict().items():
            if value != defaults[name]:
                text = json.dumps(value) if isinstance(value, dict) else str(value)
                words += [f"--{name.replace('_', '-')}", text]
        return shlex.join(words)


SETTING_FIELDS = RunConfig.of_kind("setting")


def shorten(value: Any) -> Any:
    """A whole number without its decimal point; other values as they are."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_number(value: Any) -> Any:
    """An integer with a decimal point, as `beta` and `margin` have one; other values as they are."""
    return float(value) if isinstance(value, int) else value

"""`RunConfig`: every option of a run, checked, and the run's name. Imports no torch."""

import ast
import functools
import hashlib
import json
import os
import re
import shlex
import sys
import tomllib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue

from relahash_nb.options import Count, NotNegative, ObjectPath, Options, Positive, Seed, option
from relahash_nb.options import load_attribute as load_attribute

TORCHVISION_DATASETS = ("fashion_mnist", "cifar10", "cifar100")  # they have the protocols
ROOT_DATASETS = ("imagenet100", "nuswide_21", "coco", "lists", "folder")  # they need the folder that holds the images
DATASET_NAMES = ("fashion_mini", *TORCHVISION_DATASETS, *ROOT_DATASETS)
LOSS_NAMES = (
    *("relahash", "orthohash", "orthohash_arc", "cross_entropy", "csq", "dpn"),
    *("greedyhash", "hashnet", "dpsh", "dtsh", "jmlh", "sdh_c", "bihalf", "dch", "average_precision"),
)
BASELINE_NAMES = ("lsh", "pcah", "itq", "class_index", "random")  # in place of a loss, without training
CENTROID_NAMES = ("max_hamming", "semantic", "hadamard", "bernoulli", "normal", "uniform")
BACKBONE_NAMES = ("alexnet", "small_cnn")

RECIPES: dict[str, dict[str, Any]] = {
    # The published command line, with its β 8. The authors' Colab run (β 50, 64 bits, CIFAR-10, 4.08 h on a T4) has
    # mAP@all .8388 after the last epoch; β and batch size of the paper's .852 are not known.
    # doi 10.1109/ACCESS.2023.3259104
    "paper": dict(
        backbone="alexnet", weights="imagenet", image_size=224, epochs=100, batch_size=16, lr=1e-4,
        backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step", augment="jitter",
    ),
    # Ours: a small network from scratch, in half a minute on two cores.
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


class RunConfig(Options):
    """One run: what is learned from which data, how, and where the files go.

    `None` means: what the recipe, the data set or the loss says. Names are built-in ones, or `package.module:attribute`
    for your own data set, loss or backbone. Each option is of one kind: *identity* repeats a setting (the seed), a
    *setting* changes what comes out, *bookkeeping* does not. A wrong name or value is a ValueError.

    Example:
        >>> config = RunConfig(bits=32).resolve()
        >>> config.lr, config.epochs, config.run_id
        (0.003, 20, 'fashion_mini-32bits-relahash-seed0-7a9eedeb')
        >>> RunConfig(bits=0)
        Traceback (most recent call last):
        ValueError: bits: 0 given; allowed: an integer from 1 to 4096
    """

    # fmt: off
    recipe: Literal["paper", "quick", "laptop", "photos"] | None = option(
        None, "preset for options that are not given; default: quick for Fashion-MNIST, photos for folder, else paper",
        "bookkeeping")
    dataset: Literal[*DATASET_NAMES] | ObjectPath = option("fashion_mini", "data set, or your own function")
    protocol: Literal["1", "1-disjoint", "2", "2-official"] | None = option(
        None, "how CIFAR and Fashion-MNIST are split into query, database and train")
    root: str | None = option(
        None, "folder with the images, and their lists or one sub-folder per class", "bookkeeping")
    holdout: Annotated[float, Field(ge=0, lt=1)] = option(
        0.2, "share of each class of a folder that is only used as queries, never trained on or searched")
    bits: Annotated[int, Field(ge=1, le=4096)] = option(64, "length of a hash code")
    loss: Literal[*LOSS_NAMES, *BASELINE_NAMES] | ObjectPath = option(
        "relahash", "training loss, or a baseline that is not trained, or your own class")
    loss_options: dict[str, JsonValue] | None = option(None, "further options of the loss; JSON on the command line")
    beta: Positive | None = option(
        None, "scale of the similarities in the loss; not given: a recipe's for relahash, else the loss's own")
    margin: NotNegative | None = option(
        None, "subtracted from the similarity to an item's own centroid; not given: as for beta")
    centroids: Literal[*CENTROID_NAMES] | ObjectPath = option("max_hamming", "target codes of the classes")
    backbone: str | None = option(None, "network before the hash layer; any model of torchvision or timm, or your own")
    weights: str | None = option(None, "pretrained weights: imagenet, none, or a safetensors file")
    finetune: bool | None = option(None, "train the backbone too; if False, only the hash layer on fixed features")
    image_size: Annotated[int, Field(ge=8, le=4096)] | None = option(None, "height and width in pixels")
    augment: Literal["none", "flip", "jitter", "shift", "crop", "resized_crop", "trivial"] | None = option(
        None, "random changes of training images; all but none flip them, jitter also changes brightness and contrast, "
        "trivial crops and takes one of torchvision's TrivialAugment")
    epochs: Count | None = option(None, "passes over the training images")
    batch_size: Annotated[int, Field(ge=2, le=10**9)] | None = option(
        None, "training images per step; an incomplete last batch is dropped")
    lr: Positive | None = option(None, "learning rate of the hash layer")
    backbone_lr_scale: NotNegative | None = option(None, "learning-rate multiplier for pretrained weights")
    weight_decay: NotNegative | None = option(None, "weight decay of Adam, on all parameters")
    schedule: Literal["step", "cosine", "one_cycle", "constant"] | None = option(
        None, "learning rate over the epochs; step multiplies it by 0.1 after 80 %")
    ema: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "decay at each step of an average of the weights, which is then scored; 0: no average")
    dropout: bool = option(False, "keep the backbone's dropout layers; the published code turns them off")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "number format of the network; the loss uses fp32")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps", "bookkeeping")
    top_k: Count | Literal["all"] | None = option(None, "ranks that the average precision counts")
    denominator: Literal["retrieved", "relevant"] = option(
        "retrieved", "average precision divides by the relevant items within top_k, or by min(top_k, all relevant)")
    drop_self_matches: bool | None = option(None, "leave a query's own image out of its ranking")
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
    data_dir: str = option("data", "folder for downloads and caches", "bookkeeping")
    results_dir: str = option("results", "folder for runs and figures", "bookkeeping")
    # fmt: on

    def resolve(self) -> Self:
        """Fills every None that the recipe or the data set has a value for; resolving again changes nothing.

        A recipe's `beta` and `margin` are for `relahash` alone, where `loss_options` has none.
        """
        own = DATASET_DEFAULTS.get(self.dataset, {})
        recipe = self.recipe or own.get("recipe", "paper")
        values = dict(top_k="all", drop_self_matches=False, finetune=True) | RECIPES[recipe] | own | {"recipe": recipe}
        values |= {"finetune": False} if self.loss in BASELINE_NAMES else {}
        theirs = self.loss_options or {} if self.loss == "relahash" else ("beta", "margin")
        values |= dict.fromkeys({"beta", "margin"}.intersection(theirs))
        values |= {"weights": "none"} if (self.backbone or values["backbone"]) == "small_cnn" else {}
        changes = {name: value for name, value in values.items() if getattr(self, name) is None}
        return self.replace(**changes)

    def setting(self) -> dict[str, Any]:
        """The resolved options that change what comes out; two runs with one setting and data differ by the seed.

        `eval_interval` is among them where validation chooses the epoch, since it says which epochs there are.
        A `beta` or `margin` that is the loss's own default is None: both are one setting.
        """
        names = self.of_kind("setting") + (("eval_interval",) if self.validation_per_class else ())
        values = self.resolve().to_dict()
        values |= {name: None for name, own in LOSS_DEFAULTS.get(self.loss, {}).items() if values[name] == own}
        return {name: values[name] for name in names}

    @property
    def run_id(self) -> str:
        """Name of the run's folder: data set, bits, loss, seed, and a hash of what differs from the defaults."""
        usual = type(self).model_fields
        changed = {name: value for name, value in self.setting().items() if value != usual[name].default}
        digest = hashlib.sha256(json.dumps([self.seed, sorted(changed.items())]).encode()).hexdigest()[:8]
        # The root differs between machines, so it is not hashed; its last name tells one folder of lists from another.
        data = self.dataset if self.root is None else f"{self.dataset}-{Path(self.root).resolve().name}"
        return re.sub(r"[^A-Za-z0-9._-]+", ".", f"{data}-{self.bits}bits-{self.loss}-seed{self.seed}-{digest}")

    @property
    def command(self) -> str:
        """The command line that repeats the run, such as `relahash train --bits 32 --seed 1`."""
        values, bare = self.resolve().to_dict(), RunConfig(dataset=self.dataset, loss=self.loss)
        usual = bare.replace(recipe=values["recipe"]).resolve().to_dict() | {"recipe": bare.resolve().recipe}
        usual |= {name: RunConfig.model_fields[name].default for name in ("dataset", "loss")}
        words = ["relahash", "train"]
        for name, value in values.items():
            if value != usual[name] and name != "checkpoint_minutes":
                words += [f"--{name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)]
        return shlex.join(words)

    def check(self) -> Self:
        """Refuses options that contradict one another, and a folder or file that is not there; returns the config."""
        resolved, given, weights = self.resolve(), self.loss_options or {}, self.resolve().weights
        takes = {"root": ROOT_DATASETS, "protocol": TORCHVISION_DATASETS, "holdout": ("folder",)}
        for name, datasets in takes.items():
            value, is_taken = getattr(self, name), ":" in self.dataset or self.dataset in datasets
            if not is_taken and value != type(self).model_fields[name].default:
                raise ValueError(f"{name}: {self.dataset} takes none, and {value!r} is given")
        for name in ("beta", "margin"):
            if getattr(self, name) is not None and name in given:
                raise ValueError(f"{name}: {getattr(self, name)} given, and {given[name]} in loss_options; give one")
        if self.root is None and self.dataset in ROOT_DATASETS:
            raise ValueError(f"root: None given; {self.dataset} needs the folder that holds the images")
        if self.root is not None and not Path(self.root).is_dir():
            raise ValueError(f"root: {self.root!r} given, and there is no such folder")
        if resolved.finetune and self.loss in BASELINE_NAMES:
            raise ValueError(f"finetune: True given; {self.loss} has no training, and needs fixed features: False")
        if weights == "imagenet" and resolved.backbone == "small_cnn":
            allowed = "allowed: none, or a safetensors file"
            raise ValueError(f"weights: 'imagenet' given; small_cnn has none of its own; {allowed}")
        if weights not in ("imagenet", "none") and not Path(weights).is_file():
            allowed = "allowed: imagenet, none, or a file"
            raise ValueError(f"weights: {weights!r} given, and there is no such file; {allowed}")
        return self

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values."""
        return type(self)(**(self.to_dict() | changes))

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values, for JSON and papermill."""
        return self.model_dump()

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """A config from an older run's `config.json`: fields that are gone are dropped, new ones get defaults."""
        return cls(**{name: value for name, value in values.items() if name in cls.model_fields})

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """The config in a notebook's last executed Parameters cell, and in the cell that papermill puts below it.

        papermill only warns about a name that the notebook does not have; here it is a ValueError, shown as one line.

        Example:
            >>> RunConfig.from_notebook({"In": ["", "# Parameters\\nbits = 32"], "bits": 32, "np": ...}).bits
            32
        """
        short_errors()
        cells = list(namespace.get("In", []))
        own, injected = (
            max((place for place, cell in enumerate(cells) if re.match(start, cell)), default=-1)
            for start in (r"#\s*@title Parameters\b", r"#\s*Parameters\b")
        )
        executed = [cells[place] for place in (own, injected) if place >= max(own, 0)]
        assigned = [node.id for cell in executed for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)]
        return cls(**{name: namespace[name] for name in assigned if name in namespace}).check()


SETTING_FIELDS = RunConfig.of_kind("setting")
TUNED_FIELDS = ("lr", "weight_decay", "epochs", "batch_size", "beta", "margin", "loss_options")  # by `relahash tune`
LOSS_DEFAULTS = {  # as in the losses' constructors, which a test compares: no torch is loaded for a run's name
    "relahash": dict(beta=8.0, margin=0.5), "orthohash": dict(margin=0.2), "orthohash_arc": dict(margin=0.2),
    "dpn": dict(margin=1.0), "dtsh": dict(margin=2.5),
}  # fmt: skip


def package_file(path: str) -> Path:
    """A notebook or data file of the project, such as `notebooks/01_train.ipynb`, installed or in a checkout."""
    package = Path(__file__).parent
    for candidate in (package / "share" / path, package.parent / path):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{path}: neither in {package / 'share'} nor in {package.parent}")


def project_path(name: str | Path) -> Path:
    """Where a relative `data_dir` or `results_dir` lies: in the checkout of this project that we are in, else here."""
    return Path(os.path.relpath(_project(Path.cwd()) / name)) if not Path(name).is_absolute() else Path(name)


@functools.cache
def _project(folder: Path) -> Path:
    """The checkout of this project that a folder is in, or the folder itself."""
    for place in (folder, *folder.parents):
        try:
            project = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if project == "relahash-nb":
            return place
    return folder


def short_errors() -> None:
    """In a notebook: shows an error that this package raises as its one line, without the traceback above it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return

    def show(shell: Any, kind: type, error: Exception, trace: Any, tb_offset: int | None = None) -> None:
        *_, (raised, _) = traceback.walk_tb(trace)
        if raised.f_globals.get("__name__", "").startswith("relahash_nb"):
            # papermill sees it as an error all the same
            shell._showtraceback(kind, error, [f"{kind.__name__}: {error}"])
        else:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)

    shell.set_custom_exc((ValueError,), show)

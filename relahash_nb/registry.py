"""What a name stands for: `module:attribute` of each data set, loss, baseline, kind of centroids and backbone.

The built-in names and your own `package.module:attribute` take the same road, `load`. Imports no torch.
"""

import difflib
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DIGEST = "__relahash_digest__"  # in a module of one's own: of its file as it was imported

DATASETS = {
    "fashion_mini": "relahash_nb.datasets.sources:fashion_mini",
    "fashion_mnist": "relahash_nb.datasets.sources:from_torchvision",
    "cifar10": "relahash_nb.datasets.sources:from_torchvision",
    "cifar100": "relahash_nb.datasets.sources:from_torchvision",
    "imagenet100": "relahash_nb.datasets.lists:lists",
    "nuswide_21": "relahash_nb.datasets.lists:lists",
    "coco": "relahash_nb.datasets.lists:lists",
    "lists": "relahash_nb.datasets.lists:lists",
    "folder": "relahash_nb.datasets.folders:folder",
}
LOSSES = {
    "relahash": "relahash_nb.losses.relahash:RelaHashLoss",
    "orthohash": "relahash_nb.losses.centers:OrthoHashLoss",
    "orthohash_arc": "relahash_nb.losses.centers:OrthoHashArcLoss",
    "cross_entropy": "relahash_nb.losses.classification:CrossEntropyLoss",
    "csq": "relahash_nb.losses.centers:CSQLoss",
    "dpn": "relahash_nb.losses.centers:DPNLoss",
    "greedyhash": "relahash_nb.losses.classification:GreedyHashLoss",
    "hashnet": "relahash_nb.losses.pairwise:HashNetLoss",
    "dpsh": "relahash_nb.losses.pairwise:DPSHLoss",
    "dtsh": "relahash_nb.losses.pairwise:DTSHLoss",
    "jmlh": "relahash_nb.losses.classification:JMLHLoss",
    "sdh_c": "relahash_nb.losses.classification:SDHCLoss",
    "bihalf": "relahash_nb.losses.classification:BiHalfLoss",
    "dch": "relahash_nb.losses.pairwise:DCHLoss",
    "average_precision": "relahash_nb.losses.pairwise:AveragePrecisionLoss",
}
# In place of a loss: codes without training.
BASELINES = {
    "lsh": "relahash_nb.baselines:lsh",
    "pcah": "relahash_nb.baselines:pcah",
    "itq": "relahash_nb.baselines:itq",
    "class_index": "relahash_nb.baselines:class_index",
    "random": "relahash_nb.baselines:random",
}
DIRECTIONS = ("pcah", "itq")  # of the baselines: K bits need K training images, and K features
CENTROIDS = {
    "max_hamming": "relahash_nb.centroids:max_hamming",
    "semantic": "relahash_nb.centroids:semantic",
    "hadamard": "relahash_nb.centroids:hadamard",
    "bernoulli": "relahash_nb.centroids:bernoulli",
    "normal": "relahash_nb.centroids:normal",
    "uniform": "relahash_nb.centroids:uniform",
}
# Any classification model of torchvision or timm is a backbone too.
BACKBONES = {
    "alexnet": "relahash_nb.backbones:alexnet",
    "small_cnn": "relahash_nb.backbones:small_cnn",
}


def load(table: Mapping[str, str], name: str) -> Any:
    """The object that a name of a table, or `package.module:attribute`, stands for.

    Raises:
        ValueError: It cannot be loaded.

    Example:
        >>> load(LOSSES, "relahash").__name__, load(LOSSES, "math:sqrt")(4)
        ('RelaHashLoss', 2.0)
    """
    path = table.get(name, name)
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
        if name not in table:
            vars(module).setdefault(DIGEST, source_digest(name))
        return getattr(module, attribute)
    except Exception as error:  # a module of the user's own may raise anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: cannot be loaded ({reason}); expected package.module:attribute") from error


def source_digest(name: str) -> str:
    """16 hexadecimal digits of the file that the module of a `package.module:attribute` is in, as it is now.

    The module is not imported, though the package that it is in may be. Empty: it has no file.
    """
    try:
        found = importlib.util.find_spec(name.partition(":")[0])
        content = Path(found.origin).read_bytes() if found and found.origin else b""
    except (ImportError, OSError, ValueError):  # a built-in module, or one that was made by hand
        content = b""
    return hashlib.sha256(content).hexdigest()[:16] if content else ""


def loaded_digest(name: str) -> str:
    """The same, as the file was when `load` imported it: it may be edited while a run goes on."""
    module = sys.modules.get(name.partition(":")[0])
    return getattr(module, DIGEST, "")


def default_options(function: Any) -> dict[str, Any]:
    """The options of a loss or a baseline, with the defaults of its signature.

    Example:
        >>> default_options(load(LOSSES, "dpn"))
        {'margin': 1.0}
    """
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


@functools.cache
def loss_defaults(name: str) -> Mapping[str, Any]:
    """The options of a built-in loss or baseline, with their defaults; of any other name none. Imports torch."""
    table = LOSSES | BASELINES
    return default_options(load(table, name)) if name in table else {}


def nearest_names(name: str, names: Iterable[str]) -> str:
    """Up to three names that one is like, to end a line of an error; nothing where there is none."""
    close = difflib.get_close_matches(name, list(names), cutoff=0.4)
    return f"; nearest: {', '.join(close)}" if close else ""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The name that a misspelt one is like, in brackets; nothing where there is none."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""

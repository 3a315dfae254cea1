"""Every knob of a run, checked, and the name that a run gets from them. Imports nothing of ours, and no torch."""

from relahash_nb.config.names import load_attribute, shipped
from relahash_nb.config.recipes import (
    BACKBONE_NAMES,
    BASELINE_NAMES,
    CENTROID_NAMES,
    DATASET_DEFAULTS,
    DATASET_NAMES,
    LOSS_DEFAULTS,
    LOSS_NAMES,
    RECIPES,
    ROOT_DATASETS,
)
from relahash_nb.config.rules import describe_allowed
from relahash_nb.config.run import NOT_IN_RUN_ID, SETTING_FIELDS, RunConfig

__all__ = [
    "BACKBONE_NAMES",
    "BASELINE_NAMES",
    "CENTROID_NAMES",
    "DATASET_DEFAULTS",
    "DATASET_NAMES",
    "LOSS_DEFAULTS",
    "LOSS_NAMES",
    "NOT_IN_RUN_ID",
    "RECIPES",
    "ROOT_DATASETS",
    "SETTING_FIELDS",
    "RunConfig",
    "describe_allowed",
    "load_attribute",
    "shipped",
]

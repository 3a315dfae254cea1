"""Scores by a function of the user's own, which `--metrics` names."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from relahash_nb.config import RunConfig
from relahash_nb.registry import load
from relahash_nb.results.report import Scores

NAME = re.compile(r"[A-Za-z_]\w*")  # of a column


def own_metrics(name: str, codes: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, float]:
    """What the user's function says of the codes of query and database.

    Args:
        name: Of the function, `package.module:attribute`. It is called with query codes (Q, K) and database codes
            (D, K), float32 before the sign, and with query targets (Q, C) and database targets (D, C), uint8; it gives
            a number for each name.
        codes: `query` and `database`.
        targets: Likewise.

    Raises:
        ValueError: It raised anything, or gives something else.
    """
    function = load({}, name)
    arrays = [np.asarray(codes[split], dtype=np.float32) for split in ("query", "database")]
    arrays += [np.asarray(targets[split], dtype=np.uint8) for split in ("query", "database")]
    try:
        scores = function(*arrays)
    except Exception as error:  # a function of the user's own may raise anything
        raise ValueError(f"metrics: {name} raised {type(error).__name__}: {error}") from error
    if not isinstance(scores, Mapping):
        raise ValueError(f"metrics: {name} gives a {type(scores).__name__}; allowed: a dictionary of names and numbers")
    for column, value in scores.items():
        check_score(name, column, value)
    return {column: float(value) for column, value in scores.items()}


def check_score(name: str, column: Any, value: Any) -> None:
    """Refuses what cannot be a column of the table of runs."""
    if not isinstance(column, str) or not NAME.fullmatch(column):
        raise ValueError(f"metrics: {name} gives the name {column!r}; allowed: letters, digits and underscores")
    if column in RunConfig.model_fields or column in Scores.model_fields:
        raise ValueError(f"metrics: {name} gives the name {column!r}, which the table of runs has already")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"metrics: {name} gives {value!r} for {column}; allowed: a number")


def check_metrics(config: RunConfig) -> None:
    """Refuses a function that cannot be used before anything is trained: it is tried with codes that are made up."""
    if config.metrics is None:
        return
    generator = np.random.default_rng(0)
    classes = np.eye(10, dtype=np.uint8)
    sizes = {"query": 20, "database": 200}
    codes = {split: generator.standard_normal((size, config.bits)) for split, size in sizes.items()}
    targets = {split: classes[np.arange(size) % 10] for split, size in sizes.items()}
    own_metrics(config.metrics, codes, targets)

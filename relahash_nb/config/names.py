"""Names that lead out of the package: an attribute of a module, a file of the project."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any


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
    package = Path(__file__).parents[1]
    for candidate in (package / "share" / path, package.parent / path):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{path}: neither in {package / 'share'} nor in {package.parent}")

"""The options of a command, from `RunConfig`'s fields: their names, types and help texts."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from relahash_nb.config import LOSS_DEFAULTS, RECIPES, RunConfig, describe_allowed

ALIASES = {"dataset": "--ds", "bits": "--nbit", "batch_size": "--bs", "centroids": "--init-centroids-method"}
"""Names of the published code that are understood too."""


def parse(
    command: str,
    description: str,
    arguments: Sequence[str],
    several: bool = False,
    extra: Sequence[tuple[str, Any, Any, str]] = (),
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The values given on the command line, by tyro; a wrong one ends the program with exit code 2.

    Args:
        command: Its name.
        description: For the help text.
        arguments: After the command's name.
        several: Whether each option takes several values.
        extra: Further options: name, type, default, meaning.
        only: The fields of `RunConfig` that are options; None: all.

    Returns:
        Values by the names of `RunConfig`'s fields; with `several` lists of values, of the options that were given.
        The further options are always there.
    """
    import tyro

    hints = typing.get_type_hints(RunConfig)
    fields = []
    for knob in dataclasses.fields(RunConfig):
        if only is not None and knob.name not in only:
            continue
        hint, default = hints[knob.name], knob.default
        if "choices" in knob.metadata:
            hint = Literal[knob.metadata["choices"]] | None if default is None else Literal[knob.metadata["choices"]]
        if hint is bool:
            hint = tyro.conf.FlagConversionOff[bool]  # a value, as all others have
        if knob.name == "loss_options":
            hint = str | None
        aliases = [ALIASES[knob.name]] if knob.name in ALIASES else None
        argument = tyro.conf.arg(help=explain(knob), aliases=aliases)
        if several:
            hint, default = tuple[hint, ...], (default,)
        fields.append((knob.name, Annotated[hint, argument], dataclasses.field(default=default)))
    for name, hint, default, meaning in extra:
        argument = tyro.conf.arg(help=meaning)
        fields.append((name, Annotated[hint, argument], dataclasses.field(default=default)))
    options = dataclasses.make_dataclass("Options", fields, kw_only=True)
    options.__doc__ = description
    given = tyro.cli(options, prog=f"relahash {command}", args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    values = dict(vars(given))
    if several:  # a value that equals the default may have been given all the same, but is not the very same object
        kept = {knob.name for knob in dataclasses.fields(options) if values[knob.name] is not knob.default}
        kept |= {name for name, *_ in extra}
        values = {name: value for name, value in values.items() if name in kept}
    if "loss_options" in values:
        values["loss_options"] = _from_json(values["loss_options"])
    return values


def explain(knob: dataclasses.Field) -> str:
    """A field of `RunConfig` in a help text: meaning, range, and what None stands for in each recipe.

    Example:
        >>> explain(RunConfig.__dataclass_fields__["epochs"])
        'passes over the training images; an integer from 1 up; None: 100 with paper, 20 with quick'
    """
    parts = [knob.metadata["meaning"]]
    if knob.metadata.keys() & {"names", "minimum", "above"}:
        parts.append(describe_allowed(knob).removesuffix(", or None"))
    stands_for = [f"{recipe[knob.name]} with {name}" for name, recipe in RECIPES.items() if knob.name in recipe]
    stands_for += [f"{loss[knob.name]} with {name}" for name, loss in LOSS_DEFAULTS.items() if knob.name in loss]
    return "; ".join(parts + (["None: " + ", ".join(stands_for)] if stands_for else []))


def _from_json(value: Any) -> Any:
    """The options of a loss from their JSON text, or several of them."""
    if isinstance(value, tuple):
        return tuple(_from_json(one) for one in value)
    try:
        return None if value is None else json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"loss_options: {value!r} given; allowed: JSON, as in '{{\"scale\": 8}}' ({error})") from None

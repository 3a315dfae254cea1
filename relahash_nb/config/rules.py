"""A knob of a run: its meaning and its rule; whether a value keeps to the rule, and what the rule is in words."""

import dataclasses
import difflib
import re
import types
import typing
from typing import Any, Literal


def knob(default: Any, meaning: str, **allowed: Any) -> Any:
    """A field of `RunConfig`: its default, what it means, and what is allowed (`minimum`, `above`, `names`, …)."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, **allowed})


def allows(knob_: dataclasses.Field, value: Any) -> bool:
    """Whether a value is of the type, and within the choices or the range."""
    rule, options_ = knob_.metadata, options(knob_)
    if value is None:
        return type(None) in options_
    if any(value in typing.get_args(option) for option in options_ if typing.get_origin(option) is Literal):
        return True
    kinds = {typing.get_origin(option) or option for option in options_} - {Literal, type(None)}
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


def describe_allowed(knob_: dataclasses.Field) -> str:
    """What a field of `RunConfig` may be, in words.

    Example:
        >>> @dataclasses.dataclass
        ... class Config:
        ...     lr: float | None = knob(None, "learning rate", above=0)
        >>> describe_allowed(dataclasses.fields(Config)[0])
        'a number above 0, or None'
    """
    rule, options_ = knob_.metadata, options(knob_)
    words = {int: "an integer", float: "a number", str: "a text", bool: "True or False"}
    kind = words.get(options_[0], "a dictionary")
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
    rest = [repr(value) for option in options_[1:] for value in typing.get_args(option) or (None,)]
    return ", or ".join([kind, *rest])


def nearest(knob_: dataclasses.Field, value: Any) -> str:
    """The allowed name that a misspelt one is like, in brackets; nothing where there is none."""
    names = knob_.metadata.get("choices") or knob_.metadata.get("names") or ()
    close = difflib.get_close_matches(str(value), names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def options(knob_: dataclasses.Field) -> tuple[Any, ...]:
    """The types that a knob allows: `int | None` gives int and NoneType."""
    hint = knob_.type
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)

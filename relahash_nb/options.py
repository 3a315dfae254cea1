"""Options: named values that are checked when they are given, described from one definition of types and ranges."""

import difflib
import functools
import importlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ObjectPath = Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what torch takes


def option(
    default: Any, meaning: str, kind: Literal["identity", "setting", "bookkeeping", "flag", "positional"] = "setting"
) -> Any:
    """A field of `Options`: its default, its meaning, and its kind (`RunConfig` says what the kinds are)."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind})


class Options(BaseModel):
    """Named values that are checked when they are given: a wrong one is a ValueError of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                fields = type(self).model_fields
                hint = did_you_mean(name, fields) or f" (allowed: {', '.join(fields)})"
                raise ValueError(f"{name}: no such parameter{hint}") from None
            allowed = self.describe_allowed(name)
            hint = did_you_mean(str(values[name]), re.findall(r"[a-z]\w+", allowed))
            raise ValueError(f"{name}: {values[name]!r} given; allowed: {allowed}{hint}") from None

    @classmethod
    @functools.cache
    def schema_of(cls, name: str) -> dict[str, Any]:
        """A field's JSON schema: type, range, choices, meaning (`description`) and kind."""
        return cls.model_json_schema()["properties"][name]

    @classmethod
    def describe_allowed(cls, name: str) -> str:
        """What a field may be, in words, such as 'a number above 0, or None'."""
        return _describe(cls.schema_of(name))

    @classmethod
    def of_kind(cls, kind: str) -> tuple[str, ...]:
        """The names of the fields of one kind."""
        return tuple(name for name, field in cls.model_fields.items() if field.json_schema_extra["kind"] == kind)

    @classmethod
    def read_text(cls, name: str, text: str) -> Any:
        """A field's value as it is typed, 0.001 for "1e-3"; what does not fit is for the constructor to refuse."""
        words = {"None": None, "True": True, "False": False}
        try:
            literal = words[text] if text in words else json.loads(text)
        except (ValueError, RecursionError):
            return text
        try:
            return text if literal is not None and cls(**{name: text}) else literal
        except ValueError:
            return literal


def did_you_mean(name: str, names: Any) -> str:
    """The name that a misspelt one is like, in brackets; nothing where there is none."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _describe(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in schema:
        return ", or ".join(map(_describe, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(schema["enum"]) if "enum" in schema else repr(schema["const"])
    words = dict(integer="an integer", number="a number", string="a text", boolean="True or False", null="None")
    words |= dict(array="a list", object='a dictionary, such as {"margin": 0.2}')
    kind = "package.module:attribute" if "pattern" in schema else words[schema["type"]]
    bounds = dict(exclusiveMinimum=" above {}", minimum=" from {}", maximum=" to {}", exclusiveMaximum=", below {}")
    kind += "".join(text.format(schema[key]) for key, text in bounds.items() if key in schema)
    return kind + " up" * ("minimum" in schema and not schema.keys() & {"maximum", "exclusiveMaximum"})


def load_attribute(name: str) -> Any:
    """The object that `package.module:attribute` names; a ValueError says that it cannot be loaded."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module of the user's own may raise anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: cannot be loaded ({reason}); expected package.module:attribute") from error

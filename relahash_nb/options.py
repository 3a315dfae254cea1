"""Options: named values that are checked when they are given, described from one definition of types and ranges."""

import functools
import json
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from relahash_nb.paths import local_path
from relahash_nb.registry import did_you_mean

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what torch takes
LocalPath = Annotated[str, AfterValidator(local_path), Field(json_schema_extra={"format": "path"})]

Kind = Literal["identity", "setting", "bookkeeping", "flag", "positional"]

OBJECT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # package.module:attribute
TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a text",
    "boolean": "True or False",
    "null": "None",
    "array": "a list",
    "object": 'a dictionary, such as {"margin": 0.2}',
}
BOUNDS = {
    "exclusiveMinimum": " above {}",
    "minimum": " from {}",
    "maximum": " to {}",
    "exclusiveMaximum": ", below {}",
}


def option(default: Any, meaning: str, kind: Kind = "setting") -> Any:
    """A field of `Options`: its default, its meaning, and its kind (`RunConfig` says what the kinds are)."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind})


def one_of(names: Iterable[str]) -> tuple[AfterValidator, Any]:
    """What stands beside `str` in the type of an option that is a name, or `package.module:attribute`.

    Example:
        >>> DatasetName = Annotated[str, *one_of(["cifar10", "coco"])]
        >>> TypeAdapter(DatasetName).validate_python("my.module:data")
        'my.module:data'
    """
    allowed: list[Any] = list(names)

    def check_name(name: str) -> str:
        if name not in allowed and not OBJECT_PATH.fullmatch(name):
            raise ValueError(f"{name}: allowed: {', '.join(allowed)}")
        return name

    return AfterValidator(check_name), Field(json_schema_extra={"names": allowed})


ObjectName = Annotated[str, *one_of(())]  # of one's own alone


class Options(BaseModel):
    """Named values that are checked when they are given: a wrong one is a ValueError of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(self._explain(error, values)) from None

    @classmethod
    def _explain(cls, error: ValidationError, values: Mapping[str, Any]) -> str:
        """The first thing that is wrong, in one line: the value that was given, and what is allowed."""
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # values that contradict one another: their check says how
            return str(first["ctx"]["error"])
        name = str(first["loc"][0])
        return cls._refusal(name, values[name])

    @classmethod
    def _refusal(cls, name: str, value: Any) -> str:
        """Why a name with this value is refused, in one line."""
        if name not in cls.model_fields:
            hint = did_you_mean(name, cls.model_fields) or f" (allowed: {', '.join(cls.model_fields)})"
            return f"{name}: no such parameter{hint}"
        hint = did_you_mean(str(value), _choices(cls.schema_of(name)))
        return f"{name}: {value!r} given; allowed: {cls.describe_allowed(name)}{hint}"

    @classmethod
    def check_value(cls, name: str, value: Any) -> None:
        """Refuses a name that is no field, and a value that this field may not have; None is the default."""
        field = cls.model_fields.get(name)
        if field is None:
            raise ValueError(cls._refusal(name, value))
        if value is None and field.default is None:
            return
        try:
            TypeAdapter(field.rebuild_annotation(), config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError:
            raise ValueError(cls._refusal(name, value)) from None

    @classmethod
    @functools.cache
    def _schemas(cls) -> dict[str, dict[str, Any]]:
        return cls.model_json_schema()["properties"]

    @classmethod
    def schema_of(cls, name: str) -> dict[str, Any]:
        """A field's JSON schema: type, range, choices, meaning (`description`) and kind."""
        return cls._schemas()[name]

    @classmethod
    def is_list(cls, name: str) -> bool:
        """Whether a field takes a list of values."""
        schema = cls.schema_of(name)
        return any(part.get("type") == "array" for part in schema.get("anyOf", [schema]))

    @classmethod
    def describe_allowed(cls, name: str) -> str:
        """What a field may be, in words, such as 'a number above 0'."""
        return _describe(cls.schema_of(name))

    @classmethod
    def of_kind(cls, kind: Kind) -> tuple[str, ...]:
        """The names of the fields of one kind."""
        return tuple(name for name in cls.model_fields if cls.schema_of(name)["kind"] == kind)

    @classmethod
    def read_text(cls, name: str, text: str) -> Any:
        """A field's value as it is typed, 0.001 for "1e-3"; what does not fit stays text, which `cls()` refuses."""
        if text == "None":
            return None
        annotation: Any = cls.model_fields[name].annotation
        if annotation is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        try:
            if text.startswith("{") and not _is_text(annotation):
                return json.loads(text)
            return TypeAdapter(annotation).validate_strings(text)
        except (ValueError, RecursionError):
            return text


def _is_text(annotation: Any) -> bool:
    kinds = (annotation, *typing.get_args(annotation))
    return any(getattr(kind, "__origin__", kind) is str for kind in kinds)  # that of Annotated[str, ...] is str


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The names that a JSON schema allows; none where it allows numbers or any text."""
    parts = schema.get("anyOf", [schema])
    return [choice for part in parts for choice in (*part.get("enum", ()), *part.get("names", ()))]


def _describe(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in schema:
        return ", or ".join(_describe(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    if schema.get("format") == "path":
        return "a path of this machine"
    if "names" in schema:
        own = "package.module:attribute"
        return f"{', '.join(schema['names'])}, or {own}" if schema["names"] else own
    return TYPES[schema["type"]] + _describe_range(schema)


def _describe_range(schema: Mapping[str, Any]) -> str:
    """The bounds of a number in words; nothing where there is none."""
    bounds = [text.format(schema[bound]) for bound, text in BOUNDS.items() if bound in schema]
    is_open = "minimum" in schema and len(bounds) == 1
    return "".join(bounds) + (" up" if is_open else "")

"""The command line of a command, read from the fields of its options: argparse, and errors of one line."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from relahash_nb.config import RECIPES, RunConfig
from relahash_nb.options import Options
from relahash_nb.registry import did_you_mean

# Of the published code's command line.
ALIASES = {
    "dataset": "--ds",
    "bits": "--nbit",
    "batch_size": "--bs",
    "centroids": "--init-centroids-method",
    "k": "-k",
}
PUBLISHED_VALUES = {
    "dataset": {"nuswide": "nuswide_21"},
    "centroids": {"N": "normal", "U": "uniform", "B": "bernoulli", "M": "max_hamming", "H": "hadamard"},
}
NEGATIVE = re.compile(r"-(\.?\d|inf|nan)")


class HelpFormatter(argparse.HelpFormatter):
    """Shows an option as `--bits VALUE`: whether it takes several is checked, and said, by `Parser`."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return str(action.metavar or "")


class Parser(argparse.ArgumentParser):
    """The options of one command; what is wrong is a ValueError of one line."""

    def __init__(self, command: str, description: str | None) -> None:
        usage = f"relahash {command} [options]"
        super().__init__(usage=usage, description=description, formatter_class=HelpFormatter, allow_abbrev=False)
        self._negative_number_matcher = NEGATIVE  # argparse takes -1e-3 for the name of an option
        self.fields: dict[str, type[Options]] = {}  # the class that each option is a field of
        self.several: set[str] = set()  # options that take several values

    def error(self, message: str) -> NoReturn:
        """What argparse refuses by itself."""
        raise ValueError(message)

    def add_fields(self, kind: type[Options], names: Iterable[str], several: bool = False) -> None:
        """Adds an option for each of these fields; `several`: each takes a list of values."""
        for name in names:
            self.fields[name] = kind
            if several or kind.is_list(name):
                self.several.add(name)
            meaning = describe_option(kind, name).replace("%", "%%")
            if name in kind.of_kind("positional"):
                self.usage = f"{self.usage} {name.upper()}"
                self.add_argument(name, nargs="*", metavar=name.upper(), help=meaning)
            elif name in kind.of_kind("flag"):
                self.add_argument(*option_names(name), dest=name, action="store_true", help=meaning)
            else:
                metavar = "VALUE ..." if name in self.several else "VALUE"
                flags = option_names(name)
                self.add_argument(*flags, dest=name, nargs="*", action="append", metavar=metavar, help=meaning)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values of the options that were given, by name; of `several` options lists."""
        typed, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].lstrip("-").partition("=")[0].replace("-", "_")
            hint = did_you_mean(name, self.fields).replace("mean ", "mean --").replace("_", "-")
            raise ValueError(f"{unknown[0]}: no such option{hint}")
        values = {}
        for name, texts in vars(typed).items():
            kind = self.fields[name]
            if name in kind.of_kind("flag"):
                values[name] = texts
            elif name in kind.of_kind("positional"):
                if texts:
                    values[name] = self.read_texts(name, texts)
            elif texts is not None:
                if len(texts) > 1:
                    raise ValueError(
                        f"{option_names(name)[0]}: given twice; allowed: once, with its values, as in --bits 16 32"
                    )
                values[name] = self.read_texts(name, texts[0])
        return values

    def read_texts(self, name: str, texts: Sequence[str]) -> Any:
        """The value, or the list of values, of one option."""
        kind = self.fields[name]
        if not texts:
            raise ValueError(f"{name}: no value given; allowed: {kind.describe_allowed(name)}")
        published = PUBLISHED_VALUES.get(name, {})
        values = [kind.read_text(name, published.get(text, text)) for text in texts]
        if name in self.several:
            return values
        if len(values) > 1:
            hint = " (relahash sweep takes several)" if kind is RunConfig else ""
            allowed = f"one value{hint}, {kind.describe_allowed(name)}"
            raise ValueError(f"{name}: {' '.join(texts)} given; allowed: {allowed}")
        return values[0]


def option_names(name: str) -> list[str]:
    """How an option is typed; where the published command has a short name, so too."""
    names = [f"--{name.replace('_', '-')}"]
    if name in ALIASES:
        names.append(ALIASES[name])
    return names


def describe_option(kind: type[Options], name: str) -> str:
    """An option in a help text: its meaning, what is allowed, the default, what the recipes say."""
    parts = [kind.schema_of(name)["description"]]
    allowed = kind.describe_allowed(name).removesuffix(", or None")
    if name not in kind.of_kind("flag") and allowed not in ("a text", "a list"):
        parts.append(allowed)
    defaults = [f"{recipe[name]} with {title}" for title, recipe in RECIPES.items() if name in recipe]
    if kind is RunConfig and defaults:
        parts.append(f"default: {', '.join(defaults)}")
    default = kind.model_fields[name].default
    if default is not None and default is not False:
        parts[-1] += f" (default: {default})"
    return "; ".join(parts)

"""`python -m benchmarks other_tools`: runs the parts, and writes their page."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import benchmarks.other_tools
from benchmarks.other_tools.page import PARTS, write_page


def main(arguments: Sequence[str]) -> int:
    """Runs what is named; returns the exit code."""
    parser = argparse.ArgumentParser(
        "benchmarks other_tools",
        description=benchmarks.other_tools.__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} or page; all where none is given")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the rows of a part that are run again")
    parser.add_argument("--environments", type=Path, help="keep the virtual environments here (default: a new folder)")
    parser.add_argument("--run", default="results/runs", help="a 64-bit run on the embedded data set, for numerics")
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in (*PARTS, "page")]
    if unknown:
        parser.error(f"{unknown[0]}: no such part; allowed: {', '.join(PARTS)}, page")
    parts = [name for name in options.parts or PARTS if name != "page"]
    with tempfile.TemporaryDirectory() as folder:
        options.environments = options.environments or Path(folder)
        for name in parts:
            importlib.import_module(f"benchmarks.other_tools.{name}").run(options)
    return write_page(check=options.check)

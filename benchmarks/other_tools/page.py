"""docs/other-tools.md: each block between `<!-- PART -->` and `<!-- end -->` is written from that part's JSON file."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from benchmarks.other_tools.files import read_results

PAGE = Path(__file__).parents[2] / "docs" / "other-tools.md"
PARTS = ("engines", "evaluators", "repositories", "numerics")


def page_text(text: str) -> str:
    """The page with its blocks written anew."""
    for part in PARTS:
        block = re.compile(rf"<!-- {part} -->\n.*?<!-- end -->", re.DOTALL)
        results = read_results(part)
        if results is None:
            content = "Not run yet.\n"
        else:
            content = importlib.import_module(f"benchmarks.other_tools.{part}").markdown(results)
        written = f"<!-- {part} -->\n{content}<!-- end -->"
        text = block.sub(lambda _, written=written: written, text)
    return text


def write_page(check: bool = False) -> int:
    """Writes the page, or says that it is out of date; returns the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    expected = page_text(text)
    if text == expected:
        return 0
    print(f"{PAGE.name}: {'out of date; run python -m benchmarks other_tools page' if check else 'written'}")
    if check:
        return 1
    PAGE.write_text(expected, encoding="utf-8")
    return 0

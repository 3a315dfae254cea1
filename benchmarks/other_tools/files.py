"""The JSON files of the parts, and the machine that they name."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

from relahash_nb.results import describe_hardware

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "other_tools"


def read_results(part: str) -> dict | None:
    """What a part wrote; None where it has not been run."""
    path = RESULTS / f"{part}.json"
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def write_results(part: str, results: dict) -> None:
    """Writes a part's results, with date and machine."""
    hardware = describe_hardware("cpu")
    machine = {
        "hardware": f"{hardware['processor']}, {hardware['cores']} cores, {platform.system()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results | {"machine": machine}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (RESULTS / f"{part}.json").write_text(text, encoding="utf-8")


def markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    """A table; a bar inside a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def guess_table(kind: str, rows: dict[str, dict]) -> str:
    """What was expected of each engine or evaluator, what came, and what a user does about it."""
    columns = [kind, "expected", "observed", "surprise", "what to do"]
    lines = []
    for row in rows.values():
        surprise = "**yes**" if row["surprise"] else "no"
        lines.append([row["title"], row["expected"], row["observed"], surprise, row["advice"]])
    return markdown_table(columns, lines)


def describe_machine(results: dict) -> str:
    """Hardware, Python and date of a part's run, in one line."""
    machine = results["machine"]
    return f"{machine['hardware']}; Python {machine['python']}; {machine['date']}"

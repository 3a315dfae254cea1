"""What the benchmarks share: ways that take turns, processes of their own, memory, and reports as files. No torch."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from relahash_nb.files import write
from relahash_nb.results import describe_hardware

RESULTS = Path(__file__).parent / "results"
NAMES = ("finetuning", "scores", "frozen", "metrics", "growth", "search")
PACKAGES = ("torch", "torchvision", "numpy", "numba", "timm", "faiss-cpu")
OUR_SETTINGS = ("GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE")  # that `import relahash_nb` makes
QUIET = 10  # percent of the cores at work for others, below which a machine is called so


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each way says of itself, once a round: other work on the machine then slows all of them."""
    measured: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            measured[way].append(run())
    return measured


def median_ratio(ours: list[float], baseline: list[float]) -> float:
    """Median over the rounds of ours over the baseline, each from one round."""
    return statistics.median(a / b for a, b in zip(ours, baseline, strict=True))


def seconds(run: Callable[[], Any]) -> float:
    """Of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Process:
    """An object of `module.name(*arguments)` in a process of its own, asked by name.

    With `plain` it is under torch's own settings, not under those that importing our package makes.
    """

    def __init__(self, plain: bool, module: str, name: str, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=_settle, initargs=(plain,))
        self.pool.submit(_make, module, name, arguments).result()

    def __call__(self, method: str, *arguments: Any) -> Any:
        return self.pool.submit(_call, method, arguments).result()

    def close(self) -> None:
        self.pool.shutdown()


_subject: list[Any] = []


def _settle(plain: bool) -> None:
    for name in OUR_SETTINGS if plain else ():
        os.environ.pop(name, None)


def _make(module: str, name: str, arguments: tuple) -> None:
    _subject[:] = [getattr(importlib.import_module(module), name)(*arguments)]


def _call(method: str, arguments: tuple) -> Any:
    return getattr(_subject[0], method)(*arguments)


@dataclass
class Report:
    """What a benchmark measured, and all that it takes to believe it."""

    title: str  # one line
    command: str  # that repeats it
    tables: list[dict[str, Any]] = field(default_factory=list)  # caption, columns, rows of texts, in_readme
    notes: list[str] = field(default_factory=list)  # sentences below the tables
    measured: dict[str, Any] = field(default_factory=dict)  # the numbers, before they were rounded into a table
    machine: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Not the load average: that still holds the minute before, which is the benchmark before where several run.
        self.machine = {"busy before": round(psutil.cpu_percent(interval=1))}
        self.began = time.perf_counter()

    def table(self, caption: str, columns: list[str], rows: list[list[Any]], in_readme: bool = False) -> None:
        """Adds a table."""
        texts = [[str(value) for value in row] for row in rows]
        self.tables.append({"caption": caption, "columns": columns, "rows": texts, "in_readme": in_readme})

    def finish(self) -> None:
        """Notes the machine, after all is measured."""
        found = describe_hardware("cpu")
        self.machine |= {
            "hardware": f"{found['processor']}, {found['cores']} cores, {platform.system()}",
            "versions": versions(),
            "seconds": round(time.perf_counter() - self.began),
            "date": time.strftime("%Y-%m-%d"),
        }

    def markdown(self) -> str:
        """The whole report."""
        tables = [f"{table['caption']}\n\n{markdown_table(table)}" for table in self.tables]
        return "\n\n".join([f"## {self.title}", *tables, *self.notes, describe_machine(vars(self))]) + "\n"


def write_report(name: str, report: Report, folder: Path = RESULTS) -> None:
    """Writes a report as JSON, and all that lie there as one page."""
    folder.mkdir(exist_ok=True)
    names = ("title", "command", "tables", "notes", "measured", "machine")
    text = json.dumps({part: getattr(report, part) for part in names}, indent=1, ensure_ascii=False) + "\n"
    write(folder / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))
    pages = []
    for path in sorted(folder.glob("*.json")):
        other = Report("", "")
        vars(other).update(json.loads(path.read_text(encoding="utf-8")))
        pages.append(other.markdown())
    page = "# Benchmarks: what was measured\n\nWritten by `python -m benchmarks`; not by hand.\n\n" + "\n".join(pages)
    write(folder / "README.md", lambda path: path.write_text(page, encoding="utf-8"))


def readme_block(folder: Path = RESULTS, names: Sequence[str] = NAMES) -> str:
    """The README's tables, from the reports that lie there, in this order; nothing where there are none."""
    parts = []
    for name in names:
        path = folder / f"{name}.json"
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"tables": []}
        tables = [table for table in report["tables"] if table["in_readme"]]
        if tables:
            parts += [f"{table['caption']}\n\n{markdown_table(table)}" for table in tables]
            parts.append(describe_machine(report))
    return "\n\n".join(parts) + "\n" if parts else ""


def markdown_table(table: Mapping[str, Any]) -> str:
    lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_machine(report: Mapping[str, Any]) -> str:
    """Hardware, versions, what else ran, and command, in one sentence."""
    machine = report["machine"]
    busy = machine["busy before"]
    quiet = "" if busy < QUIET else ": a **busy** machine, so only ratios count"
    return (
        f"{machine['hardware']}; {machine['versions']}; {busy} % of the cores busy before it began{quiet}; "
        f"{machine['date']}, {machine['seconds']} s: `{report['command']}`"
    )


def memory(name: str, restart: bool = False) -> float:
    """Gigabytes held now (VmRSS) or at most (VmHWM) since the last restart; NaN where Linux does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    if restart:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e6


def versions() -> str:
    found = [f"{name} {version_of(name)}" for name in PACKAGES if version_of(name)]
    return f"Python {platform.python_version()}, " + ", ".join(found)


def version_of(package: str) -> str | None:
    """The version that is installed; None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None

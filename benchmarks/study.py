"""The study on the embedded data, and what a run takes beside its training, against another build of this package.

`--against` names a checkout of the other build with its own `.venv`, as `make install` makes it. Both take turns. A
command is timed as a whole process with all that it starts: seconds, and processor seconds of all its processes.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import Report, in_turns, median_ratio

OURS = Path(__file__).parent.parent
BITS = ("16", "32", "64", "128")


@dataclass(frozen=True)
class Build:
    """A checkout with an environment of its own."""

    checkout: Path

    def run(self, arguments: Sequence[str]) -> tuple[float, float]:
        """Seconds of a command, and processor seconds of it and of all that it starts."""
        command = [str(self.checkout / ".venv" / "bin" / "relahash"), *arguments]
        environment = os.environ | {"PYTHONPATH": str(self.checkout)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def study(self, epochs: Sequence[str]) -> float:
        """Seconds of the two commands of `make study`."""
        with tempfile.TemporaryDirectory() as folder:
            place = ["--results-dir", folder]
            sweep, _ = self.run(["sweep", "--bits", *BITS, *epochs, *place])
            figures, _ = self.run(["figures", "--dataset", "fashion_mini", *place])
        return sweep + figures

    def overhead(self, epochs: Sequence[str]) -> dict[str, float]:
        """What one run takes beside its training: seconds, and processor seconds with one thread."""
        with tempfile.TemporaryDirectory() as folder:
            seconds, processor = self.run(["train", "--bits", "64", *epochs, "--results-dir", folder])
            (path,) = Path(folder).glob("runs/*/run.json")
            report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        training = report["seconds"]["training"]
        return {"seconds": seconds - training, "processor": processor - training * report["hardware"]["threads"]}


def run(options, report: Report) -> None:
    if options.against is None:
        sys.exit("study: --against: None given; needed: a checkout of another build with its .venv")
    ours = Build(OURS)
    other = Build(Path(options.against).absolute())
    epochs = ["--epochs", "1"] if options.quick else []
    studies = in_turns({"ours": lambda: ours.study(epochs), "other": lambda: other.study(epochs)}, options.rounds)
    measured = {"make study, s": studies}
    for unit in ("seconds", "processor"):
        measured[f"a run beside its training, {unit}"] = {"ours": [], "other": []}
    for _ in range(options.rounds):
        for name, build in (("ours", ours), ("other", other)):
            for unit, value in build.overhead(["--epochs", "1"]).items():
                measured[f"a run beside its training, {unit}"][name].append(value)
    rows = [[what, *compare(values)] for what, values in measured.items()]
    report.table("The study on the embedded data.", ["what", "ours", "the other build", "ours / other"], rows)
    report.measured |= measured


def compare(values: dict[str, list[float]]) -> list[str]:
    """The medians of both builds, and that of their ratios."""
    medians = [f"{statistics.median(values[name]):.1f}" for name in ("ours", "other")]
    return [*medians, f"{median_ratio(values['ours'], values['other']):.2f}"]

"""Figures as files that name the runs they show."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relahash_nb.files import write
from relahash_nb.paths import project_path


def save_figure(drawn: Any, name: str, results_dir: Path | str, runs: Sequence[str]) -> Path:
    """Writes a figure to `<results_dir>/figures/<name>.png` and `.svg`, with the ids of the runs that it shows.

    Args:
        drawn: A matplotlib figure, or axes.
        name: What is no letter, digit, dot, hyphen or underscore becomes a dot.
        results_dir: The folder that holds `runs/`.
        runs: The run ids.

    Returns:
        The path of the PNG.
    """
    figure = getattr(drawn, "figure", drawn)
    path = project_path(results_dir) / "figures" / (re.sub(r"[^A-Za-z0-9._-]+", ".", name) + ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"Source": " ".join(runs)}
    write(path, functools.partial(figure.savefig, dpi=200, metadata=facts))
    write(path.with_suffix(".svg"), functools.partial(figure.savefig, dpi=200, metadata=facts | {"Date": None}))
    return path

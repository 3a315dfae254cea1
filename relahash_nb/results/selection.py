"""Which runs an analysis looks at, and the figures that come of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import SETTING_FIELDS
from relahash_nb.files import write
from relahash_nb.results.files import Run, load_run, results_place
from relahash_nb.results.tables import load_runs, summarize

SETTINGS = ["fingerprint", "backbone", "image_size", "epochs"]  # that runs have in common where they are compared
# Of a loss, likewise.
OPTIONS = [name for name in SETTING_FIELDS if name not in (*SETTINGS, "dataset", "bits", "loss")]


def select_runs(
    results_dir: Path | str = "results",
    dataset: str | None = None,
    bits: Sequence[int] | None = None,
    losses: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """The finished runs that can be compared: one data set, one setting, one run for each loss, bits and seed.

    Where there are several settings (backbone, pixels, epochs; then, for each loss, its options and the like), those
    that most runs have are taken, and one line says how many runs are left aside.

    Args:
        results_dir: The folder that holds `runs/`; see `results_place`.
        dataset: As in the tables: the name, and for a folder its last name too, `lists corel5k`; None: of most runs.
        bits: Lengths of code; None: all.
        losses: Names, in the order wanted; None: all, `relahash` first.
        seeds: None: all.

    Returns:
        A run a row, as `summarize` has it, with its `folder`; in the order of losses, bits and seeds.

    Raises:
        ValueError: There is no such run; the line says which command makes it.
    """
    bits, losses, seeds = (_listed(wanted) for wanted in (bits, losses, seeds))
    found = load_runs(results_place(results_dir))
    if len(found):
        found = summarize(found).merge(found[["run_id", "folder"]], on="run_id")
        dataset = dataset or found["data"].mode()[0]
        found = found[found["data"] == dataset]
    for name, wanted in (("bits", bits), ("loss", losses), ("seed", seeds)):
        if len(found) and wanted is not None:
            found = found[found[name].isin(wanted)]
    if not len(found):
        command = _command(dataset, bits, losses, seeds, results_dir)
        raise ValueError(f"{Path(results_dir, 'runs')}: no finished run to look at; this makes it: {command}")
    chosen = _most_common(found, SETTINGS)
    chosen = pd.concat([_most_common(rows, OPTIONS) for _, rows in chosen.groupby("loss")])
    chosen = chosen.drop_duplicates(["loss", "bits", "seed"])
    if len(chosen) < len(found):
        print(f"{len(found) - len(chosen)} of {len(found)} runs have other settings, and are left aside")
    order = list(losses or sorted(chosen["loss"].unique(), key=lambda loss: (loss != "relahash", loss)))
    chosen = chosen.assign(place=chosen["loss"].map(order.index)).sort_values(["place", "bits", "seed"])
    return chosen.drop(columns="place").reset_index(drop=True)


def load_shown(runs: pd.DataFrame, bits: int | None = None) -> dict[str, Run]:
    """One run of each loss, of the least seed: those whose codes are looked at.

    Args:
        runs: As `select_runs` gives them.
        bits: Length of code; None: 64 where all losses have it, else the longest that they share.

    Returns:
        Runs by the name of their loss.

    Raises:
        ValueError: No run has so many bits.
    """
    shared = set.intersection(*(set(rows["bits"]) for _, rows in runs.groupby("loss")))
    if bits is None and shared:
        bits = 64 if 64 in shared else max(shared)
    rows = runs[runs["bits"] == bits].drop_duplicates("loss")  # the seeds rise
    if not len(rows):
        raise ValueError(f"shown_bits: {bits} given; allowed: {', '.join(map(str, sorted(runs['bits'].unique())))}")
    return {row.loss: load_run(Path(row.folder)) for row in rows.itertuples()}


def load_histories(runs: pd.DataFrame) -> pd.DataFrame:
    """All epochs of several runs as one table, with `run_id`, `loss`, `bits` and `seed`.

    Args:
        runs: As `select_runs` gives them. Runs without training add nothing.
    """
    names = ["run_id", "loss", "bits", "seed"]
    return pd.concat(
        [load_run(Path(row["folder"])).history.assign(**row[names]) for _, row in runs.iterrows()], ignore_index=True
    )


def save_figure(drawn: Any, name: str, results_dir: Path | str, runs: Sequence[str]) -> Path:
    """Writes a figure to `<results_dir>/figures/<name>.png` and `.svg`, each whole or not at all.

    Args:
        drawn: A matplotlib figure, or one of its axes.
        name: Of the file; what does not belong in one becomes a dot.
        results_dir: The folder that holds `runs/`.
        runs: Run ids; they stand in both files as their source.

    Returns:
        The PNG.
    """
    figure = getattr(drawn, "figure", drawn)
    path = Path(results_place(results_dir), "figures", re.sub(r"[^A-Za-z0-9._-]+", ".", name) + ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    source = " ".join(runs)
    facts = {".png": {"Source": source}, ".svg": {"Source": source, "Date": None}}
    for suffix, metadata in facts.items():
        write(
            path.with_suffix(suffix), lambda file, metadata=metadata: figure.savefig(file, dpi=200, metadata=metadata)
        )
    return path


def _listed(wanted: Any) -> list[Any] | None:
    """A single value as a list of one."""
    return wanted if wanted is None else [wanted] if isinstance(wanted, str | int) else list(wanted)


def _most_common(runs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The runs of the combination of values that most of them have."""
    keys = runs[list(names)].map(repr).agg(" ".join, axis=1)
    return runs[keys == keys.mode()[0]]


def _command(dataset: str | None, bits: Any, losses: Any, seeds: Any, results_dir: Path | str) -> str:
    """The command line that makes the runs."""
    name, _, folder = (dataset or "").partition(" ")
    given = {"dataset": name or None, "root": f"…/{folder}" if folder else None, "bits": bits, "loss": losses}
    given |= {"seed": seeds, "results-dir": None if str(results_dir) == "results" else results_dir}
    options = [
        f"--{name} {' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in given.items()
        if value is not None
    ]
    return " ".join(["relahash sweep", *options])

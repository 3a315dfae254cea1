"""Which of the finished runs an analysis looks at: those of one setting."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.paths import package_file, project_path
from relahash_nb.results.runs import Run, load_run
from relahash_nb.results.tables import (
    COLUMN_TYPES,
    METHOD,
    SHARED,
    as_times,
    distinct,
    load_runs,
    matching,
    read_table,
    summarize,
    with_types,
)

PUBLISHED = "docs/results"


def results_or_published(results_dir: Path | str = "results") -> Path:
    """A results folder; or, where the default one has no finished run yet, the published folder, which is said."""
    folder = project_path(results_dir)
    if str(results_dir) != "results" or any(folder.glob("runs/*/run.json")):
        return Path(results_dir)
    try:
        published = package_file(f"{PUBLISHED}/runs").parent
    except FileNotFoundError:  # installed without them
        return Path(results_dir)
    print(f"no finished run in {folder}: these are published ones; `make study` makes your own")
    return published


def read_published(name: str, made_by: str, folder: Path | str | None = None) -> pd.DataFrame:
    """A published table; where it is not there, an empty one, and a line says what makes it.

    Args:
        name: Such as `grid` for `docs/results/grid.csv`.
        made_by: The command.
        folder: That holds the tables; None: `docs/results`.
    """
    try:
        path = Path(folder, f"{name}.csv") if folder else package_file(f"{PUBLISHED}/{name}.csv")
        table = pd.read_csv(path, dtype=COLUMN_TYPES, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        print(f"{name}.csv is not among the published tables yet: `{made_by}` makes its runs")
        return pd.DataFrame()
    return with_types(table) if "fingerprint" in table else table


def select_budgets(runs: pd.DataFrame, dataset: str, **setting: Any) -> dict[str, pd.DataFrame]:
    """The runs on a data set by what chose their options: `defaults`, or a search such as `24 trials, new images`.

    Args:
        runs: As `distinct` gives them.
        dataset: As in the tables, such as `lists corel5k`.
        **setting: As for `select_runs`.

    Returns:
        Of each, the runs of the most complete setting.

    Raises:
        ValueError: There is no such run.
    """
    existing = ", ".join(sorted(runs["data"].unique()))
    runs = matching(runs, {"dataset": dataset, **setting})
    if runs.empty:
        raise ValueError(f"dataset: {dataset!r} given, and no run is like that; there are runs on {existing}")
    budgets = runs["tuning"].fillna("defaults")
    names = sorted(budgets.unique(), key=lambda name: (name != "defaults", name))
    return {name: in_order(most_complete(runs[budgets == name], SHARED), None) for name in names}


def select_runs(
    results_dir: Path | str | None = "results",
    dataset: str | None = None,
    bits: Sequence[int] | None = None,
    losses: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    variants: bool = False,
    **setting: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished runs of the most complete setting, one for each method, bits and seed; and the others.

    Args:
        results_dir: The folder that holds `runs/`; as for `results_or_published`. None: the published table of runs,
            `docs/results/summary.csv`, whose rows have no `folder`.
        dataset: As in the tables: the name, and for a folder its last name too, such as `lists corel5k`.
        bits: Code lengths; None, as for what follows: all.
        losses: Names, in the order wanted; None: `relahash` first.
        seeds: As given to the runs.
        variants: Keep a loss with several options as several methods; otherwise its most complete options are taken.
        **setting: Any other field of a setting, such as `lr=0.01`: a value or a list of them. None is a missing value:
            `tuning=None` are the runs of no search.

    Returns:
        The chosen runs, as `summarize` has them, with `method` and `folder`, sorted by loss, bits and seed. And the
        runs that meet the arguments too, but are of other settings.

    Raises:
        ValueError: There is no such run, and it is said which command makes it; or a name is no field.
    """
    arguments = {"dataset": dataset, "bits": bits, "loss": losses, "seed": seeds}
    filters = {name: value for name, value in arguments.items() if value is not None} | setting
    finished = read_finished(results_dir)
    existing = ""
    runs = finished
    if not finished.empty:
        existing = f" (there are runs on {', '.join(finished['data'].unique())})"
        runs = matching(distinct(finished), filters)
    if runs.empty:
        place = f"{PUBLISHED}/summary.csv" if results_dir is None else Path(results_dir, "runs")
        command = make_command(filters | {"results_dir": results_dir or "results"})
        raise ValueError(f"{place}: no finished run to look at{existing}; this makes it: {command}")
    chosen = most_complete(runs, SHARED)
    if not variants:
        chosen = pd.concat([most_complete(same_loss, METHOD) for _, same_loss in chosen.groupby("loss", sort=False)])
    others = runs[~runs["run_id"].isin(chosen["run_id"])]
    return in_order(chosen, losses), others


def read_finished(results_dir: Path | str | None) -> pd.DataFrame:
    """The finished runs of a folder as `summarize` has them, with `folder`; of None the published table."""
    if results_dir is None:
        return read_table(package_file(f"{PUBLISHED}/summary.csv"))
    finished = load_runs(results_or_published(results_dir))
    if finished.empty:
        return finished
    return summarize(finished).merge(finished[["run_id", "folder"]], on="run_id")


def most_complete(runs: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """The runs of the setting of these fields that has most of them; of several, of the one that finished last."""
    settings = [same for _, same in runs.groupby(list(fields), sort=False, dropna=False)]
    return max(settings, key=lambda same: (len(same), as_times(same["finished"]).max()))


def in_order(runs: pd.DataFrame, losses: Sequence[str] | None) -> pd.DataFrame:
    """The runs by loss, bits and seed: first the named losses, then `relahash`, then the others by name."""
    order = [losses] if isinstance(losses, str) else list(losses or [])
    order += ["relahash", *sorted(runs["loss"].unique())]
    places = runs["loss"].map(order.index)
    runs = runs.assign(place=places).sort_values(["place", "method", "bits", "seed"], ignore_index=True)
    return runs.drop(columns="place")


def make_command(filters: Mapping[str, Any]) -> str:
    """The command line of a sweep that makes runs which meet the filters."""
    words = ["relahash", "sweep"]
    for name, value in filters.items():
        if name == "results_dir" and str(value) == "results":
            continue
        values = list(value) if isinstance(value, list | tuple | range) else [value]
        if name == "dataset" and " " in value:
            dataset, folder = value.split(" ", 1)
            values = [dataset, "--root", f"path/to/{folder}"]
        words += [f"--{name.replace('_', '-')}", *(str(one) for one in values)]
    return shlex.join(words)


def load_shown(runs: pd.DataFrame, bits: int | None = None) -> dict[str, Run]:
    """The run with the lowest seed of each method, whose codes are shown.

    Args:
        runs: As `select_runs` chooses them.
        bits: Of the codes; None: 64 where all methods have it, else the longest that they share.

    Raises:
        ValueError: No run has so many bits.
    """
    if bits is None:
        shared = set.intersection(*(set(same_method["bits"]) for _, same_method in runs.groupby("method")))
        bits = 64 if 64 in shared else max(shared, default=None)
    shown = runs[runs["bits"] == bits].drop_duplicates("method")  # the seeds rise
    if shown.empty:
        raise ValueError(f"shown_bits: {bits} given; allowed: {', '.join(map(str, sorted(runs['bits'].unique())))}")
    return {run.method: load_run(run.folder) for run in shown.itertuples()}


def load_histories(runs: pd.DataFrame) -> pd.DataFrame:
    """All epochs of the runs as one table, with `run_id`, `loss`, `bits` and `seed`; a baseline adds its one record."""
    histories = []
    for run in runs[["run_id", "loss", "bits", "seed", "folder"]].to_dict("records"):
        history = load_run(run.pop("folder")).history
        histories.append(history.assign(**run))
    return pd.concat(histories, ignore_index=True)

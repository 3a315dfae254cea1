"""All finished runs as tables, over one definition of a setting: data fingerprint and `RunConfig`'s setting fields."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import BASELINE_NAMES, SETTING_FIELDS, project_path
from relahash_nb.files import write
from relahash_nb.results.contents import clean
from relahash_nb.results.runs import Run, load_run, read_runs

SETTING = tuple(dict.fromkeys(("fingerprint", *SETTING_FIELDS, "eval_interval")))
OPTIONS = (
    "loss_options",
    "beta",
    "margin",
    "centroids",
)  # with bits and loss, what methods of one comparison may differ in
SHARED = [name for name in SETTING if name not in ("bits", "loss", *OPTIONS)]
PLACES = ("root", "folder", "device", "compile", "data_dir", "results_dir", "checkpoint_minutes", "fresh",
          "max_megapixels", "cache_gigabytes")  # fmt: skip
SCHEMA_1 = {"relahash": {"beta": 8, "margin": 0.5}, "orthohash": {"margin": 0.2}, "orthohash_arc": {"margin": 0.2},
            "dpn": {"margin": 1}}  # written then for None, and still the default  # fmt: skip
NUMBERS = ["worst", "best", "quantization_error", "seconds_training"]


def load_runs(results_dir: Path | str = "results") -> pd.DataFrame:
    """All finished runs, one a row: run id, config, scores, seconds, hardware, versions, command, folder.

    Example:
        >>> load_runs("no/such/folder").empty
        True
    """
    return pd.DataFrame(
        {
            "run_id": run.report["run_id"],
            "finished": run.report.get("finished"),
            **run.config.to_dict(),
            **run.report["scores"],
            **{f"seconds_{stage}": value for stage, value in run.report["seconds"].items()},
            **run.report["hardware"],
            **run.report["versions"],
            "command": run.config.command,
            "fingerprint": run.report["data"]["fingerprint"],
            "folder": str(run.folder),
        }
        for run in read_runs(results_dir)
    )


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, at least one, without what names a place on this machine: `summary.csv`."""

    def portable(value: Any) -> Any:
        return f".../{Path(value).name}" if isinstance(value, str) and Path(value).is_absolute() else value

    def command(text: str) -> str:
        words = iter(shlex.split(text))
        return shlex.join(portable(w) for w in words if w not in ("--data-dir", "--results-dir") or not next(words, 1))

    roots = runs["root"].map(lambda root: "" if pd.isna(root) else f" {clean(Path(root).name)}")
    summary = runs.drop(columns=list(PLACES), errors="ignore").map(portable)
    summary = summary.assign(data=runs["dataset"] + roots, command=runs["command"].map(command))
    return summary.sort_values(["data", "loss", "bits", "seed"]).reset_index(drop=True)


def text(value: Any) -> str:
    """A value of a setting as text, the same from JSON, CSV and the command line."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    if value is None or value != value:  # NaN: what pandas makes of None
        return "None"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def distinct(runs: pd.DataFrame) -> pd.DataFrame:
    """The latest run of each setting and seed, the setting's fields as text; `method` names a loss and its options."""
    runs = runs.assign(**{name: runs[name].map(text) if name in runs else "None" for name in SETTING if name != "bits"})
    for name in ("beta", "margin"):
        usual = [text(SCHEMA_1.get(loss, {}).get(name)) for loss in runs["loss"]]
        runs[name] = runs[name].where(runs[name] != usual, "None")
    if "validation_per_class" in runs:
        runs["eval_interval"] = runs["eval_interval"].where(~runs["validation_per_class"].isin(["0", "None"]), "None")
    if "finished" in runs:
        runs = runs.sort_values("finished", kind="stable")
    runs = runs.drop_duplicates([*SETTING, "seed"], keep="last").sort_index()
    return runs.assign(method=[name_method(row) for row in runs.to_dict("records")])


def name_method(run: Mapping[str, Any]) -> str:
    """A loss by its name, with the options that were given.

    Example:
        >>> name_method({"loss": "relahash", "beta": "None", "margin": "0.3", "loss_options": "None"})
        'relahash (margin 0.3)'
    """
    usual = (
        {"centroids": ("max_hamming", "None")}
        if run["loss"] not in BASELINE_NAMES
        else {"centroids": (run.get("centroids"),)}
    )
    given = [f"{name} {run[name]}" for name in OPTIONS if run.get(name, "None") not in usual.get(name, ("None",))]
    return f"{run['loss']} ({', '.join(given)})" if given else run["loss"]


def matching(runs: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """The runs with the wanted value, or one of several, in each field; ValueError for a field that is none."""
    for name, wanted in filters.items():
        if name not in runs:
            raise ValueError(f"{name}: no such field; allowed: data, seed, {', '.join(SETTING)}")
        values = [text(one) for one in (wanted if isinstance(wanted, list | tuple | range) else [wanted])]
        keep = runs[name].map(text).isin(values)
        runs = runs[keep | runs["data"].isin(values) if name == "dataset" else keep]
    return runs


def most_complete(runs: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """The runs of the setting of these fields that has most of them; of several, of the one finished last."""
    groups = [rows for _, rows in runs.groupby(list(fields), sort=False)]
    return max(groups, key=lambda rows: (len(rows), str(rows["finished"].max()) if "finished" in rows else ""))


def left_out(found: pd.DataFrame, chosen: pd.DataFrame) -> list[str]:
    """A line for each way in which runs differ from the chosen ones, with the first field that would choose them."""
    counts: dict[str, list[str]] = defaultdict(list)
    for row in found[~found["run_id"].isin(chosen["run_id"])].to_dict("records"):
        alike = chosen[chosen["loss"] == row["loss"]] if row["loss"] in set(chosen["loss"]) else chosen
        fields = [
            name for name in ("data", *SETTING) if name not in ("bits", "loss") and row[name] not in set(alike[name])
        ]
        fields = fields or [name for name in SETTING if row[name] != alike.iloc[0][name]]
        words = [f"{name}={row[name]}" for name in (fields[:1] if fields[0] == "data" else fields)]
        counts[f"{', '.join(words)}; choose with {words[0].replace('data=', 'dataset=')}"].append(row["run_id"])
    return [f"left out: {len(runs)} run{'s' * (len(runs) > 1)} with {clean(words)}" for words, runs in counts.items()]


def select_runs(
    results_dir: Path | str = "results",
    dataset: str | None = None,
    bits: Sequence[int] | None = None,
    losses: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    variants: bool = False,
    **setting: Any,
) -> pd.DataFrame:
    """The finished runs of the most complete setting, one for each method, bits and seed; prints what it leaves out.

    Args:
        results_dir: The folder that holds `runs/`.
        dataset: As in the tables: the name, and for a folder its last name too, such as `lists corel5k`.
        bits: Lengths of code.
        losses: Names, in the order wanted; None: all, `relahash` first.
        seeds: As given to the runs.
        variants: Keep a loss with several options as several methods; otherwise its most complete options are taken.
        **setting: Any other field of a setting, such as `lr=0.01`; a value or a list of them.

    Returns:
        A run a row, as `summarize` has it, with `method` and `folder`; in the order of losses, bits and seeds.

    Raises:
        ValueError: There is no such run; the line says which command makes it.
    """
    wanted = {"dataset": dataset, "bits": bits, "loss": losses, "seed": seeds}
    filters = {name: value for name, value in wanted.items() if value is not None} | setting
    runs = load_runs(results_dir)
    known = ""
    if len(runs):
        runs = distinct(summarize(runs).merge(runs[["run_id", "folder"]], on="run_id"))
        known = f" (there are runs on {', '.join(runs['data'].unique())})"
        runs = matching(runs, filters)
    if runs.empty:
        command = make_command(filters | {"results_dir": results_dir})
        raise ValueError(f"{Path(results_dir, 'runs')}: no finished run to look at{known}; this makes it: {command}")
    chosen = most_complete(runs, SHARED)
    if not variants:
        chosen = pd.concat([most_complete(rows, OPTIONS) for _, rows in chosen.groupby("loss", sort=False)])
    for line in left_out(runs, chosen):
        print(line)
    order = [losses] if isinstance(losses, str) else list(losses or [])
    order += ["relahash", *sorted(chosen["loss"].unique())]
    chosen = chosen.assign(place=chosen["loss"].map(order.index)).sort_values(["place", "method", "bits", "seed"])
    return chosen.drop(columns="place").reset_index(drop=True)


def make_command(filters: Mapping[str, Any]) -> str:
    """The command line that makes such runs."""
    words = ["relahash", "sweep"]
    for name, value in filters.items():
        if name == "dataset" and " " in value:
            value = [value.split()[0], "--root", f"path/to/{value.split(' ', 1)[1]}"]
        values = value if isinstance(value, list | tuple | range) else [value]
        words += (
            []
            if (name, str(value)) == ("results_dir", "results")
            else [f"--{name.replace('_', '-')}", *map(str, values)]
        )
    return shlex.join(words)


def load_shown(runs: pd.DataFrame, bits: int | None = None) -> dict[str, Run]:
    """The run of least seed of each method: those whose codes are looked at.

    Args:
        runs: As `select_runs` gives them.
        bits: Length of code; None: 64 where all methods have it, else the longest that they share.

    Raises:
        ValueError: No run has so many bits.
    """
    shared = set.intersection(*(set(rows["bits"]) for _, rows in runs.groupby("method")))
    if bits is None and shared:
        bits = 64 if 64 in shared else max(shared)
    rows = runs[runs["bits"] == bits].drop_duplicates("method")  # the seeds rise
    if not len(rows):
        raise ValueError(f"shown_bits: {bits} given; allowed: {', '.join(map(str, sorted(runs['bits'].unique())))}")
    return {row.method: load_run(row.folder) for row in rows.itertuples()}


def load_histories(runs: pd.DataFrame) -> pd.DataFrame:
    """All epochs of the runs as one table, with `run_id`, `loss`, `bits` and `seed`; a baseline adds its one record."""
    names = ["run_id", "loss", "bits", "seed"]
    return pd.concat(
        [load_run(row["folder"]).history.assign(**row[names]) for _, row in runs.iterrows()], ignore_index=True
    )


def save_figure(drawn: Any, name: str, results_dir: Path | str, runs: Sequence[str]) -> Path:
    """Writes a matplotlib figure to `<results_dir>/figures/<name>.png` and `.svg`, with its run ids; gives the PNG."""
    figure = getattr(drawn, "figure", drawn)
    path = project_path(results_dir) / "figures" / (re.sub(r"[^A-Za-z0-9._-]+", ".", name) + ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, date in ((".png", {}), (".svg", {"Date": None})):
        about = {"Source": " ".join(runs)} | date
        write(path.with_suffix(suffix), lambda file, about=about: figure.savefig(file, dpi=200, metadata=about))
    return path


def average(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Seeds, mean and deviation of the mean average precision, and the means of other numbers, by the keys."""
    groups = runs.groupby(list(keys), sort=False, dropna=False)
    score = groups["mean_average_precision"]
    means = pd.DataFrame({"seeds": groups["seed"].nunique(), "mean": score.mean(), "deviation": score.std()})
    return means.join(groups[NUMBERS].mean()).reset_index()


def report(results_dir: Path | str = "results", format: str = "markdown", **filters: Any) -> str:
    """Mean ± deviation over the seeds: a row for each data set and loss and what else differs, bits as columns.

    Args:
        results_dir: The folder that holds `runs/`.
        format: `markdown`, `latex`, or `csv` with a row for each number of bits, and the bounds of ties.
        **filters: Any field of a setting, or `seed`: a value or a list of them.

    Raises:
        ValueError: The format or a field is unknown, or no run is left.
    """
    runs = load_runs(results_dir)
    runs = matching(distinct(summarize(runs)), filters) if len(runs) else runs
    if runs.empty:
        raise ValueError(
            f"no finished run{' like these' * bool(filters)} in {results_dir}/runs; relahash train makes one"
        )
    return table(runs, format)


def table(runs: pd.DataFrame, format: str = "markdown") -> str:
    """The table of `report`, of runs as `summarize` gives them."""
    if format not in ("markdown", "csv", "latex"):
        raise ValueError(f"format: {format!r} given; allowed: markdown, csv, latex")
    runs = distinct(runs)
    keys = ["data", "backbone", "image_size", "epochs", "loss"]
    hidden = [name for name in SETTING if name not in (*keys, "bits", "dataset")]
    keys += [name for name in hidden if (runs.groupby("data")[name].nunique() > 1).any()]
    rows = average(runs.sort_values([*keys, "bits"]), [*keys, "bits"])
    if format == "csv":
        return rows.map(lambda value: clean(value) if isinstance(value, str) else value).to_csv(index=False)
    spread = rows["deviation"].map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    cells = rows.assign(cell=rows["mean"].map("{:.4f}".format) + spread, bits=rows["bits"].map("{} bits".format))
    counts = rows.groupby(keys, sort=False)["seeds"].agg(["min", "max"]).astype(str)
    seeds = counts["min"].where(counts["min"] == counts["max"], counts["min"] + "–" + counts["max"]).rename("seeds")
    order = [f"{bits} bits" for bits in sorted(rows["bits"].unique())]
    wide = cells.pivot(index=keys, columns="bits", values="cell")[order].fillna("")
    wide = seeds.to_frame().join(wide).reset_index().map(clean)
    if format == "latex":
        return wide.to_latex(index=False, escape=True).replace("±", r"$\pm$").replace("–", "--")
    lines = [
        list(wide),
        ["---"] * wide.shape[1],
        *([cell.replace("|", "\\|") for cell in row] for row in wide.values),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

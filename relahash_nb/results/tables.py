"""All finished runs as tables, over one definition of a setting: data fingerprint and `RunConfig`'s setting fields."""

import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb import registry
from relahash_nb.config import SETTING_FIELDS, TUNED_FIELDS, RunConfig
from relahash_nb.files import write
from relahash_nb.paths import project_path
from relahash_nb.registry import BASELINES
from relahash_nb.results.runs import Run, clean, load_run, read_run

SETTING = ("fingerprint", *SETTING_FIELDS, "eval_interval")  # the last is None where no epoch is chosen
METHOD = ("loss", "loss_options", "beta", "margin", "centroids")  # with bits, what runs of one comparison may differ in
SHARED = [name for name in SETTING if name not in ("bits", *METHOD)]
NUMBERS = ["worst", "best", "quantization_error", "seconds_training"]
SAID: set[str] = set()  # damages that this process has already named


def read_runs(results_dir: Path | str) -> Iterator[Run]:
    """The finished runs by name; a damaged one is left out, and named once on stderr."""
    for folder in sorted(project_path(results_dir).glob("runs/*")):
        try:
            if (run := read_run(folder)) is not None:
                yield run
        except ValueError as error:
            if str(error) not in SAID:
                print(f"left out: {error}", file=sys.stderr)
            SAID.add(str(error))


def finished_runs(results_dir: Path | str = "results", first: str | None = None) -> dict[str, Run]:
    """The finished runs of a results folder by their ids, the last one finished first, or the one named `first`.

    A ValueError says which command makes a run, or that there is none of that name.
    """
    latest = sorted(read_runs(results_dir), key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
    runs, place = {run.folder.name: run for run in latest}, (project_path(results_dir) / "runs").absolute()
    if not runs:
        raise ValueError(f"no finished run in {place}; `relahash train` makes one, `make study` those of the study")
    if first not in (None, *runs):
        raise ValueError(f"run_id: {first!r} given; finished in {place}: {', '.join(runs)}")
    return runs if first is None else {first: runs[first], **runs}


def describe_setting(config: RunConfig) -> dict[str, Any]:
    """A config's data by name (of a folder, with its last name), and its setting as tables have it."""
    root = "" if config.root is None else f" {clean(Path(config.root).name)}"
    return {"data": f"{config.dataset}{root}", "eval_interval": None} | config.setting()


def load_runs(results_dir: Path | str = "results") -> pd.DataFrame:
    """All finished runs, one per row: run id, setting, seed, scores, seconds, hardware, versions, command, folder.

    A `beta` or `margin` that was not given is the loss's own, as the run recorded it.
    """
    return pd.DataFrame(
        {
            "run_id": run.report["run_id"],
            "finished": run.report.get("finished"),
            **describe_setting(run.config),
            **{name: value for name, value in run.report["loss_options"].items() if name in ("beta", "margin")},
            "seed": run.config.seed,
            **run.report["scores"],
            **{f"seconds_{stage}": value for stage, value in run.report["seconds"].items()},
            **run.report["hardware"],
            **run.report["versions"],
            "command": run.config.replace(data_dir="data", results_dir="results").command,
            "fingerprint": run.report["data"]["fingerprint"],
            "folder": str(run.folder),
        }
        for run in read_runs(results_dir)
    )


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, at least one, without what names a place on this machine: `summary.csv`."""

    def portable(value: Any) -> Any:
        value = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        return f".../{Path(value).name}" if isinstance(value, str) and Path(value).is_absolute() else value

    commands = [shlex.join(map(portable, shlex.split(line))) for line in runs["command"]]
    summary = runs.drop(columns="folder").map(portable).assign(command=commands)
    return summary.sort_values(["data", "loss", "bits", "seed"], ignore_index=True)


def text(value: Any) -> str:
    """A value of a setting as text, the same from JSON, CSV and the command line."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    if value is None or value != value:  # NaN: what pandas makes of None
        return "None"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def distinct(runs: pd.DataFrame) -> pd.DataFrame:
    """The latest run of each setting and seed, the setting's fields as text; `method` names a loss and its options."""
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, *SETTING, "finished"])))
    runs = runs.assign(**{name: runs[name].map(text) for name in SETTING if name != "bits"})
    runs.loc[runs["tuning"] != "None", list(TUNED_FIELDS)] = "tuned"  # a search's choices are one setting
    runs = runs.sort_values("finished", kind="stable").drop_duplicates([*SETTING, "seed"], keep="last").sort_index()
    return runs.assign(method=[name_method(row) for row in runs.to_dict("records")])


def name_method(run: Mapping[str, str]) -> str:
    """A loss by its name, with the options that are not its defaults."""
    if run.get("tuning", "None") != "None":
        return run["loss"]
    options = json.loads(run["loss_options"]) if run["loss_options"] != "None" else {}
    usual = {"centroids": RunConfig.model_fields["centroids"].default} | registry.default_options(registry.load(registry.LOSSES | registry.BASELINES, run["loss"]))
    options |= {name: run[name] for name in METHOD[2:] if run[name] not in ("None", text(usual.get(name)))}
    if run["loss"] in BASELINES:
        options.pop("centroids", None)
    given = ", ".join(f"{name} {text(value)}" for name, value in options.items())
    return f"{run['loss']} ({given})" if given else run["loss"]


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
    groups = runs.groupby(list(fields), sort=False)
    return max((rows for _, rows in groups), key=lambda rows: (len(rows), str(rows["finished"].max())))


def left_out(found: pd.DataFrame, chosen: pd.DataFrame) -> list[str]:
    """A line for each way in which runs differ from the chosen ones, with the first field that would choose them."""
    counts: Counter[str] = Counter()
    names = ["data", "tuning", *(name for name in SETTING if name not in ("bits", "loss", "tuning"))]
    for row in found[~found["run_id"].isin(chosen["run_id"])].to_dict("records"):
        alike = chosen[chosen["loss"] == row["loss"]] if row["loss"] in set(chosen["loss"]) else chosen
        fields = [name for name in names if row[name] not in set(alike[name])]
        fields = fields or [name for name in names if row[name] != alike.iloc[0][name]]
        words = [f"{name}={row[name]}" for name in (fields[:1] if fields[0] in names[:2] else fields)]
        counts[f"{', '.join(words)}; choose with {words[0].replace('data=', 'dataset=')}"] += 1
    return [f"left out: {count} run{'s' * (count > 1)} with {clean(words)}" for words, count in counts.items()]


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
        bits: Code lengths; None, as for what follows: all.
        losses: Names, in the order wanted; None: `relahash` first.
        seeds: As given to the runs.
        variants: Keep a loss with several options as several methods; otherwise its most complete options are taken.
        **setting: Any other field of a setting, such as `lr=0.01`; a value or a list of them.

    Returns:
        One run per row, as `summarize` has it, with `method` and `folder`; sorted by loss, bits and seed. Where there
        is none, a ValueError says which command makes it.
    """
    wanted = {"dataset": dataset, "bits": bits, "loss": losses, "seed": seeds}
    filters = {name: value for name, value in wanted.items() if value is not None} | setting
    runs, known = load_runs(results_dir), ""
    if len(runs):
        runs = distinct(summarize(runs).merge(runs[["run_id", "folder"]], on="run_id"))
        known = f" (there are runs on {', '.join(runs['data'].unique())})"
        runs = matching(runs, filters)
    if runs.empty:
        command = make_command(filters | {"results_dir": results_dir})
        raise ValueError(f"{Path(results_dir, 'runs')}: no finished run to look at{known}; this makes it: {command}")
    chosen = most_complete(runs, SHARED)
    if not variants:
        chosen = pd.concat([most_complete(rows, METHOD) for _, rows in chosen.groupby("loss", sort=False)])
    print(*left_out(runs, chosen), sep="\n", end="\n" * (len(chosen) < len(runs)))
    order = [losses] if isinstance(losses, str) else list(losses or [])
    order += ["relahash", *sorted(chosen["loss"].unique())]
    chosen = chosen.assign(place=chosen["loss"].map(order.index))
    return chosen.sort_values(["place", "method", "bits", "seed"], ignore_index=True).drop(columns="place")


def make_command(filters: Mapping[str, Any]) -> str:
    """The command line that makes such runs."""
    words = ["relahash", "sweep"]
    for name, value in filters.items():
        if name == "dataset" and " " in value:
            value = [value.split()[0], "--root", f"path/to/{value.split(' ', 1)[1]}"]
        if (name, str(value)) != ("results_dir", "results"):
            values = value if isinstance(value, list | tuple | range) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def load_shown(runs: pd.DataFrame, bits: int | None = None) -> dict[str, Run]:
    """The run with the lowest seed of each method of `select_runs`; its codes are shown.

    `bits` None is 64 where all methods have it, else the longest that they share. ValueError: no run has so many bits.
    """
    shared = set.intersection(*(set(rows["bits"]) for _, rows in runs.groupby("method")))
    if bits is None and shared:
        bits = 64 if 64 in shared else max(shared)
    rows = runs[runs["bits"] == bits].drop_duplicates("method")  # the seeds rise
    if rows.empty:
        raise ValueError(f"shown_bits: {bits} given; allowed: {', '.join(map(str, sorted(runs['bits'].unique())))}")
    return {row.method: load_run(row.folder) for row in rows.itertuples()}


def load_histories(runs: pd.DataFrame) -> pd.DataFrame:
    """All epochs of the runs as one table, with `run_id`, `loss`, `bits` and `seed`; a baseline adds its one record."""
    rows = runs[["run_id", "loss", "bits", "seed"]].to_dict("records")
    histories = (load_run(folder).history for folder in runs["folder"])
    return pd.concat([history.assign(**row) for history, row in zip(histories, rows, strict=True)], ignore_index=True)


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


def format_mean(rows: pd.DataFrame) -> pd.Series:
    """What `average` gives, as text: mean ± deviation; the mean alone of one seed."""
    spread = rows["deviation"].map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    return rows["mean"].map("{:.4f}".format) + spread


def format_markdown(table: pd.DataFrame) -> str:
    """A table of texts in Markdown, without its index."""
    lines = [list(table), ["---"] * table.shape[1], *table.map(lambda cell: cell.replace("|", "\\|")).values]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(results_dir: Path | str = "results", format: str = "markdown", **filters: Any) -> str:
    """Mean ± deviation over the seeds: a row for each data set and loss and what else differs, bits as columns.

    The format is `markdown`, `latex`, or `csv` with a row for each number of bits, and the bounds of ties. A filter is
    any field of a setting, or `seed`: a value or a list of them. ValueError: one is unknown, or no run is left.
    """
    runs = load_runs(results_dir)
    filters = {name: wanted for name, wanted in filters.items() if wanted is not None}
    runs = matching(distinct(summarize(runs)), filters) if len(runs) else runs
    if runs.empty:
        like = " like these" * bool(filters)
        place = (project_path(results_dir) / "runs").absolute()
        raise ValueError(f"no finished run{like} in {place}; relahash train makes one")
    return table(runs, format)


def table(runs: pd.DataFrame, format: str = "markdown") -> str:
    """The table of `report`, of runs as `summarize` gives them."""
    if format not in ("markdown", "csv", "latex"):
        raise ValueError(f"format: {format!r} given; allowed: markdown, csv, latex")
    runs = distinct(runs)
    keys = ["data", "backbone", "image_size", "epochs", "loss"]
    hidden = [name for name in SETTING if name not in (*keys, "bits", "dataset", "fingerprint")]
    compared = {"beta": ["data", "loss"], "margin": ["data", "loss"]}  # which are another thing in another loss
    keys += [name for name in hidden if (runs.groupby(compared.get(name, "data"))[name].nunique() > 1).any()]
    keys += ["fingerprint"] if (runs.groupby(keys)["fingerprint"].nunique() > 1).any() else []
    rows = average(runs.sort_values([*keys, "bits"]), [*keys, "bits"])
    if format == "csv":
        return rows.map(lambda value: clean(value) if isinstance(value, str) else value).to_csv(index=False)
    cells = rows.assign(cell=format_mean(rows), bits=rows["bits"].map("{} bits".format))
    counts = rows.groupby(keys, sort=False)["seeds"].agg(["min", "max"]).astype(str)
    seeds = counts["min"].where(counts["min"] == counts["max"], counts["min"] + "–" + counts["max"]).rename("seeds")
    order = [f"{bits} bits" for bits in sorted(rows["bits"].unique())]
    wide = cells.pivot(index=keys, columns="bits", values="cell")[order].fillna("")
    wide = seeds.to_frame().join(wide).reset_index().map(clean)
    if format == "latex":
        return wide.to_latex(index=False, escape=True).replace("±", r"$\pm$").replace("–", "--")
    return format_markdown(wide)

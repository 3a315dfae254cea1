"""Runs as typed tables: a row for each run, over one definition of a setting; and such tables as text.

A setting is the fingerprint of the data, the setting fields of `RunConfig`, and the digests of code of one's own. A
column has the type of its field: numbers are numbers, `finetune` is a boolean, options are JSON, and what is missing is
missing (None, NaN or <NA>).
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import SETTING_FIELDS, TUNED_FIELDS, RunConfig, shorten
from relahash_nb.paths import project_path
from relahash_nb.registry import BASELINES, did_you_mean, loss_defaults
from relahash_nb.results.report import clean
from relahash_nb.results.runs import Run, read_runs

# `eval_interval` is missing where no epoch is chosen, `sources` where no code is of one's own.
SETTING = ("fingerprint", *SETTING_FIELDS, "eval_interval", "sources")
# With bits, what runs of one comparison may differ in.
METHOD = ("loss", "loss_options", "beta", "margin", "centroids", "sources")
SHARED = [name for name in SETTING if name not in ("bits", *METHOD)]
NUMBERS = ["worst", "best", "query_accuracy", "quantization_error", "seconds_training"]
FORMATS = ("markdown", "csv", "latex")
SCORE = "mean_average_precision"  # what a table shows, unless it is asked for another one
LOWER_IS_BETTER = ("quantization_error", "constant_bits", "seconds")  # how their names begin
PANDAS_TYPES = {"integer": "Int64", "number": "float64", "boolean": "boolean"}  # each of them has a missing value


def column_types() -> dict[str, str]:
    """The pandas type of each column that may be missing: of numbers, or `object` for a text."""
    properties = RunConfig.model_json_schema()["properties"]
    types = {"finished": "object", "accelerator": "object", "query_accuracy": "float64"}
    for name in SETTING:
        schema = properties.get(name, {})
        kinds = {choice.get("type") for choice in schema.get("anyOf", [schema])} - {"null"}
        types[name] = PANDAS_TYPES.get(kinds.pop(), "object") if len(kinds) == 1 else "object"
    return types | {"bits": "int64"}  # each run has them


COLUMN_TYPES = column_types()


def with_types(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with all columns of a setting, each of its type.

    A field that is newer than the table has its default.
    """
    runs = runs.copy()
    for name, kind in COLUMN_TYPES.items():
        if name not in runs:
            default = RunConfig.model_fields[name].default if name in SETTING_FIELDS else None
            runs[name] = pd.Series(default, index=runs.index, dtype=kind)
        if kind == "object":
            texts = runs[name].map(as_text, na_action="ignore").astype("object")
            runs[name] = texts.where(texts.notna(), None)
        else:
            runs[name] = runs[name].astype(kind)
    return runs


def as_text(value: Any) -> str:
    """A value of a text column: options as JSON, the same whatever their order."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def describe_setting(config: RunConfig) -> dict[str, Any]:
    """A config's setting as a row of a table, with the data by name; of a folder, with its last name."""
    data = config.dataset
    if config.root is not None:
        data = f"{data} {clean(Path(config.root).name)}"
    return {"data": data, "eval_interval": None, **config.setting()}


def run_command(run: Run) -> str:
    """The command line that repeats a run, with the default folders."""
    threads = run.report.hardware.threads  # an older run's config does not say it
    return run.config.replace(data_dir="data", results_dir="results", threads=threads).command


def load_runs(results_dir: Path | str = "results") -> pd.DataFrame:
    """All finished runs of a results folder, a row for each.

    The columns: run id, setting, seed, scores, seconds by stage, hardware, versions, command, folder. A `beta` or
    `margin` that was not given is the loss's own, as the run recorded it.
    """
    rows = []
    for run in read_runs(results_dir):
        config = run.config
        report = run.report
        constants = {name: value for name, value in report.loss_options.items() if name in ("beta", "margin")}
        row = {
            **report.metrics,  # first: a name of ours goes before
            "run_id": report.run_id,
            "finished": report.finished,
            **describe_setting(config),
            **constants,
            "seed": config.seed,
            **report.scores.model_dump(),
            **{f"seconds_{stage}": value for stage, value in report.seconds.items()},
            **report.hardware.model_dump(),
            **report.versions,
            "command": run_command(run),
            "fingerprint": report.data.fingerprint,
            "sources": report.sources or None,
            "folder": str(run.folder),
        }
        rows.append(row)
    return with_types(pd.DataFrame(rows))


def read_table(path: Path | str) -> pd.DataFrame:
    """The runs of a published table, such as `docs/results/summary.csv`, with the types that `load_runs` gives."""
    return with_types(pd.read_csv(path, dtype=COLUMN_TYPES, keep_default_na=False, na_values=[""]))


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """What `load_runs` gives, without what names a place on this machine: the table to publish."""
    commands = []
    for command in runs["command"]:
        commands.append(shlex.join(without_folder(word) for word in shlex.split(command)))
    summary = runs.drop(columns="folder").assign(command=commands, weights=runs["weights"].map(without_folder))
    return with_types(summary).sort_values(["data", "loss", "bits", "seed"], ignore_index=True)


def without_folder(text: str) -> str:
    """An absolute path as `.../name`; other texts as they are."""
    return f".../{Path(text).name}" if Path(text).is_absolute() else text


def distinct(runs: pd.DataFrame) -> pd.DataFrame:
    """The latest run of each setting and seed, with `method`, which names a loss and its options.

    What a search chose is missing in its row: all of its runs are one setting.
    """
    runs = with_types(runs)
    by_search = runs["tuning"].notna()
    for name in TUNED_FIELDS:
        runs.loc[by_search, name] = None
    latest = runs.sort_values("finished", kind="stable", key=as_times)
    latest = latest.drop_duplicates([*SETTING, "seed"], keep="last").sort_index()
    return latest.assign(method=[name_method(run) for run in latest.to_dict("records")])


def as_times(finished: pd.Series) -> pd.Series:
    """Texts such as `2026-11-27T17:18:06+0100` as times, which compare over time zones; a missing one is the first."""
    return pd.to_datetime(finished, format="ISO8601", utc=True).fillna(pd.Timestamp(0, tz="UTC"))


def name_method(run: Mapping[str, Any]) -> str:
    """A loss by its name, with the options that are not its defaults; of a search, by its name alone."""
    loss = run["loss"]
    if run["tuning"] is not None:
        return loss
    options = {} if run["loss_options"] is None else json.loads(run["loss_options"])
    defaults = {"centroids": RunConfig.model_fields["centroids"].default, **loss_defaults(loss)}
    names = ["beta", "margin"]
    if loss not in BASELINES:
        names.append("centroids")
    for name in names:
        if not pd.isna(run[name]) and run[name] != defaults.get(name):
            options[name] = run[name]
    if not options:
        return loss
    return f"{loss} ({', '.join(f'{name} {shorten(value)}' for name, value in options.items())})"


def show(value: Any) -> str:
    """A value of a setting as a table shows it; nothing where it is missing."""
    return "" if pd.isna(value) else clean(shorten(value))


def matching(runs: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """The runs that have a value, or one of several, in each of some fields.

    Args:
        runs: As `load_runs` or `read_table` gives them.
        filters: A value or a list of them by the name of a column. None is a missing value: `{"tuning": None}` are the
            runs of no search. `dataset` is also compared with `data`.

    Raises:
        ValueError: A name is no column.
    """
    for name, value in filters.items():
        if name not in runs:
            raise ValueError(f"{name}: no such field; allowed: data, seed, {', '.join(SETTING)}")
        values = list(value) if isinstance(value, list | tuple | range) else [value]
        keep = has_one_of(runs[name], values)
        if name == "dataset":
            keep |= has_one_of(runs["data"], values)
        runs = runs[keep]
    return runs


def has_one_of(column: pd.Series, values: Sequence[Any]) -> pd.Series:
    """Where a column has one of the values; None is a missing one."""
    given = [value for value in values if value is not None]
    if not pd.api.types.is_numeric_dtype(column):
        given = [as_text(value) for value in given]
    has_one = column.isin(given)
    if None in values:
        has_one |= column.isna()
    return has_one


def average(runs: pd.DataFrame, keys: Sequence[str], metric: str = SCORE) -> pd.DataFrame:
    """The seeds, the mean and the deviation of a score, and means of other numbers, by the keys."""
    groups = runs.groupby(list(keys), sort=False, dropna=False)
    score = groups[metric]
    means = pd.DataFrame({"seeds": groups["seed"].nunique(), "mean": score.mean(), "deviation": score.std()})
    return means.join(groups[NUMBERS].mean()).reset_index()


def format_mean(rows: pd.DataFrame) -> pd.Series:
    """What `average` gives, as text: mean ± deviation; of one seed, the mean alone; nothing where there is none."""
    means = rows["mean"].map("{:.4f}".format).where(rows["mean"].notna(), "")
    deviations = rows["deviation"].map(" ± {:.4f}".format)
    return means + deviations.where(rows["deviation"].notna(), "")


def format_markdown(table: pd.DataFrame) -> str:
    """A table of texts in Markdown, without its index."""
    lines = [list(table.columns), ["---"] * len(table.columns)]
    for row in table.to_numpy():
        lines.append([cell.replace("|", "\\|") for cell in row])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(results_dir: Path | str = "results", format: str = "markdown", metric: str = SCORE, **filters: Any) -> str:
    """Mean ± deviation over the seeds: a row for each data set and loss and what else differs, bits as columns.

    Args:
        results_dir: The folder that holds `runs/`.
        format: `markdown`; `latex`, with the best in bold; or `csv` with a row for each number of bits, and the bounds
            of ties.
        metric: A column of `load_runs`, such as `precision_at_100`, or a score of your own.
        **filters: As of `matching`: a field of a setting, or `seed`.

    Raises:
        ValueError: A filter names no field, format or metric are unknown, or no run is left.
    """
    place = (project_path(results_dir) / "runs").absolute()
    finished = load_runs(results_dir)
    if finished.empty:
        raise ValueError(f"no finished run in {place}; relahash train makes one")
    finished = distinct(summarize(finished))  # what a search chose is then missing, and no filter matches it
    runs = matching(finished, filters)
    if runs.empty:
        raise ValueError(f"no finished run like these in {place}{describe_existing(finished, filters)}")
    return table(runs, format, metric)


def describe_existing(runs: pd.DataFrame, filters: Mapping[str, Any]) -> str:
    """The values that runs have, of each filter that none of them meets."""
    text = ""
    for name, value in filters.items():
        if matching(runs, {name: value}).empty:
            existing = sorted({show(one) or "None" for one in runs["data" if name == "dataset" else name]})
            text += f"; {name}: there is {', '.join(existing)}"
    return text


def check_metric(runs: pd.DataFrame, metric: str) -> None:
    """Refuses what is no score of these runs."""
    others = (*SETTING, "seed", "cores", "threads")
    allowed = [name for name in runs.select_dtypes("number") if name not in others and runs[name].notna().any()]
    if metric not in allowed:
        raise ValueError(f"metric: {metric!r} given; allowed: {', '.join(allowed)}{did_you_mean(metric, allowed)}")


def table(runs: pd.DataFrame, format: str = "markdown", metric: str = SCORE) -> str:
    """The table of `report`, of runs as `summarize` gives them."""
    if format not in FORMATS:
        raise ValueError(f"format: {format!r} given; allowed: {', '.join(FORMATS)}")
    check_metric(runs, metric)
    runs = distinct(runs)
    keys = differing_fields(runs)
    rows = average(runs.sort_values([*keys, "bits"]), [*keys, "bits"], metric)
    for name in keys:
        rows[name] = [show(value) for value in rows[name]]
    if format == "csv":
        return rows.to_csv(index=False)
    cells = rows.assign(cell=format_mean(rows), bits=rows["bits"].map("{} bits".format))
    columns = [f"{bits} bits" for bits in sorted(rows["bits"].unique())]
    scores = cells.pivot(index=keys, columns="bits", values="cell")[columns].fillna("")
    wide = count_seeds(rows, keys).to_frame().join(scores).reset_index()
    if format == "latex":
        best = cells.assign(best=is_best(rows, metric)).pivot(index=keys, columns="bits", values="best")[columns]
        return format_latex(wide, best.fillna(False).astype(bool).reset_index()[columns], metric)
    return format_markdown(wide)


def is_best(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Which rows of `average` have the best score, as it is printed, of their data and number of bits."""
    scores = rows["mean"].round(4)
    if metric.startswith(LOWER_IS_BETTER):
        scores = -scores
    return scores == scores.groupby([rows["data"], rows["bits"]]).transform("max")


def format_latex(table: pd.DataFrame, best: pd.DataFrame, metric: str) -> str:
    """A table of texts in LaTeX (package booktabs), with caption and label; where `best` is true, in bold."""
    bold = pd.DataFrame("", index=table.index, columns=table.columns)
    bold[best.columns] = best.replace({True: "textbf:--rwrap;", False: ""})
    style = table.style.format(escape="latex").format_index(escape="latex", axis="columns").hide(axis="index")
    name = metric.replace("_", " ")
    text = style.apply(lambda _: bold, axis=None).to_latex(
        hrules=True,
        position_float="centering",
        caption=f"{name.capitalize()}, mean ± standard deviation over the seeds; the best of its data set in bold.",
        label=f"tab:{name.replace(' ', '-')}",
    )
    return text.replace("±", r"$\pm$").replace("–", "--")


def differing_fields(runs: pd.DataFrame) -> list[str]:
    """The fields that tell the rows of a table apart: some always, others where runs on one data set differ in them."""
    keys = ["data", "backbone", "image_size", "epochs", "loss"]
    for name in SETTING:
        if name in (*keys, "bits", "dataset", "fingerprint"):
            continue
        alike = ["data", "loss"] if name in ("beta", "margin", "sources") else ["data"]  # each loss has its own
        if differs(runs, alike, name):
            keys.append(name)
    if differs(runs, keys, "fingerprint"):
        keys.append("fingerprint")
    return keys


def differs(runs: pd.DataFrame, alike: Sequence[str], name: str) -> bool:
    """Whether runs that are alike in some fields have several values of another."""
    counts = runs.groupby(list(alike), dropna=False)[name].nunique(dropna=False)
    return bool((counts > 1).any())


def count_seeds(rows: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """The number of seeds by the keys, over all numbers of bits: `3`, or `1–3`."""
    counts = rows.groupby(list(keys), sort=False)["seeds"].agg(["min", "max"])
    texts = counts["min"].astype(str)
    is_range = counts["min"] != counts["max"]
    return texts.where(~is_range, texts + "–" + counts["max"].astype(str)).rename("seeds")

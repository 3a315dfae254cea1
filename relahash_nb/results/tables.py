"""All finished runs as one table: for pandas, for `results/summary.csv`, and for a reader."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from relahash_nb.config import NOT_IN_RUN_ID, SETTING_FIELDS
from relahash_nb.results.files import load_run

# Of this machine, or of how a run was carried out there: they stay out of the summary.
PLACES = ["folder", *(name for name in NOT_IN_RUN_ID if name != "recipe")]


def load_runs(results_dir: Path | str = "results") -> pd.DataFrame:
    """All finished runs, one a row: run id, config, scores, seconds, hardware, versions, command, folder.

    Args:
        results_dir: The folder that holds `runs/`.

    Example:
        >>> load_runs("no/such/folder").empty
        True
    """
    runs = [load_run(folder) for folder in sorted(Path(results_dir, "runs").glob("*"))]
    rows = [
        {
            "run_id": run.report["run_id"],
            **run.report["config"],
            **run.report["scores"],
            **{f"seconds_{stage}": value for stage, value in run.report["seconds"].items()},
            **run.report["hardware"],
            **run.report["versions"],
            "command": run.config.command,
            "fingerprint": run.report["data"]["fingerprint"],
            "folder": str(run.folder),
        }
        for run in runs
        if run is not None
    ]
    return pd.DataFrame(rows)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without what names a place on this machine, with the command that repeats each; `results/summary.csv`.

    Args:
        runs: As `load_runs` gives them, at least one.
    """
    roots = runs["root"].map(lambda root: "" if pd.isna(root) else f" {Path(root).name}")
    commands = runs["command"].str.replace(r" --(?:data|results)-dir (?:'[^']*'|\S+)", "", regex=True)
    summary = runs.drop(columns=PLACES, errors="ignore").assign(data=runs["dataset"] + roots, command=commands)
    return summary.sort_values(["data", "loss", "bits", "seed"]).reset_index(drop=True)


def one_of_each_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without those that repeat another's setting and seed, as one with other weights kept does."""
    return runs[~setting_keys(runs, "seed").duplicated()]


def setting_keys(runs: pd.DataFrame, *more: str) -> pd.Series:
    """A text a run: its setting, its data, and further columns; two runs with one text are of one setting."""
    return (
        runs[[name for name in ("fingerprint", *SETTING_FIELDS, *more) if name in runs]].map(repr).agg(" ".join, axis=1)
    )


def table(summary: pd.DataFrame) -> str:
    """Mean and deviation over the seeds, as a Markdown table: data and settings a row, in the order of the bits.

    Args:
        summary: As `summarize` gives it.
    """
    settings = ["data", "backbone", "image_size", "epochs", "loss", "bits"]
    summary = one_of_each_seed(summary).reset_index(drop=True)
    groups = [rows for _, part in summary.groupby(settings, sort=False)
              for _, rows in part.groupby(setting_keys(part), sort=False)]  # fmt: skip
    # What tells rows apart that these columns do not becomes a column.
    hidden = [name for name in ("fingerprint", *SETTING_FIELDS) if name in summary and name not in settings]
    settings += [name for name in hidden if any(rows[name].map(repr).nunique() > 1
                 for _, rows in summary.groupby(settings, sort=False))]  # fmt: skip
    names = ["pixels" if name == "image_size" else name for name in settings]
    names += ["seeds", "mAP", "worst … best order of ties"]
    names += ["quantization error", "training s"]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for rows in groups:
        keys = rows.iloc[0][settings]
        spread = f" ± {rows['mean_average_precision'].std():.4f}" if len(rows) > 1 else ""
        means = rows[["mean_average_precision", "worst", "best", "quantization_error", "seconds_training"]].mean()
        cells = [*keys, len(rows), f"**{means.iloc[0]:.4f}**{spread}", f"{means.iloc[1]:.4f} … {means.iloc[2]:.4f}"]
        cells += [f"{means.iloc[3]:.4f}", f"{means.iloc[4]:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)

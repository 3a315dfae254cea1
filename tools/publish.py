"""Maintainers only: runs and figures become the published `docs/results/`.

    python tools/publish.py [results] [results_phase] [results_epochs] [results_jpeg] [results_grid]
        [results_splits]

`results_phase/` holds the grid of scale, margin and batch size, `results_epochs/` runs with a score after each epoch,
`results_jpeg/` those on 4,000 images of CIFAR-10, lossless and as JPEG files, `results_grid/` the grid of scale, margin
and centroids with the whole network trained, `results_splits/1` and so on runs on other splits of the data. Then
notebook 06 draws the figures of docs/reality-check.md.

Published runs that are not in `results/` stay. `make gallery generate` then writes the pages.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import torch
from pictures import save_small
from score_tables import LOSSLESS

from relahash_nb import plots
from relahash_nb.config import RunConfig
from relahash_nb.losses.bounds import lowest_loss
from relahash_nb.notebooks import execute_notebook
from relahash_nb.results import (
    finished_runs,
    load_published,
    load_run,
    load_runs,
    paired_differences,
    read_table,
    save_figure,
    select_runs,
)
from relahash_nb.results.differences import QUERY_SCORES
from relahash_nb.results.selection import read_finished
from relahash_nb.results.tables import SETTING, distinct, summarize

TARGET = Path(__file__).parent.parent / "docs" / "results"
# What the notebooks show where there is no run yet: the study's, and two other losses.
SHOWN = [
    *(RunConfig(bits=bits) for bits in (16, 32, 64, 128)),
    *(RunConfig(bits=bits, loss="cross_entropy") for bits in (16, 64)),
    RunConfig(bits=64, loss="orthohash"),
]
SHOWN_FILES = ("config.json", "history.csv", "codes.npz", "run.json")
WITH_MODEL = RunConfig()  # notebook 07 searches with it


def main(
    results: str = "results",
    phase: str = "results_phase",
    epochs: str = "results_epochs",
    jpeg: str = "results_jpeg",
    grid: str = "results_grid",
    splits: str = "results_splits",
) -> None:
    """Writes summaries, differences, searches and figures."""
    fresh = summarize(load_runs(results))
    rows = publish_summary(fresh, results)
    publish_runs(results)
    for folder, name in ((phase, "phase"), (jpeg, "jpeg"), (grid, "grid")):
        if Path(folder).exists():
            summarize(load_runs(folder)).to_csv(TARGET / f"{name}.csv", index=False)
    if Path(jpeg).exists():
        publish_jpeg_differences(jpeg)
    of_splits = [summarize(load_runs(folder)) for folder in Path(splits).glob("*/")]
    if of_splits:
        pd.concat(of_splits).to_csv(TARGET / "splits.csv", index=False)
    tuned = fresh[fresh["tuning"].notna()]
    if not tuned.empty:
        publish_differences(results, tuned)
        publish_searches(results)
    if Path(epochs).exists():
        publish_epochs(epochs)
    is_longest = (fresh["backbone"] == "alexnet") & (fresh["epochs"] == 100) & (fresh["bits"] == 64)
    for run_id in fresh[is_longest]["run_id"].tail(1):
        publish_course(run_id, results)
    is_relahash = (rows["data"] == "lists cifar10_jpeg") & (rows["loss"] == "relahash")
    publish_lengths(rows[is_relahash & rows["finetune"]])
    for figure in Path(results, "figures").glob("*"):
        shutil.copy(figure, TARGET / "figures")
    publish_findings()
    for figure in (TARGET / "figures").glob("*.png"):
        save_small(figure.read_bytes(), figure)


def publish_summary(fresh: pd.DataFrame, results: str) -> pd.DataFrame:
    """Writes `summary.csv`, where published runs that are not among the fresh ones stay; returns its rows."""
    path = TARGET / "summary.csv"
    published = read_table(path)
    kept = published[~published["run_id"].isin(fresh["run_id"])]
    rows = pd.concat([kept, fresh]).sort_values(["data", "loss", "bits", "seed"], ignore_index=True)
    rows.to_csv(path, index=False)
    print(f"{path}: {len(kept)} runs from before, {len(fresh)} of {results}")
    return rows


def publish_runs(results: str) -> None:
    """Copies the finished runs among `SHOWN` to `docs/results/runs/`, one of them with its model."""
    for config in SHOWN:
        source = Path(results, "runs", config.run_id)
        if not (source / "run.json").exists():
            continue
        target = TARGET / "runs" / config.run_id
        target.mkdir(parents=True, exist_ok=True)
        for name in SHOWN_FILES:
            shutil.copy(source / name, target)
        if config == WITH_MODEL:
            shutil.copy(source / "model.safetensors", target)


def publish_differences(results: str, tuned: pd.DataFrame) -> None:
    """The differences to RelaHash after each search, in place of those before; by the score that was searched for."""
    path = TARGET / "differences.csv"
    tables = [pd.read_csv(path)]
    for (data, tuning), _ in tuned.groupby(["data", "tuning"]):
        runs, _ = select_runs(results, data, tuning=tuning)
        score = "new_images" if "new images" in tuning else "mean_average_precision"
        tables.append(paired_differences(runs, score=score).assign(data=data, tuning=tuning, score=score))
    rows = pd.concat(tables)
    rows.drop_duplicates(["data", "tuning", "bits", "method"], keep="last").to_csv(path, index=False)


def publish_jpeg_differences(folder: str) -> None:
    """What JPEG costs, query by query, for each network and score."""
    runs = read_finished(folder)
    runs = runs.assign(method=runs["data"])
    tables = []
    for (backbone, epochs, _), same in runs.groupby(["backbone", "epochs", "weights"]):
        for score in QUERY_SCORES:
            table = paired_differences(same, LOSSLESS, score=score)
            tables.append(table.assign(backbone=backbone, epochs=epochs, score=score))
    pd.concat(tables).to_csv(TARGET / "jpeg_differences.csv", index=False, float_format="%.4f")


def publish_searches(results: str) -> None:
    """The searches, with all trials, in a folder for each target."""
    searches = Path(results, "tuned")
    for path in searches.rglob("*.json"):
        target = TARGET / "tuned" / path.relative_to(searches)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def publish_epochs(folder: str) -> None:
    """The score on the queries after the last epoch, and the best one of all epochs."""
    rows = []
    for run in finished_runs(folder).values():
        config = run.config
        score = run.history["query_map"]
        row = {
            "run_id": config.run_id,
            "loss": config.loss,
            "bits": config.bits,
            "seed": config.seed,
            "last": score.iloc[-1],
            "best": score.max(),
        }
        rows.append(row)
    pd.DataFrame(rows).sort_values(["loss", "seed"]).to_csv(TARGET / "epochs.csv", index=False)


def publish_course(run_id: str, results: str) -> None:
    """The course of the paper's own run: the loss with its lowest value, the scores with the published ones."""
    matplotlib.use("agg")
    plots.set_style()
    run = load_run(run_id, results)
    config = run.config
    centroids = torch.from_numpy(run.arrays["centroids"])
    options = run.report.loss_options
    least = lowest_loss(centroids, torch.eye(len(centroids)), options["beta"], options["margin"], config.batch_size)
    history = run.history.copy()
    history.loc[history.index[-1], "query_map"] = run.report.scores.mean_average_precision
    figure = plots.plot_training(history, {"least possible": least})
    published = load_published().query("loss == 'relahash' and data == 'cifar10' and bits == 64")
    for row, dashes in zip(published.itertuples(), ("--", "-.", ":"), strict=False):
        name = row.source.removeprefix("thaiminhpv/RelaHash ").replace("Colab notebook, β 50", "their log")
        figure.axes[1].axhline(row.mean_average_precision, color="black", lw=0.8, ls=dashes, label=f"published: {name}")
    figure.axes[1].legend(loc="lower right", fontsize="x-small")
    save_figure(figure, "paper", TARGET, [run_id])
    history.to_csv(TARGET / "paper.csv", index=False)


def publish_findings() -> None:
    """The figures of notebook 06 that docs/reality-check.md shows, from the tables that were written."""
    notebook = "06_reality_check.ipynb"
    with tempfile.TemporaryDirectory() as folder:
        execute_notebook(notebook, Path(folder, notebook), {"results_dir": str(TARGET)})


def publish_lengths(runs: pd.DataFrame) -> None:
    """The published scores, and of each network the best setting with most code lengths; bars are the order of ties."""
    matplotlib.use("agg")
    plots.set_style()
    axes = plt.subplots(figsize=(5, 3.4), layout="constrained")[1]
    published = load_published().query("loss == 'relahash' and data == 'cifar10'")
    for (source, same), marker in zip(published.groupby("source", sort=False), "os^", strict=False):
        name = source.replace("thaiminhpv/RelaHash", "published:")
        axes.plot(same["bits"], same["mean_average_precision"], f"k{marker}--", ms=4, lw=0.8, label=name)
    drawn = []
    for place, (_, same_network) in enumerate(distinct(runs).groupby("backbone")):
        setting = best_setting(same_network)
        means = setting.groupby("bits")[["mean_average_precision", "worst", "best"]].mean()
        score = means["mean_average_precision"]
        error = [score - means["worst"], means["best"] - score]
        run = setting.iloc[0]
        label = f"here: {run['backbone']}, β {run['beta']:g}, {run['epochs']} epochs"
        axes.errorbar(score.index * 1.04**place, score, error, fmt="o-", capsize=3, label=label)
        drawn += list(setting["run_id"])
    axes.set(xscale="log", xlabel="bits", ylabel="mAP", ylim=(0, 1), title="CIFAR-10")
    axes.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"], minor=False)
    axes.minorticks_off()
    axes.legend(loc="lower right", fontsize="x-small")
    save_figure(axes.figure, "paper_lengths", TARGET, drawn)


def best_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the setting with most code lengths; of several, of the one with the highest score."""
    others = [name for name in SETTING if name != "bits"]
    settings = [same for _, same in runs.groupby(others, dropna=False)]
    return max(settings, key=lambda same: (same["bits"].nunique(), same["mean_average_precision"].max()))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Numbers of runs: over the epochs, over the bits, methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relahash_nb.plots.style import (
    GREY,
    LINE_STYLES,
    PALETTE,
    draw_references,
    legend_in_order,
    looks,
    new_axes,
    ours_first,
    plain,
)
from relahash_nb.registry import BASELINES

if TYPE_CHECKING:
    import pandas as pd

TRAINING_SCORES = {
    "centroid_accuracy": "centroid accuracy",
    "validation_map": "validation mAP",
    "query_map": "query mAP",
}


def plot_training(history: pd.DataFrame, references: Mapping[str, float] | None = None) -> Figure:
    """Draws a run's history over the epochs: loss, scores and quantization error, one panel each.

    Args:
        history: One row per epoch; without rows where nothing was trained.
        references: Horizontal lines in the panel of the loss, by name.
    """
    if history.empty:
        figure, ax = plt.subplots(figsize=(9, 2.8))
        ax.set(title="no training", xlabel="epoch")
        return figure
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8))
    draw_loss(axes[0], history, references or {})
    draw_scores(axes[1], history)
    draw_error(axes[2], history)
    for ax in axes:
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def draw_loss(ax: Axes, history: pd.DataFrame, references: Mapping[str, float]) -> None:
    """Draws the loss, and references with a legend."""
    ax.plot(history["epoch"], history["loss"], marker=".", label="loss")
    ax.set_title("loss")
    if references:
        draw_references(ax, references)
        ax.legend()


def draw_scores(ax: Axes, history: pd.DataFrame) -> None:
    """Draws the scores that the history has; some are computed at a few epochs only."""
    columns = [column for column in TRAINING_SCORES if column in history]
    for column, linestyle in zip(columns, LINE_STYLES, strict=False):
        scored = history.dropna(subset=column)
        ax.plot(scored["epoch"], scored[column], marker=".", linestyle=linestyle, label=TRAINING_SCORES[column])
    ax.set(title="score", ylim=(0, 1.02))
    ax.legend()


def draw_error(ax: Axes, history: pd.DataFrame) -> None:
    """Draws the quantization error of the training batches, from 0."""
    ax.plot(history["epoch"], history["quantization_error"], marker=".")
    ax.set_title("quantization error of a batch")
    ax.set_ylim(bottom=0)


def plot_lines(table: pd.DataFrame, x: str, y: str, by: str = "loss", ax: Axes | None = None) -> Axes:
    """Draws a column of runs over their bits or epochs: the mean over the seeds, and their standard deviation.

    Args:
        table: One row per run, or per epoch of a run.
        x: `bits`, where the deviation is a bar; or `epoch`, where it is a band.
        y: The column to draw; rows without a number are left out.
        by: The column of names; each name is a line.
        ax: Where to draw; None: a new figure.
    """
    table = table.dropna(subset=y)
    names = ours_first(table[by])
    ax = new_axes(ax, (7, max(3.4, 0.24 * len(names))))
    for name, look in looks(names).items():
        seeds = table[table[by] == name].groupby(x)[y]
        means = seeds.mean()
        deviations = seeds.std()  # NaN of one seed, which draws nothing
        (line,) = ax.plot(means.index, means, color=look.color, linestyle=look.linestyle, label=plain(name))
        if x == "bits":
            line.set(marker=look.marker, markeredgecolor="white", markeredgewidth=0.5)
            ax.errorbar(means.index, means, yerr=deviations, fmt="none", ecolor=look.color)
        else:
            ax.fill_between(
                means.index, means - deviations, means + deviations, color=look.color, alpha=0.2, linewidth=0
            )
    if x == "bits":
        lengths = sorted(table["bits"].unique())
        ax.set_xscale("log")
        ax.set_xticks(lengths, labels=[str(length) for length in lengths])
        ax.minorticks_off()
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=x, ylabel=y.replace("_", " "))
    if 2 * table[y].min() < table[y].max():  # from 0, unless half of the axes would be empty
        ax.set_ylim(bottom=0)
    legend_in_order(ax, by)
    return ax


def plot_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    references: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws curves over a common x.

    Args:
        x: N numbers.
        curves: N numbers for each name.
        references: Horizontal lines at these heights, by name.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax)
    for name, look in looks(curves).items():
        ax.plot(x, curves[name], color=look.color, linestyle=look.linestyle, linewidth=1.6, label=plain(name))
    draw_references(ax, references or {})
    ax.margins(x=0.02)
    ax.legend()
    return ax


def plot_methods(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws one row per method, sorted by score; baselines are grey.

    Args:
        comparison: What `compare` gives of one code length. A point is `mean`, a dark bar its `deviation`, a pale bar
            reaches from `worst` to `best`: all orders of tied items.
        ax: Where to draw; None: a new figure.
    """
    rows = comparison.sort_values("mean")
    places = np.arange(len(rows))
    colours = [GREY if method in BASELINES else PALETTE[0] for method in rows["method"]]
    has_deviations = rows["deviation"].notna().any()
    ax = new_axes(ax, (7, 0.24 * len(rows) + 1.2))
    ax.barh(places, rows["best"] - rows["worst"], left=rows["worst"], color="lightgrey", label="by the order of ties")
    ax.errorbar(rows["mean"], places, xerr=rows["deviation"], fmt="none", ecolor="black", capsize=3)
    ax.scatter(
        rows["mean"],
        places,
        color=colours,
        zorder=3,
        label="mean ± deviation over seeds" if has_deviations else "one seed",
    )
    ax.set_yticks(places, labels=[plain(method) for method in rows["method"]])
    ax.use_sticky_edges = False  # or the axes would begin at the leftmost bar
    ax.autoscale()
    ax.set_xlabel("mean average precision")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def plot_points(table: pd.DataFrame, x: str, y: str, by: str = "method", ax: Axes | None = None) -> Axes:
    """Draws two columns of a table against each other: the mean of each name in `by`, and its deviations as bars.

    The legend names the points from the highest to the lowest. Rows without one of the numbers are left out.
    """
    table = table.dropna(subset=[x, y])
    names = ours_first(table[by])
    ax = new_axes(ax, (7, max(3.4, 0.24 * len(names))))
    for name, look in looks(names).items():
        rows = table.loc[table[by] == name, [x, y]]
        mean = rows.mean()
        deviation = rows.std()
        ax.errorbar(mean[x], mean[y], xerr=deviation[x], yerr=deviation[y], fmt="none", ecolor=look.color, capsize=2)
        ax.plot(mean[x], mean[y], color=look.color, marker=look.marker, linestyle="none", label=plain(name))
    ax.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    legend_in_order(ax, by)
    return ax

"""Methods before and after tuning, and over a grid of two options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, RIGHT, WRONG, new_axes, ours_first, plain

if TYPE_CHECKING:
    import pandas as pd


def plot_differences(differences: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws one row per method, sorted: its difference to the reference as a point, and the interval as a line.

    Args:
        differences: What `paired_differences` gives of one code length: `method`, `difference`, `low`, `high` and
            `verdict`; a row is coloured if its verdict is `better` or `worse`, else grey.
        ax: Where to draw; None: a new figure.
    """
    rows = differences.sort_values("difference")
    places = range(len(rows))
    colours = rows["verdict"].map({"better": RIGHT, "worse": WRONG}).fillna(GREY)
    ax = new_axes(ax, (7, 0.26 * len(rows) + 1))
    ax.hlines(places, rows["low"], rows["high"], colors=colours, linewidth=2)
    ax.scatter(rows["difference"], places, color=colours, zorder=3)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(places, labels=[f"{plain(row.method)}: {row.verdict}" for row in rows.itertuples()])
    ax.set_xlabel("difference in mean average precision")
    return ax


def plot_change(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws one row per method: an open point at its score in the first column, a filled one at that in the second.

    Args:
        scores: Two columns of mean average precision; the index holds the methods. Sorted by the second column.
        ax: Where to draw; None: a new figure.
    """
    before, after = scores.columns
    rows = scores.sort_values(after)
    places = range(len(rows))
    colours = [RIGHT if method == "relahash" else "black" for method in rows.index]
    ax = new_axes(ax, (7, 0.26 * len(rows) + 1))
    ax.hlines(places, rows[before], rows[after], color=GREY, linewidth=2)
    ax.scatter(rows[before], places, color="white", edgecolor="black", zorder=3, label=before)
    ax.scatter(rows[after], places, color=colours, zorder=3)
    ax.scatter([], [], color="black", label=after)  # a black point for the legend, whatever the first row's colour
    ax.set_yticks(places, labels=[plain(method) for method in rows.index])
    ax.set_xlabel("mean average precision")
    ax.legend(loc="upper left")
    return ax


def plot_grid(runs: pd.DataFrame, value: str, x: str, y: str, panel: str) -> Figure:
    """Draws the mean of the column `value` over the columns `x` and `y`, one panel for each value of `panel`.

    All panels have one range of colours.
    """
    import seaborn as sns

    names = ours_first(runs[panel])
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.2), sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=True):
        rows = runs[runs[panel] == name]
        means = rows.pivot_table(index=y, columns=x, values=value).sort_index(ascending=False)
        sns.heatmap(
            means,
            vmin=runs[value].min(),
            vmax=runs[value].max(),
            cmap="viridis",
            annot=True,
            fmt=".3f",
            cbar=False,
            xticklabels=[f"{number:g}" for number in means.columns],
            yticklabels=[f"{number:g}" for number in means.index],
            ax=ax,
        )
        ax.set(title=plain(name), xlabel=x.replace("_", " "), ylabel="")
        ax.tick_params(axis="y", rotation=0)
    axes[0, 0].set_ylabel(y.replace("_", " "))
    figure.suptitle(value.replace("_", " "))
    return figure

"""Methods before and after tuning, and over a grid of two options."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, RIGHT, WRONG, new_axes, ours_first, plain


def plot_differences(differences: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What `paired_differences` gives of one code length: a dot and its interval per method, grey if not told apart."""
    rows = differences.sort_values("difference").reset_index(drop=True)
    ax = new_axes(ax, (7, 0.26 * len(rows) + 1))
    colours = rows["verdict"].map({"better": RIGHT, "worse": WRONG}).fillna(GREY)
    for place, (row, colour) in enumerate(zip(rows.itertuples(), colours, strict=True)):
        ax.plot([row.low, row.high], [place, place], color=colour, lw=2)
    ax.scatter(rows["difference"], rows.index, color=colours, zorder=3)
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(rows.index, [f"{plain(row.method)}: {row.verdict}" for row in rows.itertuples()])
    ax.set_xlabel("difference in mean average precision")
    return ax


def plot_change(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """A row per method: an open point at its score in the first column, a filled one at the second; sorted by this."""
    rows = scores.sort_values(scores.columns[1])
    ax = new_axes(ax, (7, 0.26 * len(rows) + 1))
    places, (before, after) = range(len(rows)), (rows[name] for name in rows)
    ax.hlines(places, before, after, color=GREY, lw=2)
    ax.scatter(before, places, color="white", edgecolor="black", zorder=3, label=before.name)
    ax.scatter(after, places, color=["black" if name != "relahash" else RIGHT for name in rows.index], zorder=3)
    ax.scatter([], [], color="black", label=after.name)
    ax.set_yticks(places, [plain(name) for name in rows.index])
    ax.set_xlabel("mean average precision")
    ax.legend(loc="upper left")
    return ax


def plot_grid(runs: pd.DataFrame, value: str, x: str, y: str, panel: str) -> Figure:
    """The mean of a column over two others, a panel per value of a fourth, all with one range of colours."""
    names = ours_first(runs[panel])
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.2), sharey=True, squeeze=False)
    low, high = runs[value].min(), runs[value].max()
    for ax, name in zip(axes.flat, names, strict=True):
        table = runs[runs[panel] == name].pivot_table(index=y, columns=x, values=value).iloc[::-1]
        ticks = dict(xticklabels=[f"{one:g}" for one in table.columns], yticklabels=[f"{one:g}" for one in table.index])
        sns.heatmap(table, ax=ax, vmin=low, vmax=high, cmap="viridis", annot=True, fmt=".3f", cbar=False, **ticks)
        ax.set(title=name, xlabel=x.replace("_", " "), ylabel=y if ax is axes.flat[0] else "")
        ax.tick_params(axis="y", rotation=0)
    figure.suptitle(value.replace("_", " "))
    return figure

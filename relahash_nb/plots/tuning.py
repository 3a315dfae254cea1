"""Methods before and after tuning, and over a grid of two options."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, RIGHT, WRONG, label_ends, looks, new_axes, ours_first, plain


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
    """A line per method from its score in the first column to that in the second; the names at the right."""
    ax = new_axes(ax, (7, max(3.4, 0.28 * len(scores))))
    style = looks(ours_first(scores.index))
    for name, pair in scores.iterrows():
        ours = {"lw": 2.5, "zorder": 3} if name == "relahash" else {"lw": 1}
        ax.plot([0, 1], pair, color=style[name]["color"], marker=style[name]["marker"], **ours)
    ax.set(xlim=(-0.1, 1.02), ylabel="mean average precision")
    ax.set_xticks([0, 1], scores.columns)
    ends = {name: (1, last) for name, last in scores.iloc[:, 1].items()}
    label_ends(ax, ends, {name: look["color"] for name, look in style.items()})
    return ax


def plot_phase(runs: pd.DataFrame, value: str) -> Figure:
    """The mean of a column over `scale` and `cosine margin`, a panel per loss, both with one range of colours."""
    losses = ours_first(runs["loss"])
    size = (4.2 * len(losses), 3.2)
    figure, axes = plt.subplots(1, len(losses), figsize=size, sharey=True, squeeze=False)
    low, high = runs[value].min(), runs[value].max()
    for ax, loss in zip(axes.flat, losses, strict=True):
        table = runs[runs["loss"] == loss].pivot_table(index="cosine margin", columns="scale", values=value)
        names = dict(
            xticklabels=[f"{one:g}" for one in table.columns], yticklabels=[f"{one:g}" for one in table.index[::-1]]
        )
        look = dict(vmin=low, vmax=high, cmap="viridis", annot=True, fmt=".3f", cbar=False) | names
        sns.heatmap(table.sort_index(ascending=False), ax=ax, **look)
        ax.set(title=loss, xlabel="scale", ylabel="margin" if ax is axes.flat[0] else "")
        ax.tick_params(axis="y", rotation=0)
    figure.suptitle(value.replace("_", " "))
    return figure

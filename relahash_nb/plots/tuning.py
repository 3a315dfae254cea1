"""Methods before and after tuning, differences over a grid of two options, and the points of such a grid."""

from __future__ import annotations

from collections.abc import Mapping
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


def plot_gaps(gaps: pd.DataFrame) -> Figure:
    """Draws signed differences over a grid of two options, one panel below the other for each column.

    Blue is above 0, red below; a panel's colours reach to its own largest difference.

    Args:
        gaps: The index has two levels: the vertical and the horizontal option.
    """
    import seaborn as sns

    figure, axes = plt.subplots(len(gaps.columns), 1, figsize=(6, 2.6 * len(gaps.columns)), squeeze=False)
    for ax, name in zip(axes.flat, gaps, strict=True):
        cells = gaps[name].unstack().sort_index(ascending=False)
        largest = gaps[name].abs().max()
        sns.heatmap(
            cells,
            vmin=-largest,
            vmax=largest,
            cmap="RdBu",
            annot=True,
            fmt="+.3f",
            cbar=False,
            xticklabels=[f"{number:g}" for number in cells.columns],
            yticklabels=[f"{number:g}" for number in cells.index],
            ax=ax,
        )
        ax.set(title=plain(name), xlabel=cells.columns.name, ylabel=cells.index.name)
        ax.tick_params(axis="y", rotation=0)
    return figure


def plot_cells(cells: pd.DataFrame, y: str, references: Mapping[str, float]) -> Figure:
    """Draws a number over the scale of two losses, a panel for each kind of centroids, a colour for each margin.

    Args:
        cells: `loss`, `centroids`, `scale` and `margin` as `as_cosine` gives them, and `y`; the mean is drawn of rows
            that are alike in these.
        y: A column of numbers.
        references: By the kind of centroids, in the order of the panels: a height that is drawn as a black line.
    """
    import seaborn as sns

    margins = [f"{margin:g}" for margin in sorted(cells["margin"].unique())]
    cells = cells.assign(margin=cells["margin"].map("{:g}".format))
    figure, axes = plt.subplots(1, len(references), figsize=(9, 3.4), sharey=True, layout="constrained")
    for ax, (kind, height) in zip(axes, references.items(), strict=True):
        sns.lineplot(
            cells[cells["centroids"] == kind],
            x="scale",
            y=y,
            hue="margin",
            hue_order=margins,
            style="loss",
            style_order=ours_first(cells["loss"]),
            markers=True,
            palette=sns.color_palette("viridis_r", len(margins)),
            errorbar=None,
            legend="full" if ax is axes[-1] else False,
            ax=ax,
        )
        ax.axhline(height, color="black", label="free codes")
        scales = sorted(cells["scale"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(scales, [f"{scale:g}" for scale in scales])
        ax.set(title=kind, xlabel="scale", ylabel=y.replace("_", " "))
    axes[0].set_ylim(bottom=0)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure

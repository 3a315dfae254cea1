"""Numbers of runs: over the epochs, over the bits, methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relahash_nb.config import BASELINE_NAMES
from relahash_nb.plots.style import DASHES, GREY, PALETTE, label_ends, looks, new_axes, ours_first, plain, semantics


def plot_training(history: pd.DataFrame, references: Mapping[str, float] | None = None) -> Figure:
    """Loss, accuracy and quantization error over the epochs, a panel each.

    Args:
        history: A row an epoch, with `epoch` and any of `loss`, `centroid_accuracy`, `validation_map`, `query_map` and
            `quantization_error`.
        references: By name, losses to draw as lines, such as the least that can be reached.
    """
    panels = {"loss": ["loss"], "score": ["centroid_accuracy", "validation_map", "query_map"]}
    panels["quantization error of a batch"] = ["quantization_error"]
    panels = {title: [name for name in names if name in history] for title, names in panels.items()}
    panels = {title: names for title, names in panels.items() if names} or {"no training": []}
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 2.8), squeeze=False)
    for ax, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for place, name in enumerate(names):
            label = name.replace("_map", " mAP").replace("_", " ")
            ax.plot(
                "epoch", name, data=history.dropna(subset=name), marker=".", ls=("-", "--", ":")[place], label=label
            )
        for place, (name, value) in enumerate((references or {}).items() if title == "loss" else ()):
            ax.axhline(value, color="black", lw=1, dashes=DASHES[1 + place % 3], label=plain(name))
        ax.set(title=title, xlabel="epoch", ylim=(0, 1.02) if title == "score" else None)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title.startswith("quantization"):
            ax.set_ylim(bottom=0)
        if len(ax.lines) > 1 or title == "score":
            ax.legend()
    return figure


def plot_lines(table: pd.DataFrame, x: str, y: str, by: str = "loss", ax: Axes | None = None) -> Axes:
    """A number of runs over their bits or epochs: means over the seeds and, of two seeds or more, the deviations.

    Args:
        table: A run, or an epoch of a run, a row, with the columns `x`, `y` and `by`.
        x: `bits` or `epoch`. A name at a single number of bits, above all others', is drawn as a level.
        y: Column to draw.
        by: Column that tells the lines apart; the names stand at the lines' ends.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax, (7, max(3.4, 0.24 * table[by].nunique())))
    usual = table[table.groupby(by)[x].transform("nunique") > 1][x].max()
    levels = table[(x == "bits") & (table[x] > usual)].groupby([by, x])[y].mean()
    lines = table.drop(index=table.index[(x == "bits") & (table[x] > usual)])
    style = semantics(ours_first(table[by])) | ({} if x == "bits" else {"markers": False})
    errors = dict(errorbar="sd", err_style="bars" if x == "bits" else "band")
    sns.lineplot(lines, x=x, y=y, hue=by, style=by, legend=False, ax=ax, **errors, **style)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if x == "bits":
        ax.set(xscale="log", xticks=(places := sorted(lines[x].unique())), xticklabels=places)
        ax.minorticks_off()
    ends = lines.dropna(subset=y).groupby([by, x], as_index=False)[y].mean().groupby(by)[[x, y]].last()
    ends = {name: tuple(end) for name, end in ends.iterrows()}
    for (name, bits), level in levels.items():
        ax.axhline(level, color=GREY, lw=1, ls=":")
        ends[f"{name} ({bits} bits)"] = (lines[x].max(), level)
    ax.set(xlabel=x, ylabel=y.replace("_", " "))
    if 2 * lines[y].min() < lines[y].max():  # from 0, where that does not leave half of the axes empty
        ax.set_ylim(bottom=0)
    label_ends(ax, ends, dict.fromkeys(ends, GREY) | style["palette"])
    return ax


def plot_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    references: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One curve a name over a common x, and horizontal lines that they are measured against.

    Args:
        x: N.
        curves: N values a name.
        references: By name, where to draw a line; in black, told apart by their dashes.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax)
    for (name, values), look in zip(curves.items(), looks(curves).values(), strict=True):
        ax.plot(x, values, label=plain(name), color=look["color"], dashes=look["dashes"], lw=1.6)
    for place, (name, value) in enumerate((references or {}).items()):
        ax.axhline(value, label=plain(name), color="black", lw=1, dashes=DASHES[1 + place % 3])
    ax.margins(x=0.02)
    ax.legend()
    return ax


def plot_methods(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Each method's mean average precision: a dot, a dark bar for the deviation, a pale one for the order of ties.

    Args:
        comparison: One number of bits of what `compare` gives: `method`, `mean`, `deviation`, `worst`, `best`.
        ax: Where to draw; None: a new figure.
    """
    rows = comparison.sort_values("mean")
    ax = new_axes(ax, (7, 0.24 * len(rows) + 1.2))
    places = np.arange(len(rows))
    colours = [GREY if name in BASELINE_NAMES else PALETTE[0] for name in rows["method"]]
    ax.barh(places, rows["best"] - rows["worst"], left=rows["worst"], color="lightgrey", label="by the order of ties")
    label = "mean ± deviation over seeds" if rows["deviation"].notna().any() else "one seed"
    ax.errorbar(rows["mean"], places, xerr=rows["deviation"], fmt="none", ecolor="black", capsize=3)
    ax.scatter(rows["mean"], places, color=colours, zorder=3, label=label)
    ax.set_yticks(places, map(plain, rows["method"]))
    ax.use_sticky_edges = False  # or the leftmost bar begins at the axis
    ax.autoscale()
    ax.set(xlabel="mean average precision")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def plot_points(table: pd.DataFrame, x: str, y: str, by: str = "method", ax: Axes | None = None) -> Axes:
    """Two numbers against one another, a point for each name, which stands beside it.

    Args:
        table: `by`, `x` and `y`; of several rows a name the means are drawn, and the deviations as bars.
        x: Column along the horizontal axis.
        y: Likewise, the vertical one.
        by: Column of the names.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax, (7, max(3.4, 0.24 * table[by].nunique())))
    groups = table.groupby(by)[[x, y]]
    means, deviations, style = groups.mean(), groups.std(), looks(ours_first(table[by]))
    for name, look in style.items():
        spreads = dict(xerr=deviations.loc[name, x], yerr=deviations.loc[name, y])
        ax.errorbar(*means.loc[name], **spreads, color=look["color"], marker=look["marker"], capsize=2)
    ax.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    ends = {name: tuple(means.loc[name]) for name in style}
    label_ends(ax, ends, {name: look["color"] for name, look in style.items()}, column=False)
    return ax


def plot_published(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Published figures and ours, joined by a line. They are no ranking, since the settings differ.

    Args:
        table: `loss`, `bits`, `source`, `published`, `ours` and `deviation`, as `beside_published` gives them.
        ax: Where to draw; None: a new figure.
    """
    rows = table.sort_values(["bits", "published"]).reset_index(drop=True)
    ax = new_axes(ax, (7, 0.22 * len(rows) + 1.2))
    ax.hlines(rows.index, rows["published"], rows["ours"], color="lightgrey")
    ax.errorbar(rows["ours"], rows.index, xerr=rows["deviation"], fmt="o", color=PALETTE[0], capsize=2, label="here")
    ax.plot(rows["published"], rows.index, "D", mfc="none", mew=1, color="black", label="published, in another setting")
    labels = rows["loss"] + ", " + rows["bits"].astype(str) + " bits: " + rows["source"].astype(str)
    ax.set_yticks(rows.index, map(plain, labels))
    ax.set(xlabel="mean average precision")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return ax

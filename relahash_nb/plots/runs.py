"""Numbers of runs: over the epochs, over the bits, methods side by side."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relahash_nb.registry import BASELINES
from relahash_nb.plots.style import DASHES, GREY, PALETTE, label_ends, looks, new_axes, ours_first, plain, semantics


def plot_training(history: pd.DataFrame, references: Mapping[str, float] | None = None) -> Figure:
    """A run's history over the epochs: loss (with `references` as lines), accuracy, quantization error."""
    panels = {"loss": ["loss"], "score": ["centroid_accuracy", "validation_map", "query_map"]}
    panels["quantization error of a batch"] = ["quantization_error"]
    panels = {title: [name for name in names if name in history] for title, names in panels.items()}
    panels = {title: names for title, names in panels.items() if names} or {"no training": []}
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 2.8), squeeze=False)
    for ax, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for place, name in enumerate(names):
            look = dict(marker=".", ls=("-", "--", ":")[place], label=name.replace("_map", " mAP").replace("_", " "))
            ax.plot("epoch", name, data=history.dropna(subset=name), **look)
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
    """The column y of runs over their bits or epochs: means over the seeds and, of several seeds, the deviations.

    The table has one row per run, or per epoch of a run; x is `bits` or `epoch`. The names in `by` stand at the ends of
    the lines.
    """
    ax = new_axes(ax, (7, max(3.4, 0.24 * table[by].nunique())))
    style = semantics(ours_first(table[by])) | ({} if x == "bits" else {"markers": False})
    repeats = table.groupby([by, x]).size().max() > 1
    errors = dict(errorbar="sd" if repeats else None, err_style="bars" if x == "bits" else "band")
    sns.lineplot(table, x=x, y=y, hue=by, style=by, legend=False, ax=ax, **errors, **style)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if x == "bits":
        ax.set(xscale="log", xticks=(places := sorted(table[x].unique())), xticklabels=places)
        ax.minorticks_off()
    ends = table.dropna(subset=y).groupby([by, x], as_index=False)[y].mean().groupby(by)[[x, y]].last()
    ends = {name: tuple(end) for name, end in ends.iterrows()}
    ax.set(xlabel=x, ylabel=y.replace("_", " "))
    if 2 * table[y].min() < table[y].max():  # from 0, where that does not leave half of the axes empty
        ax.set_ylim(bottom=0)
    label_ends(ax, ends, style["palette"])
    return ax


def plot_curves(
    x: Sequence[float], curves: Mapping[str, Sequence[float]], references: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Curves over a common x: N numbers, N values by name, and `references` by name as horizontal lines."""
    ax = new_axes(ax)
    for (name, values), look in zip(curves.items(), looks(curves).values(), strict=True):
        ax.plot(x, values, label=plain(name), color=look["color"], dashes=look["dashes"], lw=1.6)
    for place, (name, value) in enumerate((references or {}).items()):
        ax.axhline(value, label=plain(name), color="black", lw=1, dashes=DASHES[1 + place % 3])
    ax.margins(x=0.02)
    ax.legend()
    return ax


def plot_methods(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What `compare` gives of one code length: means, dark bars of deviation, pale bars of all orders of ties."""
    rows = comparison.sort_values("mean")
    ax = new_axes(ax, (7, 0.24 * len(rows) + 1.2))
    places = np.arange(len(rows))
    label = "mean ± deviation over seeds" if rows["deviation"].notna().any() else "one seed"
    colours = [GREY if name in BASELINES else PALETTE[0] for name in rows["method"]]
    ax.barh(places, rows["best"] - rows["worst"], left=rows["worst"], color="lightgrey", label="by the order of ties")
    ax.errorbar(rows["mean"], places, xerr=rows["deviation"], fmt="none", ecolor="black", capsize=3)
    ax.scatter(rows["mean"], places, color=colours, zorder=3, label=label)
    ax.set_yticks(places, map(plain, rows["method"]))
    ax.use_sticky_edges = False  # or the leftmost bar begins at the axis
    ax.autoscale()
    ax.set(xlabel="mean average precision")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def plot_points(table: pd.DataFrame, x: str, y: str, by: str = "method", ax: Axes | None = None) -> Axes:
    """The columns x and y of a table, a labelled point per name in `by`: means, and deviations as bars."""
    ax = new_axes(ax, (7, max(3.4, 0.24 * table[by].nunique())))
    groups = table.groupby(by)[[x, y]]
    means, deviations, style = groups.mean(), groups.std(), looks(ours_first(table[by]))
    for name, look in style.items():
        spread, dot = deviations.loc[name], dict(color=look["color"], marker=look["marker"], capsize=2)
        ax.errorbar(*means.loc[name], xerr=spread[x], yerr=spread[y], **dot)
    ax.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    ends = {name: tuple(means.loc[name]) for name in style}
    label_ends(ax, ends, {name: look["color"] for name, look in style.items()}, column=False)
    return ax

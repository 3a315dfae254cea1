"""Methods side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from relahash_nb.plots.style import looks


def looks_of(comparison: pd.DataFrame) -> dict[str, dict[str, object]]:
    """A colour, a line and a marker for each `method`, the same in all figures: ours first, then by the alphabet."""
    return looks(sorted(comparison["method"].unique(), key=lambda name: (name != "relahash", name)))


def plot_bits(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Mean average precision over the bits, a line a method; the bars are the deviation over the seeds.

    Args:
        comparison: `method`, `bits`, `mean` and `deviation`, as `compare` gives them. A method at one number of bits,
            above that of all others, is no line but a level.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(8, 5))[1]
    usual = comparison[comparison.groupby("method")["bits"].transform("nunique") > 1]["bits"].max()
    levels = comparison["bits"] > usual
    for row in comparison[levels].to_dict("records"):
        ax.axhline(row["mean"], label=f"{row['method']} ({row['bits']} bits)", color="grey", ls=":")
    lines = comparison[~levels]
    for method in lines.groupby("method")["mean"].max().sort_values(ascending=False).index:
        rows = lines[lines["method"] == method].sort_values("bits")
        look = looks_of(lines)[method]
        ax.errorbar(rows["bits"], rows["mean"], rows["deviation"], label=method, capsize=2, **look)
    ticks = sorted(lines["bits"].unique())
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set(xlabel="bits", ylabel="mean average precision")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax


def plot_methods(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Each method's mean average precision: a dot, a dark bar for the deviation, a pale one for the order of ties.

    Args:
        comparison: One number of bits of what `compare` gives: `method`, `mean`, `deviation`, `worst`, `best`.
        ax: Where to draw; a new figure otherwise.
    """
    rows = comparison.sort_values("mean")
    ax = ax or plt.subplots(figsize=(7, 0.32 * len(rows) + 1))[1]
    places = np.arange(len(rows))
    ax.barh(places, rows["best"] - rows["worst"], left=rows["worst"], color="lightgrey", label="by the order of ties")
    ax.errorbar(rows["mean"], places, xerr=rows["deviation"], fmt="o", capsize=3, label="mean ± deviation over seeds")
    ax.set_yticks(places, rows["method"])
    ax.use_sticky_edges = False  # or the leftmost bar begins at the axis
    ax.autoscale()
    ax.set(xlabel="mean average precision")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax


def plot_against(comparison: pd.DataFrame, name: str, label: str, ax: Axes | None = None) -> Axes:
    """Each method as a point: another number of it, and its mean average precision.

    Args:
        comparison: One number of bits of what `compare` gives: `method`, `mean`, `deviation` and the other number.
        name: Of the other number's column.
        label: Of its axis.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(8, 5))[1]
    for row in comparison.sort_values("mean", ascending=False).to_dict("records"):
        look = looks_of(comparison)[row["method"]] | {"ls": ""}
        ax.errorbar(row[name], row["mean"], row["deviation"], label=row["method"], capsize=2, **look)
    ax.set(xlabel=label, ylabel="mean average precision")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax


def plot_published(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Published figures and ours, joined by a line: no ranking, since the settings differ.

    Args:
        table: `loss`, `bits`, `published`, `ours` and `deviation`, as `beside_published` gives them.
        ax: Where to draw; a new figure otherwise.
    """
    rows = table.sort_values(["loss", "bits"]).reset_index(drop=True)
    ax = ax or plt.subplots(figsize=(7, 0.3 * len(rows) + 1))[1]
    ax.hlines(rows.index, rows["published"], rows["ours"], color="lightgrey")
    ax.errorbar(rows["ours"], rows.index, xerr=rows["deviation"], fmt="o", capsize=2, label="here")
    ax.plot(rows["published"], rows.index, "D", mfc="none", mew=1, color="black", label="published")
    ax.set_yticks(rows.index, rows["loss"] + ", " + rows["bits"].astype(str) + " bits")
    ax.set(xlabel="mean average precision")
    ax.legend()
    return ax

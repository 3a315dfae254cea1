"""Methods side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

MARKERS = "os^Dv<>Ph"  # beside the colour, for those who cannot tell it
LINES = ("-", "--", "-.", ":")


def plot_bits(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Mean average precision over the bits, a line a method; the bars are the deviation over the seeds.

    Args:
        comparison: `method`, `bits`, `mean` and `deviation`, as `compare` gives them. A method at one number of bits,
            above that of all others, is no line but a level.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(8, 5))[1]
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    usual = comparison[comparison.groupby("method")["bits"].transform("nunique") > 1]["bits"].max()
    order = comparison.groupby("method")["mean"].max().sort_values(ascending=False).index
    for number, method in enumerate(order):
        rows = comparison[comparison["method"] == method].sort_values("bits")
        look = dict(color=colours[number % len(colours)], ls=LINES[number // len(colours) % len(LINES)])
        if len(rows) == 1 and rows["bits"].iloc[0] > usual:
            ax.axhline(rows["mean"].iloc[0], label=f"{method} ({rows['bits'].iloc[0]} bits)", lw=1, **look)
            continue
        marker = MARKERS[number % len(MARKERS)]
        ax.errorbar(rows["bits"], rows["mean"], rows["deviation"], label=method, marker=marker, capsize=2, **look)
    ticks = sorted(comparison.loc[~(comparison["bits"] > usual), "bits"].unique())
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
    ax.set(xlabel="mean average precision")
    ax.legend(loc="lower right")
    return ax


def plot_against(comparison: pd.DataFrame, name: str, label: str, ax: Axes | None = None) -> Axes:
    """Each method as a point: another number of it, and its mean average precision.

    Args:
        comparison: One number of bits of what `compare` gives: `method`, `mean`, `deviation` and the other number.
        name: Of the other number's column.
        label: Of its axis.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(7, 5))[1]
    ax.errorbar(comparison[name], comparison["mean"], comparison["deviation"], fmt="o", capsize=2)
    last = -np.inf  # height of the label before, so that those of near points do not cover one another
    low, high = ax.get_ylim()
    for row in comparison.sort_values("mean").to_dict("records"):
        last = max(row["mean"], last + (high - low) / 28)
        ax.text(row[name], last, f"  {row['method']}", fontsize=8, va="center")
    ax.set(xlabel=label, ylabel="mean average precision")
    ax.margins(x=0.2)
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
    ax.plot(rows["published"], rows.index, "D", mfc="none", color="black", label="published")
    ax.set_yticks(rows.index, rows["loss"] + ", " + rows["bits"].astype(str) + " bits")
    ax.set(xlabel="mean average precision")
    ax.legend()
    return ax

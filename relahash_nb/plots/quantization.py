"""What the sign takes away: codes bit by bit, and the quantization error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from relahash_nb.plots.style import label_rims, looks, panels, place_legend

UNIT = "code before the sign / mean size"


def plot_bit_histograms(
    densities: Mapping[str, np.ndarray], edges: np.ndarray, bits: Sequence[int] = range(8), columns: int = 4
) -> Figure:
    """Some bits, one a panel, the losses over one another.

    Args:
        densities: (K, bins) by loss, as `bit_histograms` gives them.
        edges: (bins + 1,).
        bits: Which to draw, numbers below K.
        columns: Panels a row.
    """
    figure, axes = panels(len(bits), width=1.4, height=1.5, columns=columns)
    for ax, bit in zip(axes, bits, strict=True):
        draw_densities(ax, {name: density[bit] for name, density in densities.items()}, edges)
        ax.set_title(f"bit {bit + 1}", fontsize="small", pad=2)
        ax.set_xticks([-2, 0, 2])
    figure.supxlabel(UNIT, fontsize=plt.rcParams["axes.labelsize"])
    figure.supylabel("density", fontsize=plt.rcParams["axes.labelsize"])
    return label_rims(figure)


def plot_bit(densities: Mapping[str, np.ndarray], edges: np.ndarray, bit: int, ax: Axes | None = None) -> Axes:
    """One bit, the losses over one another.

    Args:
        densities: (K, bins) by loss, as `bit_histograms` gives them.
        edges: (bins + 1,).
        bit: Below K.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    draw_densities(ax, {name: density[bit] for name, density in densities.items()}, edges)
    ax.set(xlabel=UNIT, ylabel="density", title=f"bit {bit + 1}", ylim=(0, 1.2 * ax.get_ylim()[1]))
    place_legend(ax, loc="upper center", ncols=3)
    return ax


def draw_densities(ax: Axes, densities: Mapping[str, np.ndarray], edges: np.ndarray) -> None:
    """Stepped histograms (bins,) by name, filled so lightly that those behind are seen."""
    for name, look in looks(densities).items():
        ax.stairs(densities[name], edges, fill=True, alpha=0.25, color=look["color"])
        ax.stairs(densities[name], edges, color=look["color"], ls=look["ls"], lw=1.1, label=name)
    ax.axvline(0, color="black", lw=0.6)
    ax.set(xlim=(edges[0], edges[-1]))


def plot_bit_densities(densities: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """All bits, a row each and a panel a loss, darker where more codes lie.

    Args:
        densities: (K, bins) by loss, as `bit_histograms` gives them.
        edges: (bins + 1,).
    """
    figure, axes = panels(len(densities), width=2.5, height=3.2)
    # Beyond the 99th percentile all is black, so that one narrow bit does not bleach the others.
    most = np.quantile(np.concatenate(list(densities.values())), 0.99)
    for ax, (name, density) in zip(axes, densities.items(), strict=True):
        rows = np.arange(len(density) + 1) + 0.5
        mesh = ax.pcolormesh(edges, rows, density, cmap="Blues", vmin=0, vmax=most, rasterized=True)
        ax.axvline(0, color="black", lw=0.6)
        ax.set(ylabel="bit", title=name, xticks=[-2, 0, 2], ylim=(len(density) + 0.5, 0.5))
        ax.yaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=2))
    figure.supxlabel(UNIT, fontsize=plt.rcParams["axes.labelsize"])
    label_rims(figure, legend=False)
    figure.colorbar(mesh, ax=list(axes), label="density", extend="max", aspect=30, pad=0.02)
    return figure


def plot_by_bits(runs: pd.DataFrame, column: str = "quantization_error", ax: Axes | None = None) -> Axes:
    """A quantity against the bits: mean over the seeds, its deviation as a bar.

    Args:
        runs: A run a row, with `loss`, `bits` and the column.
        column: What to draw.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    styles = looks(runs["loss"])
    for place, (loss, rows) in enumerate(runs.groupby("loss", sort=False)):
        means = rows.groupby("bits")[column].agg(["mean", "std"]).fillna({"std": 0.0})
        # A little to the side of one another, or equal values would hide.
        x = means.index * 1.15 ** ((place + 0.5) / len(styles) - 0.5)
        ax.errorbar(x, means["mean"], means["std"], label=loss, capsize=3, ms=4, lw=1.4, **styles[loss])
    bits = sorted(runs["bits"].unique())
    ax.set_xscale("log", base=2)
    ax.set_xticks(bits, map(str, bits))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="bits", ylabel=column.replace("_", " "), ylim=(0, None))
    ax.margins(x=0.1)
    place_legend(ax)
    return ax


def plot_cosines(cosines: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Share of the items up to each cosine between code and sign: the farther to the right, the less is lost.

    Args:
        cosines: (N,) by loss, as `code_cosine` gives them.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for name, look in looks(cosines).items():
        mean = cosines[name].mean()
        ax.ecdf(cosines[name], color=look["color"], ls=look["ls"], lw=1.6, label=f"{name}, mean {mean:.3f}")
    ax.set(xlabel="cos(z, sign z)", ylabel="share of the items, up to", xlim=(None, 1))
    place_legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return ax


def plot_course(histories: pd.DataFrame, column: str = "quantization_error", ax: Axes | None = None) -> Axes:
    """A quantity over the epochs: mean over the seeds, their least and greatest as a band.

    Args:
        histories: An epoch of a run a row, with `loss`, `epoch` and the column.
        column: What to draw.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for loss, look in looks(histories["loss"]).items():
        course = histories[histories["loss"] == loss].groupby("epoch")[column].agg(["mean", "min", "max"])
        ax.fill_between(course.index, course["min"], course["max"], color=look["color"], alpha=0.2, lw=0)
        ax.plot(course.index, course["mean"], color=look["color"], ls=look["ls"], lw=1.6, label=loss)
    ax.set(xlabel="epoch", ylabel=column.replace("_", " "), ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    place_legend(ax)
    return ax

"""Codes before the sign, and their bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, PALETTE, looks, new_axes, plain, semantics

UNIT = "code before the sign / mean size"


@contextmanager
def own_layout() -> Iterator[None]:
    """Leaves the layout to seaborn; `rc_context` would also turn off that a notebook shows each figure by itself."""
    name = "figure.constrained_layout.use"
    before, plt.rcParams[name] = plt.rcParams[name], False
    try:
        yield
    finally:
        plt.rcParams[name] = before


def plot_codes(codes: np.ndarray, ax: Axes | None = None) -> Axes:
    """Histogram of all entries of codes (N, K) before the sign; dotted is ± their mean size."""
    ax, values = new_axes(ax), np.asarray(codes).ravel()
    sns.histplot(x=values, bins=101, stat="density", element="step", color=PALETTE[0], ax=ax)
    for sign, dashes in ((0, "-"), (-1, ":"), (1, ":")):
        ax.axvline(sign * np.abs(values).mean(), color="black", lw=0.8, ls=dashes)
    ax.set(xlabel="code before the sign (dotted: ± mean size)", ylabel="density")
    return ax


def plot_bit_histograms(
    densities: Mapping[str, np.ndarray], edges: np.ndarray, bits: Sequence[int] = range(8)
) -> Figure:
    """Some bits (from 0) before the sign, a panel each; `bit_histograms` gives (K, bins) and edges (bins + 1,)."""
    table = tabulate({name: density[list(bits)] for name, density in densities.items()}, edges, bits)
    style = semantics(table["loss"]) | {"markers": False}
    size = dict(col_wrap=4, height=1.8, aspect=1.2) if len(bits) > 1 else dict(height=3.4, aspect=1.8)
    options = dict(kind="line", drawstyle="steps-mid", col="bit", errorbar=None, **style, **size)
    with own_layout():
        grid = sns.relplot(table, x=UNIT, y="density", hue="loss", style="loss", **options)
    for ax in grid.axes.flat:
        ax.axvline(0, color="black", lw=0.6)
    grid.set_titles("bit {col_name}").set(xlim=(edges[0], edges[-1]), xlabel="", xticks=[-2, 0, 2])
    grid.figure.supxlabel(UNIT, fontsize=plt.rcParams["axes.labelsize"])
    return grid.figure


def plot_bit_densities(densities: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """All bits before the sign, one row per bit and one panel per loss; arguments as of `plot_bit_histograms`."""
    bits = len(next(iter(densities.values())))
    # Beyond the 99th percentile all is black, so that one narrow bit does not bleach the others.
    most = np.quantile(np.concatenate(list(densities.values())), 0.99)
    options = dict(col="loss", col_wrap=min(len(densities), 3), height=3.2, cmap="Blues", vmin=0, vmax=most)
    table, cells = tabulate(densities, edges, range(bits)), (edges, np.arange(bits + 1) + 0.5)
    with own_layout():
        grid = sns.displot(table, x=UNIT, y="bit", weights="density", bins=cells, thresh=None, **options)
    grid.set_titles("{col_name}").set(xticks=[-2, 0, 2], ylim=(bits + 0.5, 0.5))
    return grid.figure


def tabulate(densities: Mapping[str, np.ndarray], edges: np.ndarray, bits: Sequence[int]) -> pd.DataFrame:
    """Histograms (bits, bins) by loss as a table for seaborn; bits are counted from 1."""
    centres = (edges[:-1] + edges[1:]) / 2
    rows = pd.MultiIndex.from_product([map(plain, densities), [bit + 1 for bit in bits], centres])
    table = pd.DataFrame({"density": np.concatenate(list(densities.values())).ravel()}, index=rows)
    return table.rename_axis(["loss", "bit", UNIT]).reset_index()


def plot_shares(
    values: Mapping[str, np.ndarray], label: str, references: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Which share of the values (N,) of each name is at most x, without NaN; `references` are vertical lines."""
    ax = new_axes(ax)
    for name, look in looks(values).items():
        known = values[name][~np.isnan(values[name])]
        sns.ecdfplot(x=known, color=look["color"], lw=1.6, label=f"{plain(name)}, mean {known.mean():.3g}", ax=ax)
        ax.lines[-1].set_dashes(look["dashes"] or (None, None))
    for name, place in (references or {}).items():
        ax.axvline(place, color="black", lw=1, ls=":", label=plain(name))
    ax.set(xlabel=label, ylabel="share, up to")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_positions(points: np.ndarray, labels: np.ndarray, centroids: np.ndarray, ax: Axes | None = None) -> Axes:
    """Codes of two bits (N, 2) with class numbers (N,), a colour and a marker per class; centroids (C, 2) are rings."""
    ax = new_axes(ax, (3.3, 3.3))
    for label, look in enumerate(looks(map(str, range(len(centroids)))).values()):
        rows = np.asarray(labels) == label
        ax.scatter(*points[rows].T, s=14, color=look["color"], marker=look["marker"], linewidths=0)
        ax.scatter(*centroids[label], s=130, facecolors="none", edgecolors=[look["color"]], linewidths=1.8)
    ax.axhline(0, color="grey", lw=0.6), ax.axvline(0, color="grey", lw=0.6)
    ax.set(xlabel="bit 1", ylabel="bit 2", aspect="equal")
    return ax


def plot_map(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], centroids: np.ndarray, shares: Sequence[float]
) -> Figure:
    """Codes in the plane: one panel for each of the first ten classes, its codes in colour, all others in grey.

    Args:
        points: (N, 2) float.
        labels: (N,) class numbers.
        names: C.
        centroids: (C, 2), drawn as crosses.
        shares: Of the variance along both axes, 0 to 1.
    """
    columns = min(len(names), 5)
    rows = -(-min(len(names), 10) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 1.9 * rows + 0.3), sharex=True, sharey=True, squeeze=False)
    for label, ax in enumerate(axes.flat):
        if label >= len(names):
            ax.remove()
            continue
        own = np.asarray(labels) == label
        ax.scatter(*points[~own].T, s=2, color=GREY, alpha=0.3, lw=0, rasterized=True)
        ax.scatter(*points[own].T, s=5, color=PALETTE[0], lw=0, rasterized=True)
        ax.plot(*centroids[label], "X", color="black", mec="white", ms=8)
        ax.set_title(plain(names[label]))
    for axis, write in enumerate((figure.supxlabel, figure.supylabel)):
        share = f"{100 * shares[axis]:.0f} % of the variance"
        write(f"component {axis + 1}, {share}", fontsize=plt.rcParams["axes.labelsize"])
    return figure

"""Codes before the sign, and their bits."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, PALETTE, looks, new_axes, panels, plain

UNIT = "code before the sign / mean size"


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
    figure, axes = panels(len(bits), 4, 1.8) if len(bits) > 1 else panels(1, 1, 3.4)
    for ax, bit in zip(axes, bits, strict=True):
        for (name, density), look in zip(densities.items(), looks(densities).values(), strict=True):
            style = dict(color=look["color"], dashes=look["dashes"], drawstyle="steps-mid", label=plain(name))
            ax.plot((edges[:-1] + edges[1:]) / 2, density[bit], **style)
        ax.axvline(0, color="black", lw=0.6)
        ax.set(title=f"bit {bit + 1}", xlim=(edges[0], edges[-1]), xticks=[-2, 0, 2])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    figure.supxlabel(UNIT)
    figure.supylabel("density")
    return figure


def plot_bit_densities(densities: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """All bits before the sign, one row per bit and one panel per loss; arguments as of `plot_bit_histograms`."""
    # Beyond the 99th percentile all is black, so that one narrow bit does not bleach the others.
    most = np.quantile(np.concatenate(list(densities.values())), 0.99)
    figure, axes = panels(len(densities), 3, 3.2)
    for ax, (name, density) in zip(axes, densities.items(), strict=True):
        rows = np.arange(len(density) + 1) + 0.5
        ax.pcolormesh(edges, rows, density, cmap="Blues", vmin=0, vmax=most, rasterized=True)
        ax.set(title=plain(name), xticks=[-2, 0, 2], ylim=(rows[-1], rows[0]))
    figure.supxlabel(UNIT)
    figure.supylabel("bit")
    return figure


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
    """Codes (N, 2) in the plane: one panel for each of the first ten classes, its codes in colour, all others in grey.

    `labels` (N,) are numbers of the C classes in `names`, `centroids` (C, 2) are drawn as crosses, and `shares` are
    those of the variance along both axes, 0 to 1.
    """
    figure, axes = panels(min(len(names), 10), 5, 2.0)
    for label, ax in enumerate(axes):
        own = np.asarray(labels) == label
        ax.scatter(*points[~own].T, s=2, color=GREY, alpha=0.3, lw=0, rasterized=True)
        ax.scatter(*points[own].T, s=5, color=PALETTE[0], lw=0, rasterized=True)
        ax.plot(*centroids[label], "X", color="black", mec="white", ms=8)
        ax.set_title(plain(names[label]))
    figure.supxlabel(f"component 1, {100 * shares[0]:.0f} % of the variance")
    figure.supylabel(f"component 2, {100 * shares[1]:.0f} % of the variance")
    return figure

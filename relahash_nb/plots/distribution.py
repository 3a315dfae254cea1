"""How codes use their bits, and how classes lie among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from relahash_nb.metrics import ClassDistances
from relahash_nb.plots.style import RIGHT, WRONG, label_rims, looks, panels, place_legend


def plot_bit_balance(balances: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Mean of each bit, the bits of each loss sorted; 0 is balanced, ±1 constant.

    Args:
        balances: (K,) by loss, as `bit_balance` gives them.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for name, look in looks(balances).items():
        values = np.sort(balances[name])
        ax.plot(np.arange(len(values)) + 1, values, label=name, ms=3.5, lw=1, **look)
    ax.axhline(0, color="black", lw=0.6)
    ax.set(xlabel="bit, in the order of its mean", ylabel="mean of the bit", ylim=(-1.05, 1.05))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    place_legend(ax, loc="upper left")
    return ax


def plot_bit_correlation(correlations: Mapping[str, np.ndarray]) -> Figure:
    """Correlation of each pair of bits, a panel a loss; off the diagonal, the paler the better.

    Args:
        correlations: (K, K) by loss, as `bit_correlation` gives them.
    """
    figure, axes = panels(len(correlations), width=2.5 if len(correlations) > 1 else 3.6, height=2.7)
    for ax, (name, correlation) in zip(axes, correlations.items(), strict=True):
        edges = np.arange(len(correlation) + 1) + 0.5
        mesh = ax.pcolormesh(edges, edges, correlation, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
        ax.set(xlabel="bit", ylabel="bit", title=name, aspect="equal", ylim=(edges[-1], edges[0]))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
    label_rims(figure, legend=False)
    figure.colorbar(mesh, ax=list(axes), label="correlation", aspect=30, pad=0.02, shrink=0.85)
    return figure


def plot_class_distances(distances: ClassDistances, ax: Axes | None = None) -> Axes:
    """Hamming distances of pairs that share a label and of pairs that do not; what they have in common is hatched.

    Args:
        distances: As `class_distances` gives them.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    pairs = (distances.intra, distances.inter)
    edges = np.arange(len(distances.intra) + 1) - 0.5
    shares = [counts / max(counts.sum(), 1) for counts in pairs]
    names = (f"share a label, mean {distances.mean_intra:.1f}", f"share none, mean {distances.mean_inter:.1f}")
    for share, colour, name in zip(shares, (RIGHT, WRONG), names, strict=True):
        ax.stairs(share, edges, fill=True, alpha=0.3, color=colour)
        ax.stairs(share, edges, color=colour, lw=1.1, label=name)
    label = f"overlap {100 * distances.overlap:.1f} %"
    ax.stairs(
        np.minimum(*shares), edges, fill=True, facecolor="none", edgecolor="black", lw=0, hatch="/////", label=label
    )
    used = np.flatnonzero(sum(pairs))
    ax.set(xlabel="Hamming distance, bits", ylabel="share of the pairs", xlim=(-0.5, used.max(initial=1) + 1.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    place_legend(ax)
    return ax


def plot_centroid_distances(
    distances: Mapping[str, np.ndarray], radius: float | None = None, ax: Axes | None = None
) -> Axes:
    """Share of the items up to each distance from their own centroid.

    Args:
        distances: (N,) by loss, as `centroid_distances` gives them; NaN where an item has no class.
        radius: Half the least distance of two centroids, drawn as a line: no other is nearer there.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for name, look in looks(distances).items():
        known = distances[name][~np.isnan(distances[name])]
        ax.ecdf(known, color=look["color"], ls=look["ls"], lw=1.6, label=f"{name}, mean {known.mean():.1f}")
    if radius is not None:
        ax.axvline(radius, color="black", lw=1, ls=":", label="half the centroids' least distance")
    ax.set(xlabel="Hamming distance to the own centroid, bits", ylabel="share of the items, up to", ylim=(0, 1.02))
    ax.set_xlim(left=0)
    place_legend(ax)
    return ax


def plot_map(
    points: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    centroids: np.ndarray | None = None,
    shares: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Codes in the plane, each class a colour and a marker, the centroids with their numbers.

    Args:
        points: (N, 2) float.
        labels: (N,) class numbers.
        names: C; up to ten are in the legend.
        centroids: (C, 2), where there are any.
        shares: Of the variance along both axes, 0 to 1.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3.4))[1]
    styles = list(looks(map(str, range(len(names)))).values())
    for label in np.unique(labels):
        look, rows = styles[label], np.asarray(labels) == label
        ax.scatter(*points[rows].T, s=7, color=look["color"], marker=look["marker"], alpha=0.55, lw=0, rasterized=True)
    for label, place in enumerate(() if centroids is None else centroids):
        frame = dict(boxstyle="circle,pad=0.15", fc="white", ec=styles[label]["color"], lw=1)
        ax.annotate(str(label + 1), place, ha="center", va="center", fontsize=6.5, bbox=frame)
    along = ["" if shares is None else f", {100 * shares[axis]:.0f} % of the variance" for axis in range(2)]
    ax.set(xlabel=f"first component{along[0]}", ylabel=f"second component{along[1]}")
    if len(names) <= 10:
        handles = [
            Line2D([], [], color=look["color"], marker=look["marker"], ls="", ms=4, label=f"{label + 1} {names[label]}")
            for label, look in enumerate(styles)
        ]
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2, fontsize="small")
    return ax


def plot_confusion(confusion: np.ndarray, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Which classes a search brings in for which; with up to ten classes the shares are printed too.

    Args:
        confusion: (C, C), as `retrieval_confusion` gives it: a row for the query's class.
        names: C.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 4.2))[1]
    mesh = ax.imshow(confusion, vmin=0, vmax=1, cmap="Blues")
    ax.figure.colorbar(mesh, ax=ax, label="share of the nearest items", aspect=30, pad=0.02)
    ax.set(xlabel="class of the item", ylabel="class of the query")
    ax.tick_params(length=0)
    if len(names) > 10:
        return ax
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    for row, column in zip(*np.nonzero(confusion >= 0.005), strict=True):
        share = confusion[row, column]
        colour = "white" if share > 0.5 else "black"
        ax.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
    return ax

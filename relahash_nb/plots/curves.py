"""Curves with the lines they are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from relahash_nb.plots.style import LINES, looks, place_legend


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
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for (name, values), look in zip(curves.items(), looks(curves).values(), strict=True):
        ax.plot(x, values, label=name, color=look["color"], ls=look["ls"], lw=1.6)
    for place, (name, value) in enumerate((references or {}).items()):
        ax.axhline(value, label=name, color="black", lw=1, ls=LINES[1:][place % 3])
    ax.margins(x=0.02)
    place_legend(ax)
    return ax


def plot_positions(points: np.ndarray, labels: np.ndarray, centroids: np.ndarray, ax: Axes | None = None) -> Axes:
    """Codes of two bits in the plane, each class a colour and a marker, with the centroids as rings.

    Args:
        points: (N, 2) float.
        labels: (N,) class numbers.
        centroids: (C, 2), at the points' scale.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(3.3, 3.3))[1]
    for label, look in enumerate(looks(map(str, range(len(centroids)))).values()):
        rows = np.asarray(labels) == label
        ax.scatter(*points[rows].T, s=14, color=look["color"], marker=look["marker"], linewidths=0)
        ax.scatter(*centroids[label], s=130, facecolors="none", edgecolors=[look["color"]], linewidths=1.8)
    ax.axhline(0, color="grey", lw=0.6)
    ax.axvline(0, color="grey", lw=0.6)
    ax.set(xlabel="bit 1", ylabel="bit 2", aspect="equal")
    return ax

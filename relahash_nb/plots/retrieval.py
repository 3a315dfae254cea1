"""What a search finds: distances, precision."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from relahash_nb.plots.style import RIGHT, WRONG


def plot_hamming(relevant: np.ndarray, total: np.ndarray, ax: Axes | None = None) -> Axes:
    """Share of the relevant and of the irrelevant pairs at each Hamming distance.

    Args:
        relevant: (K + 1,) or (Q, K + 1) counts of relevant items at distance 0 to K.
        total: Likewise, of all items.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    relevant, total = (np.atleast_2d(counts).sum(0) for counts in (relevant, total))
    distances = np.arange(len(total) + 1) - 0.5
    for name, counts, colour in (("relevant", relevant, RIGHT), ("irrelevant", total - relevant, WRONG)):
        ax.stairs(counts / max(counts.sum(), 1), distances, fill=True, alpha=0.5, color=colour, label=name)
    ax.set(xlabel="Hamming distance", ylabel="share of the pairs")
    ax.legend()
    return ax


def plot_precision_at(ranks: Sequence[int], precision: Sequence[float], chance: float, ax: Axes | None = None) -> Axes:
    """Precision within the first n ranks.

    Args:
        ranks: The n, rising.
        precision: At each of them, 0 to 1.
        chance: Of a random ranking, 0 to 1; drawn as a line.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    ax.plot(ranks, precision, marker=".")
    ax.axhline(chance, color="grey", ls=":", label="random ranking")
    ax.set(xscale="log", xlabel="ranks", ylabel="precision", ylim=(0, 1.02))
    ax.legend()
    return ax


def plot_within(precision: np.ndarray, recall: np.ndarray, ax: Axes | None = None) -> Axes:
    """Precision and recall of the items within each Hamming radius.

    Args:
        precision: (K + 1,) at radius 0 to K, 0 to 1 or NaN.
        recall: Likewise.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for name, values, style in (("precision", precision, "-"), ("recall", recall, "--")):
        ax.plot(values, color="black", ls=style, label=name)
    ax.set(xlabel="Hamming radius", ylabel="precision, recall", xlim=(-0.5, len(precision) - 0.5), ylim=(0, 1.02))
    ax.legend()
    return ax

"""What a search finds: distances, precision, classes that take each other's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relahash_nb.metrics import ClassDistances
from relahash_nb.plots.style import RIGHT, WRONG, new_axes, plain


def plot_hamming(relevant: np.ndarray, total: np.ndarray, ax: Axes | None = None) -> Axes:
    """Share of the relevant and of the irrelevant pairs at each Hamming distance, on a logarithmic axis.

    On a linear one the relevant pairs at distance 0 would leave nothing to see of those where both kinds mix.

    Args:
        relevant: (K + 1,) or (Q, K + 1) counts of relevant items at distance 0 to K.
        total: Likewise, of all items.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax)
    relevant, total = (np.atleast_2d(counts).sum(0) for counts in (relevant, total))
    edges = np.arange(len(total) + 1) - 0.5
    kinds = (("relevant", relevant, RIGHT, "-"), ("irrelevant", total - relevant, WRONG, "--"))
    shares = [counts / max(counts.sum(), 1) for _, counts, *_ in kinds]
    for share, (name, _, colour, line) in zip(shares, kinds, strict=True):
        ax.stairs(share, edges, fill=True, alpha=0.3, color=colour)
        ax.stairs(share, edges, color=colour, ls=line, lw=1.1, label=name)
    least = min((share[share > 0].min() for share in shares if share.any()), default=0.1)
    ax.set(yscale="log", ylim=(max(least, 1e-5) / 2, 1.5), xlim=(-0.5, np.flatnonzero(total).max(initial=1) + 1.5))
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="Hamming distance, bits", ylabel="share of the pairs")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, borderaxespad=0.1)
    return ax


def plot_class_distances(distances: Mapping[str, ClassDistances]) -> Figure:
    """Distances of pairs that share a label (relevant) and of pairs that share none, a panel a name.

    Args:
        distances: By name, as `class_distances` gives them.
    """
    columns = min(len(distances), 3)
    size = dict(sharex=True, sharey=True, figsize=(9 if columns > 1 else 7, 3.2 * -(-len(distances) // columns)))
    figure, axes = plt.subplots(-(-len(distances) // columns), columns, squeeze=False, **size)
    for ax, (name, pairs) in zip(axes.flat, distances.items(), strict=False):
        plot_hamming(pairs.intra, pairs.intra + pairs.inter, ax)
        means = f"means {pairs.mean_intra:.1f} and {pairs.mean_inter:.1f} bits"
        ax.set_title(f"{plain(name)}: {means},\noverlap {100 * pairs.overlap:.1f} %", pad=18)
        ax.label_outer()
    for ax in axes.flat[len(distances) :]:
        ax.remove()
    return figure


def plot_confusion(confusion: np.ndarray, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Which classes a search brings in for which; with up to ten classes the shares are printed too.

    Args:
        confusion: (C, C), as `retrieval_confusion` gives it: a row for the query's class.
        names: C.
        ax: Where to draw; None: a new figure.
    """
    ax, few = new_axes(ax, (7, 5.2)), len(names) <= 10
    shares = np.where(confusion >= 0.005, np.char.mod("%.2f", confusion), "") if few else None
    ticks = [plain(name) for name in names] if few else False
    options = dict(cmap="Blues", vmin=0, vmax=1, square=True, cbar_kws={"label": "share of the nearest items"})
    sns.heatmap(confusion, annot=shares, fmt="", xticklabels=ticks, yticklabels=ticks, ax=ax, **options)
    ax.set(xlabel="class of the item", ylabel="class of the query")
    return ax

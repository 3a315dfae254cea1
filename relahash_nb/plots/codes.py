"""Codes before the sign, and their bits."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import GREY, PALETTE, looks, new_axes, panels, plain

UNIT = "code before the sign / mean size"


def plot_codes(codes: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draws the histogram of all entries of codes (N, K) before the sign; dotted lines are at ± their mean size."""
    values = np.asarray(codes).ravel()
    mean_size = np.abs(values).mean()
    ax = new_axes(ax)
    ax.hist(values, bins=101, density=True, histtype="stepfilled", color=PALETTE[0], alpha=0.75)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.axvline(-mean_size, color="black", linewidth=0.8, linestyle=":")
    ax.axvline(mean_size, color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="code before the sign (dotted: ± mean size)", ylabel="density")
    return ax


def plot_bit_histograms(
    densities: Mapping[str, np.ndarray], edges: np.ndarray, bits: Sequence[int] = range(8)
) -> Figure:
    """Draws single bits before the sign, one panel per bit and one line per name.

    Args:
        densities: (K, bins) for each name, as `bit_histograms` gives them.
        edges: (bins + 1,), the edges of the bins.
        bits: The bits to draw, counted from 0.
    """
    if len(bits) > 1:
        figure, axes = panels(len(bits), columns=4, height=1.8)
    else:
        figure, axes = panels(1, columns=1, height=3.4)
    centres = (edges[:-1] + edges[1:]) / 2
    for ax, bit in zip(axes, bits, strict=True):
        for name, look in looks(densities).items():
            ax.plot(
                centres,
                densities[name][bit],
                color=look.color,
                linestyle=look.linestyle,
                drawstyle="steps-mid",
                label=plain(name),
            )
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set(title=f"bit {bit + 1}", xlim=(edges[0], edges[-1]), xticks=[-2, 0, 2])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    figure.supxlabel(UNIT)
    figure.supylabel("density")
    return figure


def plot_bit_densities(densities: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """Draws all bits before the sign, one panel per name and one row per bit; arguments as in `plot_bit_histograms`."""
    # Beyond the 99th percentile all is black: one narrow bit would otherwise make all others look pale.
    highest = np.quantile(np.concatenate(list(densities.values())), 0.99)
    figure, axes = panels(len(densities), columns=3, height=3.2)
    for ax, (name, density) in zip(axes, densities.items(), strict=True):
        rows = np.arange(len(density) + 1) + 0.5
        ax.pcolormesh(edges, rows, density, cmap="Blues", vmin=0, vmax=highest, rasterized=True)
        ax.set(title=plain(name), xticks=[-2, 0, 2], ylim=(rows[-1], rows[0]))
    figure.supxlabel(UNIT)
    figure.supylabel("bit")
    return figure


def plot_shares(
    values: Mapping[str, np.ndarray], label: str, references: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Draws a cumulative curve for each name: which share of its values is at most x.

    Args:
        values: (N,) for each name; NaN is left out.
        label: What the values are, for the axis.
        references: Vertical lines at these x, by name.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax)
    for name, look in looks(values).items():
        numbers = values[name][~np.isnan(values[name])]
        ax.ecdf(
            numbers,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.6,
            label=f"{plain(name)}, mean {numbers.mean():.3g}",
        )
    for name, place in (references or {}).items():
        ax.axvline(place, color="black", linewidth=1, linestyle=":", label=plain(name))
    ax.set(xlabel=label, ylabel="cumulative share")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_positions(points: np.ndarray, labels: np.ndarray, centroids: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draws codes of two bits, one colour and marker per class; a ring is the class's centroid.

    Args:
        points: (N, 2) codes before the sign.
        labels: (N,) class numbers, 0 to C − 1.
        centroids: (C, 2).
        ax: Where to draw; None: a new figure.
    """
    points = np.asarray(points)
    labels = np.asarray(labels)
    centroids = np.asarray(centroids)
    classes = [str(label) for label in range(len(centroids))]
    ax = new_axes(ax, (3.3, 3.3))
    for label, look in enumerate(looks(classes).values()):
        x, y = points[labels == label].T
        ax.scatter(x, y, s=14, color=look.color, marker=look.marker, linewidths=0)
        x, y = centroids[label]
        ax.scatter(x, y, s=130, facecolors="none", edgecolors=look.color, linewidths=1.8)
    ax.axhline(0, color="grey", linewidth=0.6)
    ax.axvline(0, color="grey", linewidth=0.6)
    ax.set(xlabel="bit 1", ylabel="bit 2", aspect="equal")
    return ax


def plot_map(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], centroids: np.ndarray, shares: Sequence[float]
) -> Figure:
    """Draws codes in the plane, a panel for each of the first ten classes: its codes in colour, all others in grey.

    Args:
        points: (N, 2) codes, projected to the plane.
        labels: (N,) class numbers, 0 to C − 1.
        names: C names of classes.
        centroids: (C, 2), projected likewise; each is a cross.
        shares: The share of the variance along each axis, 0 to 1.
    """
    labels = np.asarray(labels)
    figure, axes = panels(min(len(names), 10), columns=5, height=2.0)
    for label, ax in enumerate(axes):
        x, y = points[labels != label].T
        ax.scatter(x, y, s=2, color=GREY, alpha=0.3, linewidths=0, rasterized=True)
        x, y = points[labels == label].T
        ax.scatter(x, y, s=5, color=PALETTE[0], linewidths=0, rasterized=True)
        x, y = centroids[label]
        ax.plot(x, y, marker="X", color="black", markeredgecolor="white", markersize=8)
        ax.set_title(plain(names[label]))
    figure.supxlabel(f"component 1, {100 * shares[0]:.0f} % of the variance")
    figure.supylabel(f"component 2, {100 * shares[1]:.0f} % of the variance")
    return figure

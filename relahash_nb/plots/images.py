"""Results of a search: images, distances, which classes are confused."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from relahash_nb.metrics import ClassDistances
from relahash_nb.plots.style import RIGHT, WRONG, new_axes, panels, plain

GAP = 0.06  # between two images, in widths of one


def plot_images(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> Figure:
    """Images (N, 1 or 3, H, W) uint8 in rows, each with a line of text above it."""
    rows, pitch = -(-len(images) // columns), 1.25
    ax = table(rows * pitch, columns)
    for number, (image, title) in enumerate(zip(images, titles, strict=False)):
        row, column = divmod(number, columns)
        top = row * pitch + 0.22
        draw_image(ax, image, column, top)
        ax.text(column + 0.5, top - 0.04, plain(title), ha="center", va="bottom", fontsize=8)
    return ax.figure


def plot_retrieval(queries: np.ndarray, nearest: np.ndarray, relevant: np.ndarray, names: Sequence[str]) -> Figure:
    """Queries (S, C, H, W) uint8 with their nearest images (S, R, C, H, W): ✓ relevant (S, R), ✗ in dashes is not."""
    rows, columns = relevant.shape
    pitch, start = 1.3, 1.15  # from row to row; of the first of the nearest
    ax = table(rows * pitch + 0.3, start + columns, left=1.6)
    ax.text(0.5, 0.2, "query", ha="center", va="bottom", fontsize=9)
    ax.text(start + 0.5, 0.2, "nearest", ha="center", va="bottom", fontsize=9)
    for row in range(rows):
        top = 0.25 + row * pitch
        ax.text(-0.1, top + 0.5, plain(names[row]), ha="right", va="center", fontsize=9)
        draw_image(ax, queries[row], 0, top)
        for column in range(columns):
            left = start + column
            # A sign and the dashes beside the colour, for those who cannot tell the two apart.
            sign, colour = ("✓", RIGHT) if relevant[row, column] else ("✗", WRONG)
            draw_image(ax, nearest[row, column], left, top, colour)
            ax.text(left + 0.5, top + 0.95, sign, color=colour, ha="center", va="top", fontsize=10, weight="bold")
    return ax.figure


def plot_hamming(relevant: np.ndarray, total: np.ndarray, ax: Axes | None = None) -> Axes:
    """Shares of relevant and irrelevant pairs by distance; counts (K + 1,) or (Q, K + 1), `total` of both kinds."""
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
    """Distances of relevant and irrelevant pairs, one panel per name; `distances` as `class_distances` gives them."""
    figure, axes = panels(len(distances), 3, 3.2)
    for ax, (name, pairs) in zip(axes, distances.items(), strict=True):
        plot_hamming(pairs.intra, pairs.intra + pairs.inter, ax)
        means = f"means {pairs.mean_intra:.1f} and {pairs.mean_inter:.1f} bits"
        ax.set_title(f"{plain(name)}: {means},\noverlap {100 * pairs.overlap:.1f} %", pad=18)
        ax.label_outer()
    return figure


def plot_confusion(confusion: np.ndarray, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Which classes a search confuses, (C, C) as `retrieval_confusion` gives it; up to ten classes with numbers."""
    ax, few = new_axes(ax, (7, 5.2)), len(names) <= 10
    shares = np.where(confusion >= 0.005, np.char.mod("%.2f", confusion), "") if few else None
    ticks = [plain(name) for name in names] if few else False
    options = dict(cmap="Blues", vmin=0, vmax=1, square=True, cbar_kws={"label": "share of the nearest items"})
    sns.heatmap(confusion, annot=shares, fmt="", xticklabels=ticks, yticklabels=ticks, ax=ax, **options)
    ax.set(xlabel="class of the item", ylabel="class of the query")
    return ax


def table(height: float, width: float, left: float = 0.0) -> Axes:
    """One empty axes for many images, in widths of an image (an axes per image would take a second for a hundred)."""
    figure, ax = plt.subplots(figsize=(0.7 * (width + left), 0.7 * height), layout="none")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    return fit_images(ax, height, width, left)


def fit_images(ax: Axes, height: float, width: float, left: float = 0.0) -> Axes:
    """Axes made ready for images of one unit."""
    ax.set(xlim=(-left, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return ax


def draw_image(ax: Axes, image: np.ndarray, left: float, top: float, colour: str | None = None) -> None:
    """One image (1 or 3, H, W) uint8 in the unit square at (left, top), framed if a colour is given."""
    image = np.moveaxis(np.asarray(image), 0, -1)  # (H, W, C)
    limits = ax.get_xlim(), ax.get_ylim()
    right, bottom = left + 1 - GAP, top + 1 - GAP
    ax.imshow(image.repeat(3, axis=2) if image.shape[2] == 1 else image, extent=(left + GAP, right, bottom, top + GAP))
    ax.set(xlim=limits[0], ylim=limits[1])  # which each image moves
    if colour is not None:
        size, line = 1 - 2 * GAP, (0, (2, 1)) if colour == WRONG else "-"
        ax.add_patch(Rectangle((left + GAP, top + GAP), size, size, fill=False, ec=colour, lw=2.2, ls=line))

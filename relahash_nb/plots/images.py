"""Results of a search: images, distances, which classes are confused; and the method in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from relahash_nb.centroids import make_centroids
from relahash_nb.config import package_file
from relahash_nb.metrics import ClassDistances
from relahash_nb.plots.style import GREY, RIGHT, WRONG, new_axes, plain

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


def plot_overview() -> Figure:
    """The method in one picture: an image, the K numbers of a network, their signs, and a search by Hamming distance.

    The images are those of the package; the network is linear, fitted to the centroids of ±1 by least squares.
    """
    bits = 16
    with np.load(package_file("data/fashion_mini.npz")) as data:
        images, labels = data["images"][:2000, None], data["labels"][:2000]  # (N, 1, H, W), (N,)
    pixels = images.reshape(len(images), -1) / 255.0 - 0.5
    centroids = make_centroids(labels.max() + 1, bits).numpy()
    weights = np.linalg.solve(pixels.T @ pixels + 10 * np.eye(pixels.shape[1]), pixels.T @ centroids[labels])
    codes, query = pixels @ weights, 7  # (N, K)
    distances = ((codes > 0) != (codes[query] > 0)).sum(1)  # (N,)
    found = [np.flatnonzero(distances == far)[int(far == 0)] for far in (0, 1, bits // 2)]

    figure = plt.figure(figsize=(7, 1.9), layout="none")
    places = ((0.0, 0.15), (0.24, 0.17), (0.48, 0.15), (0.71, 0.29))
    titles = ("image", f"{bits} numbers", f"{bits} signs", "database: bits that differ")
    axes = [figure.add_axes((left, 0.06, width, 0.7)) for left, width in places]
    for ax, title in zip(axes, titles, strict=True):
        ax.axis("off")
        figure.text(ax.get_position().x0 + ax.get_position().width / 2, 0.86, title, ha="center", fontsize=10)
    for middle, words in ((0.195, "network"), (0.445, "sign"), (0.67, "search")):
        figure.text(middle, 0.42, f"{words}\n→", fontsize=9, ha="center", va="center", linespacing=0.9)
    fit_images(axes[0], 1.3, 1), fit_images(axes[3], 1.3, len(found))
    draw_image(axes[0], images[query], 0, 0.1)
    axes[1].bar(range(bits), codes[query], color=np.where(codes[query] > 0, "black", GREY))
    axes[1].axhline(0, color="black", lw=0.6)
    grid = np.where(codes[query] > 0, 1, -1).reshape(-1, int(bits**0.5))
    signs = np.where(grid > 0, "+", "−")
    options = dict(cmap=[GREY, "black"], vmin=-1, vmax=1, cbar=False, square=True, linewidths=1)
    sns.heatmap(grid, annot=signs, fmt="", annot_kws={"size": 10}, ax=axes[2], **options)
    for place, item in enumerate(found):
        sign, colour = ("✓", RIGHT) if labels[item] == labels[query] else ("✗", WRONG)
        draw_image(axes[3], images[item], place, 0.1, colour)
        axes[3].text(place + 0.5, 1.12, f"{distances[item]} {sign}", ha="center", va="top", fontsize=10)
    return figure


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

"""Images: samples of a data set, queries with what was found."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from relahash_nb.plots.style import RIGHT, WRONG, plain

GAP = 0.06  # between two images, in widths of one


def plot_images(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> Figure:
    """A grid of images with a line of text above each.

    Args:
        images: (N, 1 or 3, H, W) uint8.
        titles: N.
        columns: Images a row.
    """
    rows, pitch = -(-len(images) // columns), 1.25
    ax = table(rows * pitch, columns)
    for number, (image, title) in enumerate(zip(images, titles, strict=False)):
        row, column = divmod(number, columns)
        top = row * pitch + 0.22
        draw_image(ax, image, column, top)
        ax.text(column + 0.5, top - 0.04, plain(title), ha="center", va="bottom", fontsize=8)
    return ax.figure


def plot_retrieval(queries: np.ndarray, nearest: np.ndarray, relevant: np.ndarray, names: Sequence[str]) -> Figure:
    """Queries, one a row, with their nearest database images; right ones framed and ticked, wrong ones crossed.

    Args:
        queries: (S, C, H, W) uint8.
        nearest: (S, R, C, H, W) uint8, in the order of distance.
        relevant: (S, R) bool.
        names: S, of the queries' classes.
    """
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


def plot_overview(
    image: np.ndarray, code: np.ndarray, nearest: np.ndarray, relevant: np.ndarray, distances: np.ndarray
) -> Figure:
    """The method in one picture: an image, the network's K numbers, their signs, and what a search by them finds.

    Args:
        image: (C, H, W) uint8, the query.
        code: (K,) float, its code before the sign.
        nearest: (R, C, H, W) uint8, items of the database in the order of distance; three are drawn.
        relevant: (R,) bool.
        distances: (R,) Hamming distances, bits.
    """
    figure = plt.figure(figsize=(10, 2.3), layout="none")
    titles = ["an image", f"network: {len(code)} numbers", f"their signs: {len(code)} bits", "Hamming search"]
    axes = [figure.add_axes((left, 0.1, width, 0.7)) for left, width in zip(
        (0.01, 0.2, 0.45, 0.68), (0.15, 0.19, 0.17, 0.31), strict=True)]  # fmt: skip
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=11)
        ax.axis("off")
    for left in (0.165, 0.4, 0.63):
        figure.text(left + 0.015, 0.45, "→", fontsize=20, ha="center", va="center")
    for ax, count in ((axes[0], 1), (axes[3], 3)):
        ax.set(xlim=(0, count), ylim=(1.2, 0), aspect="equal")
    draw_image(axes[0], image, 0, 0)
    colours = np.where(code >= 0, RIGHT, WRONG)
    axes[1].bar(range(len(code)), code, color=colours, width=0.8)
    axes[1].axhline(0, color="black", lw=0.6)
    side = 2 ** (int(np.log2(len(code))) // 2)
    bits = np.append(np.sign(code) + (code == 0), np.full(-len(code) % side, np.nan)).reshape(side, -1)
    sns.heatmap(bits, cmap=[WRONG, RIGHT], cbar=False, square=True, linewidths=1, ax=axes[2])
    for place, (item, right, distance) in enumerate(zip(nearest[:3], relevant, distances, strict=False)):
        draw_image(axes[3], item, place, 0, RIGHT if right else WRONG)
        axes[3].text(place + 0.5, 1, f"{distance} bits differ", ha="center", va="top", fontsize=9)
    return figure


def table(height: float, width: float, left: float = 0.0) -> Axes:
    """One empty axes for many images, in widths of an image: an axes for each of a hundred would take a second.

    Args:
        height: Downwards from 0.
        width: To the right of 0.
        left: To the left of 0, for text.
    """
    figure, ax = plt.subplots(figsize=(0.7 * (width + left), 0.7 * height), layout="none")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    return fit_images(ax, height, width, left)


def fit_images(ax: Axes, height: float, width: float, left: float = 0.0) -> Axes:
    """Axes made ready for images of one unit."""
    ax.set(xlim=(-left, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return ax


def draw_image(ax: Axes, image: np.ndarray, left: float, top: float, colour: str | None = None) -> None:
    """One image (1 or 3, H, W) uint8 in the unit square at a place of a table, in a frame where a colour is given."""
    image = np.moveaxis(np.asarray(image), 0, -1)  # (H, W, C)
    limits = ax.get_xlim(), ax.get_ylim()
    right, bottom = left + 1 - GAP, top + 1 - GAP
    ax.imshow(image.repeat(3, axis=2) if image.shape[2] == 1 else image, extent=(left + GAP, right, bottom, top + GAP))
    ax.set(xlim=limits[0], ylim=limits[1])  # which each image moves
    if colour is not None:
        size, line = 1 - 2 * GAP, (0, (2, 1)) if colour == WRONG else "-"
        ax.add_patch(Rectangle((left + GAP, top + GAP), size, size, fill=False, ec=colour, lw=2.2, ls=line))

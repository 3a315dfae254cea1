"""Images: samples of a data set, queries with what was found."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from relahash_nb.plots.style import RIGHT, WRONG

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
        ax.text(column + 0.5, top - 0.04, title, ha="center", va="bottom", fontsize=7)
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
    pitch, start = 1.22, 1.15  # from row to row; of the first of the nearest
    ax = table(rows * pitch + 0.25, start + columns, left=1.3)
    ax.text(0.5, 0.2, "query", ha="center", va="bottom", fontsize=8)
    ax.text(start + 0.5, 0.2, "nearest", ha="center", va="bottom", fontsize=8)
    for row in range(rows):
        top = 0.25 + row * pitch
        ax.text(-0.1, top + 0.5, names[row], ha="right", va="center", fontsize=8)
        draw_image(ax, queries[row], 0, top)
        for column in range(columns):
            left, is_right = start + column, relevant[row, column]
            draw_image(ax, nearest[row, column], left, top, colour=RIGHT if is_right else WRONG)
            # A sign beside the colour, for those who cannot tell the two apart.
            sign, colour = ("✓", RIGHT) if is_right else ("✗", WRONG)
            ax.text(left + 0.5, top + 1.0, sign, color=colour, ha="center", va="top", fontsize=7)
    return ax.figure


def table(height: float, width: float, left: float = 0.0) -> Axes:
    """One empty axes for many images, in widths of an image: an axes for each of a hundred would take a second.

    Args:
        height: Downwards from 0.
        width: To the right of 0.
        left: To the left of 0, for text.
    """
    figure, ax = plt.subplots(figsize=(0.9 * (width + left), 0.9 * height), layout="none")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    ax.set(xlim=(-left, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return ax


def draw_image(ax: Axes, image: np.ndarray, left: float, top: float, colour: tuple[float, ...] | None = None) -> None:
    """One image (1 or 3, H, W) uint8 in the unit square at a place of a table, in a frame where a colour is given."""
    image = np.moveaxis(np.asarray(image), 0, -1)  # (H, W, C)
    limits = ax.get_xlim(), ax.get_ylim()
    right, bottom = left + 1 - GAP, top + 1 - GAP
    ax.imshow(image.repeat(3, axis=2) if image.shape[2] == 1 else image, extent=(left + GAP, right, bottom, top + GAP))
    ax.set(xlim=limits[0], ylim=limits[1])  # which each image moves
    if colour is not None:
        size = 1 - 2 * GAP
        ax.add_patch(Rectangle((left + GAP, top + GAP), size, size, fill=False, edgecolor=colour, linewidth=1.8))

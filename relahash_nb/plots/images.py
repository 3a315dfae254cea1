"""Images: samples of a data set, queries with what was found."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.plots.style import RIGHT, WRONG


def plot_images(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> Figure:
    """A grid of images with a line of text above each.

    Args:
        images: (N, 1 or 3, H, W) uint8.
        titles: N.
        columns: Images a row.
    """
    rows = -(-len(images) // columns)
    figure, axes = grid(rows, columns, width=columns, height=1.2 * rows)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        draw_image(ax, image)
        ax.set_title(title, fontsize=7, pad=2)
    return figure


def plot_retrieval(queries: np.ndarray, nearest: np.ndarray, relevant: np.ndarray, names: Sequence[str]) -> Figure:
    """Queries, one a row, with their nearest database images; right ones framed and ticked, wrong ones crossed.

    Args:
        queries: (S, C, H, W) uint8.
        nearest: (S, R, C, H, W) uint8, in the order of distance.
        relevant: (S, R) bool.
        names: S, of the queries' classes.
    """
    rows, columns = relevant.shape
    figure, axes = grid(rows, columns + 1, width=0.9 * columns + 1.4, height=1.05 * rows)
    for row in range(rows):
        axes[row, 0].set_ylabel(names[row], rotation=0, ha="right", va="center", fontsize=8)
        draw_image(axes[row, 0], queries[row])
        for column in range(columns):
            ax, is_right = axes[row, column + 1], relevant[row, column]
            draw_image(ax, nearest[row, column], colour=RIGHT if is_right else WRONG)
            # A sign beside the colour, for those who cannot tell the two apart.
            ax.set_xlabel("✓" if is_right else "✗", color=RIGHT if is_right else WRONG, labelpad=1, fontsize=8)
    axes[0, 0].set_title("query", fontsize=8)
    axes[0, 1].set_title("nearest", fontsize=8)
    return figure


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of many small axes (rows, columns), placed by hand: solving for a layout takes seconds."""
    spacing = {"wspace": 0.06, "hspace": 0.3, "left": 0.1, "right": 0.99, "top": 0.95, "bottom": 0.03}
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="none", gridspec_kw=spacing)


def draw_image(ax: Axes, image: np.ndarray, colour: tuple[float, ...] | None = None) -> Axes:
    """One image (1 or 3, H, W) uint8, without ticks, in a frame of a colour where one is given."""
    image = np.moveaxis(np.asarray(image), 0, -1)  # (H, W, C)
    ax.imshow(image.repeat(3, axis=2) if image.shape[2] == 1 else image)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=colour is not None, color=colour, linewidth=2)
    return ax

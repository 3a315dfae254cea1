"""Results of a search: images, distances, which classes are confused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from relahash_nb.plots.style import RIGHT, WRONG, new_axes, panels, plain

if TYPE_CHECKING:
    from relahash_nb.metrics import ClassDistances

# All images of a figure share one axes, whose unit is the width of an image. An axes for each image would take a second
# for a hundred of them.
INCHES = 0.7  # of a unit
GAP = 0.06  # units around an image
ROW = 1.3  # units from row to row: an image and its caption


def plot_images(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> Figure:
    """Draws images (N, 1 or 3, H, W) uint8 in rows, each with its title below it."""
    rows = math.ceil(len(images) / columns)
    figure, ax = image_figure(columns, ROW * rows)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(number, columns)
        draw_image(ax, image, column, ROW * row, plain(title))
    return figure


def plot_retrieval(
    queries: np.ndarray, nearest: np.ndarray, relevant: np.ndarray, names: Sequence[str], distances: np.ndarray
) -> Figure:
    """Draws one row per query: its class, its image, and the images that a search finds, the nearest first.

    Args:
        queries: (S, 1 or 3, H, W) uint8.
        nearest: (S, R, 1 or 3, H, W) uint8.
        relevant: (S, R) bool; ✓ in a solid frame is relevant, ✗ in a dashed one is not.
        names: S classes.
        distances: (S, R) int; stands below the image.
    """
    rows, columns = relevant.shape
    header = 0.25
    first = 1.15  # of the nearest; a small space keeps the query apart
    figure, ax = image_figure(first + columns, header + ROW * rows, left=1.6)
    ax.text(0.5, header, "query", ha="center", va="bottom")
    ax.text(first, header, "nearest, and the bits that differ", va="bottom")
    for row in range(rows):
        top = header + ROW * row
        ax.text(-0.1, top + 0.5, plain(names[row]), ha="right", va="center")
        draw_image(ax, queries[row], 0, top)
        for rank in range(columns):
            distance = str(distances[row, rank])
            draw_image(ax, nearest[row, rank], first + rank, top, distance, bool(relevant[row, rank]))
    return figure


def plot_hamming(relevant: np.ndarray, total: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draws which share of the relevant and of the irrelevant pairs is at each Hamming distance.

    Args:
        relevant: Counts of relevant pairs at distance 0 to K, (K + 1,) or (Q, K + 1).
        total: Counts of all pairs, likewise.
        ax: Where to draw; None: a new figure.
    """
    relevant = np.atleast_2d(relevant).sum(axis=0)
    total = np.atleast_2d(total).sum(axis=0)
    irrelevant = total - relevant
    relevant_shares = relevant / max(relevant.sum(), 1)
    irrelevant_shares = irrelevant / max(irrelevant.sum(), 1)
    edges = np.arange(len(total) + 1) - 0.5

    ax = new_axes(ax)
    ax.stairs(relevant_shares, edges, fill=True, alpha=0.3, color=RIGHT)
    ax.stairs(relevant_shares, edges, color=RIGHT, linewidth=1.1, label="relevant")
    ax.stairs(irrelevant_shares, edges, fill=True, alpha=0.3, color=WRONG)
    ax.stairs(irrelevant_shares, edges, color=WRONG, linewidth=1.1, linestyle="--", label="irrelevant")

    shares = np.concatenate([relevant_shares, irrelevant_shares])
    lowest = shares[shares > 0].min(initial=0.1)
    farthest = np.flatnonzero(total).max(initial=1)
    ax.set(yscale="log", ylim=(max(lowest, 1e-5) / 2, 1.5), xlim=(-0.5, farthest + 1.5))
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="Hamming distance, bits", ylabel="share of the pairs")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, borderaxespad=0.1)
    return ax


def plot_class_distances(distances: Mapping[str, ClassDistances]) -> Figure:
    """Draws the distances of relevant and irrelevant pairs, as `class_distances` gives them, one panel per name."""
    figure, axes = panels(len(distances), columns=3, height=3.4)
    for ax, (name, pairs) in zip(axes, distances.items(), strict=True):
        plot_hamming(pairs.intra, pairs.intra + pairs.inter, ax)
        means = f"means {pairs.mean_intra:.1f} and {pairs.mean_inter:.1f} bits"
        overlap = f"overlap {100 * pairs.overlap:.1f} %"
        ax.set_title(f"{plain(name)}\n{means}\n{overlap}", pad=18)
        ax.label_outer()
    return figure


def plot_confusion(confusion: np.ndarray, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draws which classes a search confuses.

    Args:
        confusion: (C, C) shares, as `retrieval_confusion` gives them.
        names: C names of classes; they and the shares are written out for up to ten classes.
        ax: Where to draw; None: a new figure.
    """
    import seaborn as sns

    shares = None
    ticks: list[str] | bool = False
    if len(names) <= 10:
        shares = np.where(confusion >= 0.005, np.char.mod("%.2f", confusion), "")
        ticks = [plain(name) for name in names]
    ax = new_axes(ax, (7, 5.2))
    sns.heatmap(
        confusion,
        annot=shares,
        fmt="",
        xticklabels=ticks,
        yticklabels=ticks,
        vmin=0,
        vmax=1,
        cmap="Blues",
        square=True,
        cbar_kws={"label": "share of the nearest items"},
        ax=ax,
    )
    ax.set(xlabel="class of the item", ylabel="class of the query")
    return ax


def image_figure(width: float, height: float, left: float = 0.0) -> tuple[Figure, Axes]:
    """Makes a figure for images and the one axes that fills it; sizes are those of `use_image_units`."""
    # Not "none": after a save with a tight box, such a figure has the default engine, which warns.
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)  # does nothing
    figure = plt.figure(figsize=(INCHES * (left + width), INCHES * height), layout=engine)
    ax = figure.add_axes((0, 0, 1, 1))
    use_image_units(ax, width, height, left)
    return figure, ax


def use_image_units(ax: Axes, width: float, height: float, left: float = 0.0) -> None:
    """Makes axes ready for `draw_image`: x from −`left` to `width`, y from 0 at the top to `height`.

    The unit is the width of an image.
    """
    ax.set(xlim=(-left, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")


def draw_image(
    ax: Axes, image: np.ndarray, left: float, top: float, caption: str = "", relevant: bool | None = None
) -> None:
    """Draws one image in the unit square at (`left`, `top`).

    Args:
        ax: Axes that `use_image_units` made ready.
        image: (1 or 3, H, W) uint8.
        left: In widths of an image.
        top: In widths of an image.
        caption: Text below the image.
        relevant: True: ✓ before the caption and a solid frame; False: ✗ and a dashed one; None: neither.
    """
    pixels = np.moveaxis(np.asarray(image), 0, -1)  # (H, W, 1 or 3)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    near = GAP
    far = 1 - GAP
    ax.imshow(pixels, extent=(left + near, left + far, top + far, top + near))
    if relevant is None:
        ax.text(left + 0.5, top + 1, caption, size="small", ha="center", va="top")
        return
    if relevant:
        sign = "✓"
        colour = RIGHT
        linestyle = "solid"
    else:
        sign = "✗"
        colour = WRONG
        linestyle = "dashed"
    side = far - near
    frame = Rectangle((left + near, top + near), side, side, fill=False)
    frame.set(edgecolor=colour, linewidth=2.2, linestyle=linestyle)
    ax.add_patch(frame)
    ax.text(left + 0.5, top + 1, f"{sign} {caption}".rstrip(), color=colour, weight="bold", ha="center", va="top")

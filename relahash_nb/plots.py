"""Figures: arrays or a DataFrame in, and an `ax` where you have one; the `ax` out. Nothing is read, saved or shown."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

RIGHT, WRONG = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]  # told apart by the colour-blind


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme("paper", "ticks", "colorblind", font_scale=1.1)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})


def plot_training(history: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Loss, and centroid accuracy on the axis to the right, over the epochs.

    Args:
        history: A row an epoch, with `epoch`, `loss`, `centroid_accuracy`, and `validation_map` or `query_map` where
            they were evaluated.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    loss_colour, accuracy_colour, map_colour = sns.color_palette("colorblind")[:3]
    (loss,) = ax.plot(history["epoch"], history["loss"], color=loss_colour, marker=".", label="loss")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = ax.twinx()
    lines = [
        loss,
        *right.plot(
            history["epoch"],
            history["centroid_accuracy"],
            color=accuracy_colour,
            marker=".",
            ls="--",
            label="centroid accuracy",
        ),
    ]
    for name in ("validation_map", "query_map"):
        if name in history:
            known = history.dropna(subset=name)
            lines += right.plot(
                known["epoch"], known[name], color=map_colour, marker="s", ls=":", label=name.replace("_map", " mAP")
            )
    right.set(ylabel="centroid accuracy" if len(lines) == 2 else "centroid accuracy, mAP", ylim=(0, 1.02))
    right.spines["right"].set_visible(True)
    ax.legend(handles=lines, loc="center right")
    return ax


def plot_codes(codes: np.ndarray, ax: Axes | None = None) -> Axes:
    """Histogram of all entries of codes before the sign: two humps at one distance from 0 lose little by the sign.

    Args:
        codes: (N, K) float, before the sign.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    values = np.asarray(codes).ravel()
    ax.hist(values, bins=101, density=True, histtype="stepfilled", color=sns.color_palette("colorblind")[0], alpha=0.8)
    ax.axvline(0, color="black", lw=0.8)
    size = np.abs(values).mean()
    for sign in (-1, 1):
        ax.axvline(sign * size, color="black", lw=0.8, ls=":")
    ax.set(xlabel="code before the sign (dotted: ± mean size)", ylabel="density")
    return ax


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

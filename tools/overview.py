"""Writes docs/overview.png, the method in one picture, from the embedded images: `python tools/overview.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from relahash_nb.centroids import make_centroids
from relahash_nb.paths import package_file
from relahash_nb.plots import set_style
from relahash_nb.plots.images import draw_image, fit_images
from relahash_nb.plots.style import GREY, RIGHT, WRONG

TARGET = Path(__file__).parent.parent / "docs" / "overview.png"


def draw_overview() -> Figure:
    """The method in one picture: an image, the K numbers of a network, their signs, and a search by Hamming distance.

    The images are those of the package; the network is linear, fitted to the centroids of ±1 by least squares.
    """
    bits = 16
    with np.load(package_file("data/fashion_mini.npz"), allow_pickle=False) as data:
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


if __name__ == "__main__":
    set_style()
    draw_overview().savefig(TARGET, dpi=200, metadata={"Software": None})
    print(TARGET)

"""Writes the first pictures of README and of the notebooks: `python tools/pictures.py`.

- docs/overview.png: the method in one picture, from the embedded images.
- docs/answer.png: a query and what it finds, from a published run.
- docs/codes.png: the codes of images of all classes, of two published runs.
- docs/seeds.png: the score of each run of some methods, from the published table.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.paths import package_file
from relahash_nb.plots import set_style
from relahash_nb.plots.images import ROW, draw_image, use_image_units
from relahash_nb.plots.style import GREY, PALETTE, new_axes
from relahash_nb.results import Run, load_run, select_runs

DOCS = Path(__file__).parent.parent / "docs"
BITS = 16
QUERY = 7  # an image whose nearest images make the point
ANSWERS = (0, 7, 8)  # rows of the run's shown queries
NEAREST = 8
DISTANCES = (0, 1, BITS // 2)  # of the three database images that are shown
# Title, left edge and width of each panel, in parts of the figure.
PANELS = (
    ("image", 0.0, 0.15),
    (f"{BITS} numbers", 0.24, 0.17),
    (f"{BITS} signs", 0.48, 0.15),
    ("database: bits that differ", 0.71, 0.29),
)
ARROWS = (("network", 0.195), ("sign", 0.445), ("search", 0.67))  # each with its centre


def draw_overview() -> Figure:
    """Draws an image, the K numbers of a network, their signs, and a search by Hamming distance."""
    images, labels = load_images()
    codes = fit_codes(images, labels)
    distances = ((codes > 0) != (codes[QUERY] > 0)).sum(axis=1)  # (N,)

    figure = plt.figure(figsize=(7, 1.9), layout="none")
    axes = []
    for title, left, width in PANELS:
        ax = figure.add_axes((left, 0.06, width, 0.7))
        ax.axis("off")
        figure.text(left + width / 2, 0.86, title, ha="center", fontsize=10)
        axes.append(ax)
    for word, centre in ARROWS:
        figure.text(centre, 0.42, f"{word}\n→", fontsize=9, ha="center", va="center", linespacing=0.9)

    use_image_units(axes[0], 1, ROW)
    draw_image(axes[0], images[QUERY], 0, 0.1)
    draw_numbers(axes[1], codes[QUERY])
    draw_signs(axes[2], codes[QUERY])
    use_image_units(axes[3], len(DISTANCES), ROW)
    for place, distance in enumerate(DISTANCES):
        items = np.flatnonzero((distances == distance) & (np.arange(len(images)) != QUERY))
        item = items[0]
        is_relevant = bool(labels[item] == labels[QUERY])
        draw_image(axes[3], images[item], place, 0.1, str(distance), is_relevant)
    return figure


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Reads 2,000 images of the package, (N, 1, H, W) uint8, and their classes (N,)."""
    with np.load(package_file("data/fashion_mini.npz"), allow_pickle=False) as data:
        return data["images"][:2000, None], data["labels"][:2000]


def fit_codes(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes codes (N, K) of a linear network, which least squares fit to the centroids."""
    pixels = images.reshape(len(images), -1) / 255.0 - 0.5
    centroids = make_centroids(labels.max() + 1, BITS).numpy()
    covariance = pixels.T @ pixels + 10 * np.eye(pixels.shape[1])
    weights = np.linalg.solve(covariance, pixels.T @ centroids[labels])
    return pixels @ weights


def draw_numbers(ax: Axes, code: np.ndarray) -> None:
    """Draws a code before the sign as bars, black above 0."""
    ax.bar(range(BITS), code, color=np.where(code > 0, "black", GREY))
    ax.axhline(0, color="black", linewidth=0.6)


def draw_signs(ax: Axes, code: np.ndarray) -> None:
    """Draws the signs of a code as the cells of a square."""
    grid = np.where(code > 0, 1, -1).reshape(4, 4)
    sns.heatmap(
        grid,
        annot=np.where(grid > 0, "+", "−"),
        fmt="",
        annot_kws={"size": 10},
        cmap=[GREY, "black"],
        vmin=-1,
        vmax=1,
        cbar=False,
        square=True,
        linewidths=1,
        ax=ax,
    )


def draw_answer(run: Run, rows: Sequence[int] = ANSWERS) -> Figure:
    """Draws queries of a run, their bits, and the images nearest to each with the number of bits that differ."""
    arrays = run.arrays
    query_codes, query_targets = run.codes("query")
    database_codes, database_targets = run.codes("database")
    figure, ax = plt.subplots(figsize=(9, 0.9 * len(rows) + 0.3), layout="none")
    figure.subplots_adjust(0.01, 0, 0.99, 1)
    use_image_units(ax, NEAREST + 2.6, ROW * len(rows) + 0.3)
    for title, middle in (
        ("query", 0.5),
        ("its 64 bits", 1.7),
        ("nearest images: bits that differ", 2.6 + NEAREST / 2),
    ):
        ax.text(middle, 0.2, title, ha="center")
    for place, row in enumerate(rows):
        top = 0.3 + ROW * place
        query = arrays["shown_queries"][row]
        name = run.report.data.class_names[query_targets[query].argmax()]
        draw_image(ax, arrays["thumbnails"][arrays["query_thumbnails"][row]], 0, top, name)
        ax.imshow(query_codes[query].reshape(8, 8), cmap="gray", extent=(1.3, 2.1, top + 0.9, top + 0.1))
        for rank, item in enumerate(arrays["nearest"][row][:NEAREST]):
            image = arrays["thumbnails"][arrays["nearest_thumbnails"][row, rank]]
            distance = int((database_codes[item] != query_codes[query]).sum())
            is_relevant = bool((database_targets[item] & query_targets[query]).any())
            draw_image(ax, image, 2.6 + rank, top, str(distance), is_relevant)
    return figure


def draw_codes(runs: Sequence[Run], images_per_class: int = 20) -> Figure:
    """Draws the binary codes of images as rows of cells, sorted by class, one panel for each run."""
    figure, axes = plt.subplots(1, len(runs), figsize=(9, 3.8), sharey=True)
    for ax, run in zip(axes, runs, strict=True):
        codes, targets = run.codes("database")  # (D, K), (D, C)
        labels = targets.argmax(1)
        rows = [np.flatnonzero(labels == label)[:images_per_class] for label in range(targets.shape[1])]
        shown = codes[np.concatenate(rows)]
        ax.imshow(shown, cmap="gray", aspect="auto", interpolation="nearest", extent=(0.5, 64.5, len(rows), 0))
        ax.set(title=run.config.loss, xlabel="bit", xticks=[1, 16, 32, 48, 64])
    axes[0].set_yticks(np.arange(len(rows)) + 0.5, labels=runs[0].report.data.class_names)
    axes[0].tick_params(axis="y", length=0)
    return figure


def draw_seeds(bits: int = 64, best: int = 8) -> Figure:
    """Draws the score of each run of the best methods of the published table, a row for each method."""
    runs, _ = select_runs(None, "fashion_mini", variants=True)
    runs = runs[runs["bits"] == bits]
    means = runs.groupby("method")["mean_average_precision"].mean().nlargest(best)
    ax = new_axes(None, (7, 2.8))
    for place, method in enumerate(means.index[::-1]):
        scores = runs.loc[runs["method"] == method, "mean_average_precision"]
        ax.plot(scores, [place] * len(scores), "o", color=PALETTE[0], alpha=0.7, markersize=6)
    ax.set_yticks(range(len(means)), labels=means.index[::-1])
    ax.grid(axis="y", color="0.9")
    ax.set(title=f"Fashion-MNIST, {bits} bits: a point is one run, only the seed differs")
    ax.set_xlabel("mean average precision")
    return ax.figure


def save_small(png: bytes, path: Path, colours: int = 256) -> None:
    """Saves a picture in few colours, about a third of the bytes; its texts, such as the runs it shows, stay."""
    image = Image.open(io.BytesIO(png))
    if image.mode == "P":  # it has few colours already
        path.write_bytes(png)
        return
    texts = PngInfo()
    for name, text in getattr(image, "text", {}).items():
        texts.add_text(name, text)
    image.convert("RGB").quantize(colours).save(path, optimize=True, pnginfo=texts)


def main() -> None:
    """Writes the pictures."""
    set_style()
    place = DOCS / "results" / "runs"
    run = load_run(place / RunConfig().run_id)
    rival = load_run(place / RunConfig(loss="cross_entropy").run_id)
    pictures = {
        "overview": draw_overview(),
        "answer": draw_answer(run),
        "codes": draw_codes([run, rival]),
        "seeds": draw_seeds(),
    }
    for name, figure in pictures.items():
        png = io.BytesIO()
        figure.savefig(png, dpi=200 if name == "overview" else 110, metadata={"Software": None})
        save_small(png.getvalue(), DOCS / f"{name}.png")


if __name__ == "__main__":
    main()

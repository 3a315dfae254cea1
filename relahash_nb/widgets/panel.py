"""The same view in matplotlib: one figure, drawn once, whose bars, curves and images change."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relahash_nb.plots import plot_hamming, plot_within
from relahash_nb.plots.images import draw_image
from relahash_nb.plots.style import RIGHT, WRONG
from relahash_nb.widgets.view import View


class Panel:
    """A figure of a view that is redrawn in place: a new figure for every move would take several times as long.

    Args:
        view: What to show.
        group: A position as `show` takes it.
        query: Likewise.
        radius: Likewise; None: an eighth of the bits.

    Attributes:
        figure: The matplotlib `Figure`, which no `pyplot` knows of.
    """

    def __init__(self, view: View, group: int = 0, query: int = 1, radius: int | None = None):
        self.view = view
        self.figure = Figure(figsize=(9, 4.6), dpi=90, layout="none")
        self.canvas = FigureCanvasAgg(self.figure)
        shown = view.nearest_thumbnails.shape[1]
        # Placed by hand: solving for a layout would take as long as the drawing.
        top = self.figure.add_gridspec(1, 2, left=0.08, right=0.99, top=0.87, bottom=0.43, wspace=0.2)
        below = self.figure.add_gridspec(1, shown + 1, left=0.01, right=0.99, top=0.27, bottom=0.1, wspace=0.1)
        self.histogram, self.curves = (self.figure.add_subplot(cell) for cell in top)
        self.images = [self.figure.add_subplot(cell) for cell in below]
        plot_hamming(view.relevant[0], view.relevant[0] + view.irrelevant[0], self.histogram)
        plot_within(view.precision[0], view.recall[0], self.curves)
        for ax in (self.histogram, self.curves):
            ax.set(xlim=(-0.5, view.bits + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.curves.legend(loc="center right")
        self.balls = [ax.axvspan(-0.5, 0.5, color="black", alpha=0.1, lw=0) for ax in (self.histogram, self.curves)]
        for ax in self.images:
            draw_image(ax, view.thumbnails[0], colour=(0, 0, 0))
        self.show(group, query, view.bits // 8 if radius is None else radius)

    def show(self, group: int, query: int, radius: int) -> None:
        """Redraws.

        Args:
            group: 0 to G − 1.
            query: 1 is the group's first; 0 the mean of all its queries.
            radius: Threshold, 0 to K.
        """
        view, row = self.view, self.view.row(group, query)
        shares = [counts[row] / max(counts[row].sum(), 1) for counts in (view.relevant, view.irrelevant)]
        for bars, values in zip(self.histogram.patches[:2], shares, strict=True):
            bars.set_data(values)
        self.histogram.set_ylim(0, 1.05 * max(values.max() for values in shares))
        for line, values in zip(self.curves.lines, (view.precision[row], view.recall[row]), strict=True):
            line.set_ydata(values)
        for ball in self.balls:
            ball.set_width(radius + 1)
        mean = f"mean of {view.sizes[group]:,} queries, {view.groups[group]}"
        name = f"query {query}, {view.labels[view.query_labels[row]]}" if query else mean
        scores = f"precision {view.precision[row, radius]:.3f}, recall {view.recall[row, radius]:.3f}"
        self.figure.suptitle(f"{name}: within {radius} of {view.bits} bits {scores}", fontsize=11)
        self.show_images(row if query else None, radius)

    def show_images(self, row: int | None, radius: int) -> None:
        """The query and its nearest images, those beyond the threshold pale; none for the mean of a group."""
        for ax in self.images:
            ax.set_visible(row is not None)
        if row is None:
            return
        view, (first, *rest) = self.view, self.images
        replace_image(first, view.thumbnails[view.query_thumbnails[row]], "query", "black")
        marks = zip(view.nearest_relevant[row], view.nearest_distances[row], view.nearest_thumbnails[row], strict=True)
        for ax, (is_right, distance, place) in zip(rest, marks, strict=True):
            text, colour = f"{'✓' if is_right else '✗'} {distance}", RIGHT if is_right else WRONG
            replace_image(ax, view.thumbnails[place], text, colour, alpha=1 if distance <= radius else 0.35)

    def _repr_png_(self) -> bytes:  # what a notebook shows
        return self.png()

    def png(self) -> bytes:
        """The figure as it stands; hardly compressed, which is faster."""
        file = io.BytesIO()
        self.canvas.print_png(file, pil_kwargs={"compress_level": 1})
        return file.getvalue()


def replace_image(ax, image: np.ndarray, text: str, colour, alpha: float = 1.0) -> None:
    """Another image (1 or 3, h, w) in axes that `draw_image` has drawn into, with a line of text below."""
    image = np.moveaxis(image, 0, -1)
    ax.images[0].set_data(image.repeat(3, axis=2) if image.shape[2] == 1 else image)
    ax.images[0].set_alpha(alpha)
    ax.set_xlabel(text, color=colour, labelpad=2, fontsize=9)
    for spine in ax.spines.values():
        spine.set_color(colour)

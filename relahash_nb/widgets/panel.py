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
        self.figure = Figure(figsize=(9, 4.3), dpi=90, layout="none")
        self.canvas = FigureCanvasAgg(self.figure)
        # Placed by hand: solving for a layout would take as long as the drawing.
        top = self.figure.add_gridspec(1, 2, left=0.08, right=0.99, top=0.87, bottom=0.42, wspace=0.2)
        self.histogram, self.curves = (self.figure.add_subplot(cell) for cell in top)
        self.images = self.figure.add_axes((0.01, 0, 0.98, 0.26))
        plot_hamming(view.relevant[0], view.relevant[0] + view.irrelevant[0], self.histogram)
        plot_within(view.precision[0], view.recall[0], self.curves)
        for ax in (self.histogram, self.curves):
            ax.set(xlim=(-0.5, view.bits + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.curves.legend(loc="center right")
        self.balls = [ax.axvspan(-0.5, 0.5, color="black", alpha=0.1, lw=0) for ax in (self.histogram, self.curves)]
        width = 1 + view.nearest_thumbnails.shape[1]  # the query, then its nearest
        self.images.set(xlim=(0, width), ylim=(1.25, 0), aspect="equal", anchor="N")
        self.images.axis("off")
        for place in range(width):
            draw_image(self.images, view.thumbnails[0], place, 0, colour="black")
            self.images.text(place + 0.5, 1, "", ha="center", va="top", fontsize=9)
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
        self.images.set_visible(row is not None)
        if row is None:
            return
        view = self.view
        places = [view.query_thumbnails[row], *view.nearest_thumbnails[row]]
        marks = [("query", "black", 0)]
        for is_right, distance in zip(view.nearest_relevant[row], view.nearest_distances[row], strict=True):
            marks.append((f"{'✓' if is_right else '✗'} {distance}", RIGHT if is_right else WRONG, distance))
        artists = zip(self.images.images, self.images.patches, self.images.texts, strict=True)
        for place, (words, colour, distance), (image, frame, text) in zip(places, marks, artists, strict=True):
            pixels = np.moveaxis(view.thumbnails[place], 0, -1)
            image.set_data(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
            image.set_alpha(1 if distance <= radius else 0.35)
            frame.set_edgecolor(colour)
            text.set(text=words, color=colour)

    def _repr_png_(self) -> bytes:  # what a notebook shows
        return self.png()

    def png(self) -> bytes:
        """The figure as it stands; hardly compressed, which is faster."""
        file = io.BytesIO()
        self.canvas.print_png(file, pil_kwargs={"compress_level": 1})
        return file.getvalue()

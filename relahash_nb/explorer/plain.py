"""The explorer without a custom widget: one plot function under the sliders that any notebook shows."""

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relahash_nb.explorer.view import View
from relahash_nb.plots import follow, plot_curves, plot_hamming
from relahash_nb.plots.images import draw_image, fit_images
from relahash_nb.plots.style import RIGHT, WRONG, plain


def plot_view(view: View, group: int = 0, query: int | None = None, radius: int | None = None) -> Figure:
    """One position of the explorer as a figure: distances, precision and recall, and the nearest images.

    `group` is 0 to G − 1; `query` 1 is the group's first, 0 the mean of all its queries; `radius` is the threshold, 0
    to K. None: where the explorer starts.
    """
    query = view.start[0] if query is None else query
    radius = view.start[1] if radius is None else radius
    row = view.row(group, query)
    figure, axes = plt.subplot_mosaic([["counts", "scores"], ["images"] * 2], figsize=(9, 4.8), height_ratios=(2, 1))
    plot_hamming(view.relevant[row], view.relevant[row] + view.irrelevant[row], axes["counts"])
    curves = {"precision": view.precision[row], "recall": view.recall[row]}
    plot_curves(range(view.bits + 1), curves, ax=axes["scores"]).set(xlabel="threshold, bits", ylim=(0, 1.02))
    for ax in (axes["counts"], axes["scores"]):
        ax.axvspan(-0.5, radius + 0.5, color="black", alpha=0.1, lw=0)
        ax.set_xlim(-0.5, view.bits + 0.5)
    mean = f"mean of {view.sizes[group]:,} queries, {view.groups[group]}"
    name = f"query {query}, {view.labels[view.query_labels[row]]}" if query else mean
    scores = f"precision {view.precision[row, radius]:.3f}, recall {view.recall[row, radius]:.3f}"
    figure.suptitle(plain(f"{name}: within {radius} of {view.bits} bits {scores}"))
    fit_images(axes["images"], 1.3, 1 + view.nearest_thumbnails.shape[1])
    marks = []
    if query:
        nearest = (table[row] for table in (view.nearest_thumbnails, view.nearest_relevant, view.nearest_distances))
        marks = [(view.query_thumbnails[row], "black", "query")]
        for item, right, far in zip(*nearest, strict=True):
            marks.append((item, *((RIGHT, f"✓ {far}") if right else (WRONG, f"✗ {far}"))))
    for place, (thumbnail, colour, words) in enumerate(marks):
        draw_image(axes["images"], view.thumbnails[thumbnail], place, 0, colour)
        axes["images"].text(place + 0.5, 1, words, ha="center", va="top", color=colour)
    return figure


def explore_plain(view: View) -> ipywidgets.VBox:
    """Class, query and threshold over a figure that the kernel draws; of ipywidgets what 7.7 and 8 share."""
    groups = [(name, group) for group, name in enumerate(view.groups)]
    query, radius = view.start
    controls = {
        "group": ipywidgets.Dropdown(options=groups, description="class"),
        "query": ipywidgets.IntSlider(query, 0, len(view.members[0]), description="query", continuous_update=False),
        "radius": ipywidgets.IntSlider(radius, 0, view.bits, description="threshold", continuous_update=False),
    }

    def move(_) -> None:
        """Another class has other queries."""
        controls["query"].value = 1
        controls["query"].max = len(view.members[controls["group"].value])

    draw = lambda group, query, radius: plot_view(view, group, min(query, len(view.members[group])), radius)
    controls["group"].observe(move, "value")
    return ipywidgets.VBox([*controls.values(), follow(draw, controls)])

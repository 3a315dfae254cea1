"""The explorer without a custom widget: one plot function under controls that any notebook shows."""

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relahash_nb.explorer.view import View
from relahash_nb.plots import follow, plot_curves, plot_hamming
from relahash_nb.plots.images import ROW, draw_image, use_image_units
from relahash_nb.plots.style import plain


def plot_view(view: View, group: int = 0, query: int | None = None, radius: int | None = None) -> Figure:
    """Draws one position of the explorer: distances, precision and recall, and the nearest images.

    Args:
        view: What to draw.
        group: 0 to G − 1.
        query: Counted from 1 within the group; 0: the mean of all the group's queries; None: where the explorer starts.
        radius: The threshold in bits, 0 to K; None: where the explorer starts.
    """
    first_query, first_radius = view.start
    if query is None:
        query = first_query
    if radius is None:
        radius = first_radius
    row = view.row(group, query)
    if query == 0:
        figure, axes = plt.subplot_mosaic([["counts", "scores"]], figsize=(9, 3.2))
    else:
        figure, axes = plt.subplot_mosaic(
            [["counts", "scores"], ["images", "images"]], figsize=(9, 4.8), height_ratios=(2, 1)
        )

    plot_hamming(view.relevant[row], view.relevant[row] + view.irrelevant[row], axes["counts"])
    curves = {"precision": view.precision[row], "recall": view.recall[row]}
    plot_curves(range(view.bits + 1), curves, ax=axes["scores"])
    axes["scores"].set(xlabel="threshold, bits", ylim=(0, 1.02))
    for ax in (axes["counts"], axes["scores"]):
        ax.axvspan(-0.5, radius + 0.5, color="black", alpha=0.1, linewidth=0)
        ax.set_xlim(-0.5, view.bits + 0.5)

    if query == 0:
        name = f"mean of {view.sizes[group]:,} queries, {view.groups[group]}"
    else:
        name = f"query {query}, {view.query_labels[row]}"
        draw_nearest(axes["images"], view, row)
    scores = f"precision {view.precision[row, radius]:.3f}, recall {view.recall[row, radius]:.3f}"
    figure.suptitle(plain(f"{name}: within {radius} of {view.bits} bits {scores}"))
    return figure


def draw_nearest(ax: Axes, view: View, query: int) -> None:
    """Draws a query, 0 to S − 1, and its nearest images with their distances in bits."""
    use_image_units(ax, 1 + view.nearest_thumbnails.shape[1], ROW)
    draw_image(ax, view.thumbnails[view.query_thumbnails[query]], 0, 0, "query")
    for rank, thumbnail in enumerate(view.nearest_thumbnails[query]):
        distance = view.nearest_distances[query, rank]
        is_relevant = bool(view.nearest_relevant[query, rank])
        draw_image(ax, view.thumbnails[thumbnail], 1 + rank, 0, str(distance), is_relevant)


def explore_plain(view: View) -> ipywidgets.VBox:
    """Gives controls of class, query and threshold, and a figure that the kernel draws for them.

    It uses what ipywidgets 7.7 and 8 share.
    """
    first_query, first_radius = view.start
    groups = [(name, number) for number, name in enumerate(view.groups)]
    group = ipywidgets.Dropdown(options=groups, description="class")
    query = ipywidgets.IntSlider(first_query, 0, len(view.members[0]), description="query", continuous_update=False)
    radius = ipywidgets.IntSlider(first_radius, 0, view.bits, description="threshold", continuous_update=False)

    def fit_query(_: object) -> None:
        """Another class has another number of queries."""
        query.value = 1
        query.max = len(view.members[group.value])

    def draw(group: int, query: int, radius: int) -> None:
        last_query = len(view.members[group])  # the slider of a larger class may still stand beyond it
        plot_view(view, group, min(query, last_query), radius)

    group.observe(fit_query, "value")
    controls = {"group": group, "query": query, "radius": radius}
    return ipywidgets.VBox([*controls.values(), follow(draw, controls)])

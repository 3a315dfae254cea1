"""One look for all figures."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from relahash_nb.registry import BASELINES

if TYPE_CHECKING:
    import ipywidgets

LineStyle = str | tuple[float, Sequence[float]]

# Seaborn's palette "colorblind" without its grey: colour-blind readers can tell these colours apart.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#ece133", "#56b4e9")
# Matplotlib's "tab20" without its greys, the dark colours first: for more names than the palette has colours.
MANY = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf",
    "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d", "#9edae5",
)  # fmt: skip
GREY = "#949494"  # for baselines, which are not trained
RIGHT = PALETTE[0]  # for relevant items
WRONG = PALETTE[3]  # for all other items
LINE_STYLES: tuple[LineStyle, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SIZE = (7, 3.4)  # inches; as wide as the column of a notebook

STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.figsize": SIZE,
    "figure.constrained_layout.use": True,
    "font.size": 9.6,  # points; readable at the width of a column
    "axes.titlesize": "medium",
    "figure.labelsize": "medium",
    "xtick.labelsize": 8.8,
    "ytick.labelsize": 8.8,
    "legend.fontsize": 8.8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "lines.linewidth": 1.2,
    "lines.markersize": 4.8,
    "patch.edgecolor": "white",  # between the bars of seaborn's histograms
    "svg.hashsalt": "relahash",  # so that the same data give the same bytes
}


def set_style() -> None:
    """Sets one style for all figures that follow."""
    plt.style.use(STYLE)


def plain(name: object) -> str:
    """Escapes the dollar signs of a name, which matplotlib would take for a formula."""
    return str(name).replace("$", r"\$")


@dataclass(frozen=True)
class Look:
    """How one name is drawn in a figure."""

    color: str
    linestyle: LineStyle
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Gives each name a look of its own; a baseline is grey. Up to 18 names have different colours."""
    names = list(dict.fromkeys(names))
    trained = [name for name in names if name not in BASELINES]
    colours = itertools.cycle(PALETTE if len(trained) <= len(PALETTE) else MANY)
    linestyles = itertools.cycle(LINE_STYLES)
    markers = itertools.cycle(MARKERS)
    found = {}
    for name in names:
        colour = GREY if name in BASELINES else next(colours)
        found[name] = Look(colour, next(linestyles), next(markers))
    return found


def ours_first(names: Iterable[str]) -> list[str]:
    """Gives each name once: relahash first, then by the alphabet, so that it looks the same in all figures."""
    return sorted(set(names), key=lambda name: (name != "relahash", name))


def new_axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """Gives the axes that a caller passed, or those of a new figure of `size` inches."""
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=size)
    return ax


def panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Makes a figure of `count` axes with common scales, row by row, at most `columns` in a row of `height` inches."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    width = 9 if columns > 1 else 7
    figure, grid = plt.subplots(rows, columns, figsize=(width, height * rows), sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[count:]:
        ax.remove()
    lowest_of_each_column = axes[count - columns : count]
    for ax in lowest_of_each_column:
        ax.tick_params(labelbottom=True)
    return figure, axes[:count]


def draw_references(ax: Axes, references: Mapping[str, float]) -> None:
    """Draws horizontal lines at heights by name; each has another line style."""
    linestyles = itertools.cycle(LINE_STYLES[1:])
    for (name, height), linestyle in zip(references.items(), linestyles, strict=False):
        ax.axhline(height, color="black", linewidth=1, linestyle=linestyle, label=plain(name))


def legend_in_order(ax: Axes, title: str) -> None:
    """Puts a legend beside the axes; its entries stand in the order in which the lines end, the highest first."""
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    lines.sort(key=last_height, reverse=True)
    ax.legend(handles=lines, title=title, loc="center left", bbox_to_anchor=(1, 0.5))


def last_height(line: Line2D) -> float:
    """Gives the height at which a line ends."""
    return float(np.asarray(line.get_ydata())[-1])


def follow(draw: Callable[..., object], controls: Mapping[str, ipywidgets.Widget]) -> ipywidgets.Image:
    """Gives an image of the figure that `draw` leaves; it is drawn again when a control moves.

    Args:
        draw: A function that leaves a matplotlib figure; it gets the values of the controls by name.
        controls: Widgets with a `value`.
    """
    import ipywidgets

    image = ipywidgets.Image()  # not an Output widget: papermill may wait for ever for a cell that has one

    def show(_: object = None) -> None:
        values = {name: control.value for name, control in controls.items()}
        draw(**values)
        picture = io.BytesIO()
        plt.savefig(picture, bbox_inches="tight", dpi="figure")
        plt.close()
        image.value = picture.getvalue()

    for control in controls.values():
        control.observe(show, "value")
    show()
    return image

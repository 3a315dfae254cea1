"""One look for all figures."""

import io
import itertools
from collections.abc import Callable, Iterable, Mapping

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from relahash_nb.registry import BASELINES

PALETTE = [to_hex(colour) for colour in sns.color_palette("colorblind")]
RIGHT, WRONG = PALETTE[0], PALETTE[3]  # told apart by the colour-blind
GREY = PALETTE.pop(7)  # of what is not trained
DASHES = ("", (4, 1.5), (1, 1), (5, 1.5, 1, 1.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SIZE = (7, 3.4)  # inches; as wide as the column of a notebook


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme(context="paper", style="ticks", palette=PALETTE, rc={"font.sans-serif": ["DejaVu Sans"]})  # has ✓ ✗
    plt.rcParams.update({"figure.dpi": 110, "figure.figsize": SIZE, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
    plt.rcParams["figure.labelsize"] = plt.rcParams["axes.labelsize"]
    plt.rcParams["svg.hashsalt"] = "relahash"  # the same bytes from the same data


def plain(name: object) -> str:
    """A name with its dollar signs escaped, which matplotlib would take for a formula."""
    return str(name).replace("$", r"\$")


def looks(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """A colour, dashes and a marker for each of several names, in their order; grey for what is not trained."""
    names = list(dict.fromkeys(names))
    colours = iter(PALETTE * len(names))
    marks = zip(names, itertools.cycle(DASHES), itertools.cycle(MARKERS), strict=False)
    grey = dict.fromkeys(BASELINES, GREY)
    return {name: dict(color=grey.get(name) or next(colours), dashes=lines, marker=dot) for name, lines, dot in marks}


def semantics(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """The looks of several names as seaborn's functions take them."""
    keys = {"palette": "color", "dashes": "dashes", "markers": "marker"}
    return {name: {one: look[key] for one, look in looks(names).items()} for name, key in keys.items()}


def new_axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """The axes that were given, or those of a new figure."""
    return ax or plt.subplots(figsize=size)[1]


def panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of several axes with common scales, row by row, each row so many inches high."""
    columns = min(count, columns)
    rows = -(-count // columns)
    size = (9 if columns > 1 else 7, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[count:]:
        ax.remove()
    for ax in axes.flat[count - columns : count]:  # the lowest of each column
        ax.tick_params(labelbottom=True)
    return figure, list(axes.flat[:count])


def ours_first(names: Iterable[str]) -> list[str]:
    """Each name once, relahash first, then by the alphabet: a method looks the same in all figures."""
    return sorted(set(names), key=lambda name: (name != "relahash", name))


def label_ends(
    ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, object], column: bool = True
) -> None:
    """Writes names beside points (x, y), or in a column beside the axes, moved until none hides another."""
    size = FontProperties(size=plt.rcParams["xtick.labelsize"]).get_size_in_points()  # it may be a word
    gap = 1.25 * size / 72 / (ax.figure.get_figheight() * ax.get_position().height)  # in heights of the axes
    ax.autoscale_view()  # which matplotlib puts off
    places = {name: (ax.transData - ax.transAxes).transform(end) for name, end in ends.items()}
    taken: list[tuple[float, float]] = []
    for name in sorted(ends, key=lambda name: -places[name][1]):
        x, y = (1.04, places[name][1]) if column else places[name] + np.array([0.015, 0])
        steps = sorted(range(-4 * len(ends), 4 * len(ends)), key=abs)
        free = (y + step * gap / 4 for step in steps)
        y = next(one for one in free if all(abs(left - x) > 0.22 or abs(up - one) > 0.99 * gap for left, up in taken))
        taken.append((x, y))
        rule = dict(arrowstyle="-", color=colours[name], lw=0.5, shrinkA=0, shrinkB=3, relpos=(0, 0.5))
        where = dict(xytext=(x, y), textcoords="axes fraction", ha="left", va="center")
        ax.annotate(plain(name), ends[name], color=colours[name], size=size, arrowprops=rule, **where)


def follow(draw: Callable[..., object], controls: Mapping[str, ipywidgets.Widget]) -> ipywidgets.Image:
    """The figure that `draw` leaves for the values of the controls, drawn again when one of them moves."""
    image = ipywidgets.Image()  # papermill may wait for ever for the end of a cell with an Output widget

    def show(_: object = None) -> None:
        """Draws where the controls stand."""
        draw(**{name: control.value for name, control in controls.items()})
        plt.savefig(file := io.BytesIO(), bbox_inches="tight", dpi="figure")
        plt.close()
        image.value = file.getvalue()

    for control in controls.values():
        control.observe(show, "value")
    show()
    return image

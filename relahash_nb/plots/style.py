"""One look for all figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties

from relahash_nb.config import BASELINE_NAMES

PALETTE = [to_hex(colour) for colour in sns.color_palette("colorblind")]
RIGHT, WRONG = PALETTE[0], PALETTE[3]  # told apart by the colour-blind
GREY = PALETTE.pop(7)  # of what is not trained
DASHES = ("", (4, 1.5), (1, 1), (5, 1.5, 1, 1.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SIZE = (7, 3.4)  # inches; as wide as the column of a notebook


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme(context="paper", style="ticks", palette=PALETTE, rc={"font.sans-serif": ["DejaVu Sans"]})  # has ✓ ✗
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": SIZE,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "relahash",  # the same bytes from the same data
        }
    )


def plain(name: object) -> str:
    """A name as matplotlib writes it out: two dollar signs would be taken for a formula.

    Example:
        >>> plain("from $5 to $9")
        'from \\\\$5 to \\\\$9'
    """
    return str(name).replace("$", r"\$")


def looks(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """A colour, dashes and a marker for each of several names, in their order; grey for what is not trained.

    Example:
        >>> looks(["relahash", "lsh"])["lsh"]["color"] == GREY
        True
    """
    names = list(dict.fromkeys(names))
    colours = iter(PALETTE * len(names))
    return {
        name: dict(
            color=GREY if name in BASELINE_NAMES else next(colours), dashes=DASHES[place % 4], marker=MARKERS[place % 7]
        )
        for place, name in enumerate(names)
    }


def semantics(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """The looks of several names as seaborn's functions take them."""
    keys = {"palette": "color", "dashes": "dashes", "markers": "marker"}
    return {name: {one: look[key] for one, look in looks(names).items()} for name, key in keys.items()}


def new_axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """The axes that were given, or those of a new figure."""
    return ax or plt.subplots(figsize=size)[1]


def ours_first(names: Iterable[str]) -> list[str]:
    """Each name once: relahash, then by the alphabet; so that a method looks the same in all figures."""
    return sorted(set(names), key=lambda name: (name != "relahash", name))


def label_ends(
    ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, object], column: bool = True
) -> None:
    """Names at points (x, y), moved up or down until none hides another, in one column beside the axes or in them."""
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
        rule = dict(arrowstyle="-", color=colours[name], lw=0.5, shrinkA=0, shrinkB=3)
        where = dict(xytext=(x, y), textcoords="axes fraction", ha="left", va="center")
        ax.annotate(plain(name), ends[name], color=colours[name], size=size, arrowprops=rule, **where)

"""One look for all figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

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


def label_ends(ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, object]) -> None:
    """Names in a column to the right of the axes, each joined to the end (x, y) of its line by a thin rule."""
    size = plt.rcParams["xtick.labelsize"]
    gap = 1.2 * size / 72 / (0.8 * ax.figure.get_figheight() * ax.get_position().height)  # in heights of the axes
    order = sorted(ends, key=lambda name: ends[name][1])
    to_axes = ax.transData + ax.transAxes.inverted()
    heights = to_axes.transform([ends[name] for name in order])[:, 1] if order else []
    for name, height in zip(order, spread(heights, gap), strict=True):
        rule = dict(arrowstyle="-", color=colours[name], lw=0.5, shrinkA=0, shrinkB=3)
        where = dict(xytext=(1.04, height), textcoords="axes fraction", ha="left", va="center")
        ax.annotate(plain(name), ends[name], color=colours[name], size=size, arrowprops=rule, **where)


def spread(places: Sequence[float], gap: float) -> np.ndarray:
    """Rising places, moved as little as it takes for each to be `gap` above the one before.

    Example:
        >>> spread([0, 1, 1, 5], gap=1).tolist()
        [-0.0, 1.0, 2.0, 5.0]
    """
    pools: list[list[float]] = []
    for number, place in enumerate(places):
        pools.append([place - number * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return np.array([np.mean(pool) for pool in pools for _ in pool]) + gap * np.arange(len(places))

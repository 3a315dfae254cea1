"""One look for all figures."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Matplotlib's own copies of seaborn's styles: seaborn itself imports SciPy, for a second in which no figure is drawn.
STYLES = [f"seaborn-v0_8-{name}" for name in ("paper", "ticks", "colorblind")]
COLOURS = plt.style.library[STYLES[-1]]["axes.prop_cycle"].by_key()["color"]
RIGHT, WRONG = COLOURS[0], COLOURS[2]  # told apart by the colour-blind
# seaborn's palette for the colour-blind in full, as many as most data sets have classes; a second sign goes beside it.
MANY = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # one less than the colours, so that the eleventh is no first


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    plt.style.use(STYLES)
    plt.rcParams["font.family"] = ["sans-serif", "DejaVu Sans"]  # the second, matplotlib's own, has ✓ and ✗ for sure
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "legend.frameon": True,
            "legend.edgecolor": "none",
            "svg.hashsalt": "relahash",  # the same bytes from the same data
        }
    )


def looks(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """A colour, a line and a marker for each of several names, in their order.

    Example:
        >>> looks(["relahash", "csq"])["csq"]["ls"]
        '--'
    """
    return {
        name: dict(color=MANY[place % 10], ls=LINES[place % 4], marker=MARKERS[place % 9])
        for place, name in enumerate(dict.fromkeys(names))
    }


def place_legend(ax: Axes, **within) -> None:
    """A legend within the axes, where `within` says; more than four names go to the right of them."""
    beside = dict(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    ax.legend(**(within if len(ax.get_legend_handles_labels()[1]) <= 4 else beside))


def panels(count: int, width: float, height: float, columns: int = 3) -> tuple[Figure, np.ndarray]:
    """A figure of `count` axes on common scales, up to `columns` a row, labelled at its rims.

    Args:
        count: At least 1.
        width: Of a panel, inches.
        height: Likewise.
        columns: Panels a row at most.

    Returns:
        The figure, and its axes (count,).
    """
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, axes.flat[:count]


def label_rims(figure: Figure, legend: bool = True) -> Figure:
    """Takes labels and legends off the inner panels, and puts one legend for all above them."""
    places = {_place(ax): ax for ax in figure.axes}
    for (row, column), ax in places.items():
        label = ax.get_xlabel()
        ax.label_outer()
        if (row + 1, column) not in places:  # the last row need not be full
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(label)
    if legend:
        handles, names = figure.axes[0].get_legend_handles_labels()
        for ax in figure.axes:
            if ax.get_legend():
                ax.get_legend().remove()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
    return figure


def _place(ax: Axes) -> tuple[int, int]:
    """Row and column of a panel."""
    spec = ax.get_subplotspec()
    return spec.rowspan.start, spec.colspan.start

"""One look for all figures."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

RIGHT, WRONG = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]  # told apart by the colour-blind
LINES = ("-", "--", "-.", ":")  # a second sign beside the colour
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme("paper", "ticks", "colorblind", font_scale=1.1)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
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
    colours = sns.color_palette("colorblind")
    return {
        name: dict(color=colours[place % 10], ls=LINES[place % 4], marker=MARKERS[place % 10])
        for place, name in enumerate(dict.fromkeys(names))
    }


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
    for ax in figure.axes:
        ax.label_outer()
    if legend:
        handles, names = figure.axes[0].get_legend_handles_labels()
        for ax in figure.axes:
            if ax.get_legend():
                ax.get_legend().remove()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
    return figure

"""One look for all figures."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import seaborn as sns

RIGHT, WRONG = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]  # told apart by the colour-blind
LINES = ("-", "--", "-.", ":")  # a second sign beside the colour
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme("paper", "ticks", "colorblind", font_scale=1.1)
    plt.rcParams.update(
        {
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

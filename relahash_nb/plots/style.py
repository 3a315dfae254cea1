"""One look for all figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import seaborn as sns

RIGHT, WRONG = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]  # told apart by the colour-blind


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    sns.set_theme("paper", "ticks", "colorblind", font_scale=1.1)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})

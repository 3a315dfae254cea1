"""One look for all figures."""

from __future__ import annotations

import matplotlib.pyplot as plt

# Matplotlib's own copies of seaborn's styles: seaborn itself imports SciPy, for a second in which no figure is drawn.
STYLES = [f"seaborn-v0_8-{name}" for name in ("paper", "ticks", "colorblind")]
COLOURS = plt.style.library[STYLES[-1]]["axes.prop_cycle"].by_key()["color"]
RIGHT, WRONG = COLOURS[0], COLOURS[2]  # told apart by the colour-blind


def set_style() -> None:
    """One style for all figures: readable at column width, for the colour-blind too."""
    plt.style.use(STYLES)
    plt.rcParams["font.family"] = ["sans-serif", "DejaVu Sans"]  # the second, matplotlib's own, has ✓ and ✗ for sure
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})

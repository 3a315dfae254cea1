"""Codes before the sign."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from relahash_nb.plots.style import COLOURS


def plot_codes(codes: np.ndarray, ax: Axes | None = None) -> Axes:
    """Histogram of all entries of codes before the sign: two humps at one distance from 0 lose little by the sign.

    Args:
        codes: (N, K) float, before the sign.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    values = np.asarray(codes).ravel()
    ax.hist(values, bins=101, density=True, histtype="stepfilled", color=COLOURS[0], alpha=0.8)
    ax.axvline(0, color="black", lw=0.8)
    size = np.abs(values).mean()
    for sign in (-1, 1):
        ax.axvline(sign * size, color="black", lw=0.8, ls=":")
    ax.set(xlabel="code before the sign (dotted: ± mean size)", ylabel="density")
    return ax

"""The course of a training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from relahash_nb.plots.style import COLOURS


def plot_training(history: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Loss, and centroid accuracy on the axis to the right, over the epochs.

    Args:
        history: A row an epoch, with `epoch`, `loss`, `centroid_accuracy`, and `validation_map` or `query_map` where
            they were evaluated.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    loss_colour, accuracy_colour, map_colour = COLOURS[:3]
    (loss,) = ax.plot(history["epoch"], history["loss"], color=loss_colour, marker=".", label="loss")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = ax.twinx()
    lines = [
        loss,
        *right.plot(
            history["epoch"],
            history["centroid_accuracy"],
            color=accuracy_colour,
            marker=".",
            ls="--",
            label="centroid accuracy",
        ),
    ]
    for name in ("validation_map", "query_map"):
        if name in history:
            known = history.dropna(subset=name)
            lines += right.plot(
                known["epoch"], known[name], color=map_colour, marker="s", ls=":", label=name.replace("_map", " mAP")
            )
    right.set(ylabel="centroid accuracy" if len(lines) == 2 else "centroid accuracy, mAP", ylim=(0, 1.02))
    right.spines["right"].set_visible(True)
    ax.legend(handles=lines, loc="center right")
    return ax

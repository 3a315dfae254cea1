"""What a method keeps of the embedding that it was made from, while the classes of a database change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from relahash_nb.plots.style import GREY, Look, legend_in_order, looks, new_axes, ours_first, plain

if TYPE_CHECKING:
    import pandas as pd


AXIS_LABELS = {
    "unseen_share": "unseen classes in the database",
    "training_share": "training images among those of a class",
}


def plot_dividend(scores: pd.DataFrame, ax: Axes | None = None, share: str = "unseen_share") -> Axes:
    """Draws one line per method over a share of the database: its score relative to float features, and intervals.

    Methods that are not trained are grey, and so is the height 1 of the float features.

    Args:
        scores: Rows of `docs/results/dividend.csv` of one network, kind of queries, distance and metric, and for each
            method and share one target: `method`, `target` ("none": not trained), the share, 0 to 1, and `relative`,
            `low` and `high`, as multiples of the score of the float features.
        ax: Where to draw; None: a new figure.
        share: The column on the x-axis, a key of `AXIS_LABELS`; of the other share, the rows have one value.
    """
    ax = new_axes(ax, (7, 4))
    ax.axhline(1, color="lightgrey", linewidth=4, zorder=0)
    across = ax.get_yaxis_transform()  # x from 0 to 1, y as the data
    ax.text(0.99, 1.01, "float features", ha="right", va="bottom", color=GREY, transform=across)  # codes are below
    is_trained = scores.groupby("method")["target"].first() != "none"
    for method, look in looks(ours_first(scores["method"])).items():
        draw_method(ax, method, scores[scores["method"] == method], share, look, is_trained[method])
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel=AXIS_LABELS[share], ylabel="score relative to float features")
    ax.set_ylim(bottom=0)
    legend_in_order(ax, "method")
    return ax


def draw_method(ax: Axes, method: str, rows: pd.DataFrame, share: str, look: Look, is_trained: bool) -> None:
    """Draws the line of a method and the band of its intervals."""
    rows = rows.sort_values(share)
    colour = look.color if is_trained else GREY
    ax.fill_between(rows[share], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    ax.plot(
        rows[share],
        rows["relative"],
        color=colour,
        linestyle=look.linestyle,
        marker=look.marker,
        label=plain(method),
    )

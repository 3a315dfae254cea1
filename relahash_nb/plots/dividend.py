"""What a method keeps of the embedding that it was made from, while the classes of a database change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from relahash_nb.plots.style import GREY, Look, legend_in_order, looks, new_axes, ours_first, plain

if TYPE_CHECKING:
    import pandas as pd


def plot_dividend(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draws one line per method over the share of unseen classes: its score relative to float features, and intervals.

    Methods that are not trained are grey, and so is the height 1 of the float features.

    Args:
        scores: Rows of `docs/results/dividend.csv` of one network, training share, kind of queries, distance and
            metric, and of one target for each method: `method`, `target` ("none": not trained), `unseen_share` 0 to 1,
            and `relative`, `low` and `high`, as multiples of the score of the float features.
        ax: Where to draw; None: a new figure.
    """
    ax = new_axes(ax, (7, 4))
    ax.axhline(1, color="lightgrey", linewidth=4, zorder=0)
    ax.annotate("float features", (1, 1.01), ha="right", va="bottom", color=GREY)  # where codes are below
    is_trained = scores.groupby("method")["target"].first() != "none"
    for method, look in looks(ours_first(scores["method"])).items():
        draw_method(ax, method, scores[scores["method"] == method], look, is_trained[method])
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="unseen classes in the database", ylabel="score relative to float features")
    ax.set_ylim(bottom=0)
    legend_in_order(ax, "method")
    return ax


def draw_method(ax: Axes, method: str, rows: pd.DataFrame, look: Look, is_trained: bool) -> None:
    """Draws the line of a method and the band of its intervals."""
    rows = rows.sort_values("unseen_share")
    colour = look.color if is_trained else GREY
    ax.fill_between(rows["unseen_share"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    ax.plot(
        rows["unseen_share"],
        rows["relative"],
        color=colour,
        linestyle=look.linestyle,
        marker=look.marker,
        label=plain(method),
    )

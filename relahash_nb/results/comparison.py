"""Methods side by side: their means, their places, and what a change leaves of their order."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from relahash_nb.results.tables import average, format_mean

RANKED_SEEDS = 5  # fewer seeds give no rank: with three, two deviations apart happen by chance too often


def compare(runs: pd.DataFrame, score: str = "mean_average_precision") -> pd.DataFrame:
    """Each method of `select_runs` at each number of bits, over its seeds; the best mean first.

    Args:
        runs: As `select_runs` gives them.
        score: A column, such as `new_images`.

    Returns:
        The columns `method`, `bits`, `seeds`, `mean` and `deviation` of the score, and the means of other numbers; and
        `place`, one more than the number of methods that are better at these bits by more than both deviations
        together. <NA>: fewer than five seeds cannot tell, nor can one method alone.

    Example:
        >>> scores = {"mean_average_precision": [0.5, 0.52, 0.7]}
        >>> runs = pd.DataFrame({"method": ["a", "a", "b"], "bits": [16] * 3, "seed": [0, 1, 0], **scores})
        >>> compare(runs)[["method", "mean", "seeds", "place"]]
          method  mean  seeds  place
        0      b  0.70      1   <NA>
        1      a  0.51      2   <NA>
    """
    means = average(runs, ["method", "bits"], score)
    means = means.sort_values(["bits", "mean"], ascending=[True, False], ignore_index=True)
    places: list[int | None] = []
    for row in means.to_dict("records"):
        rivals = means[(means["bits"] == row["bits"]) & (means["seeds"] >= RANKED_SEEDS)]
        if row["seeds"] < RANKED_SEEDS or len(rivals) < 2:
            places.append(None)
            continue
        is_better = rivals["mean"] - row["mean"] > rivals["deviation"] + row["deviation"]
        places.append(1 + int(is_better.sum()))
    return means.assign(place=pd.array(places, dtype="Int64"))


def format_comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """What `compare` gives as text, methods × bits: mean ± deviation, the place in brackets; the best method first."""
    places = ["" if pd.isna(place) else f" ({place})" for place in comparison["place"]]
    cells = comparison.assign(text=format_mean(comparison) + places)
    order = comparison.groupby("method")["mean"].mean().sort_values(ascending=False).index
    return cells.pivot(index="method", columns="bits", values="text").reindex(order).fillna("")


def means_across(parts: Mapping[Any, pd.DataFrame], bits: int, score: str = "mean_average_precision") -> pd.DataFrame:
    """The mean of a score over the seeds at one number of bits: methods × parts, the highest over all parts first.

    Args:
        parts: By the name of a column, runs as `select_runs` gives them. A part without the score gives no column.
        bits: The code length.
        score: A column, such as `new_images`.
    """
    columns = {}
    for name, runs in parts.items():
        scored = runs[runs["bits"] == bits].dropna(subset=score)
        if len(scored):
            columns[name] = scored.groupby("method")[score].mean()
    means = pd.DataFrame(columns)
    order = means.mean(axis=1).sort_values(ascending=False).index
    return means.reindex(order).rename_axis("method")


def compare_across(parts: Mapping[Any, pd.DataFrame], bits: int, score: str = "mean_average_precision") -> pd.DataFrame:
    """What `format_comparison` gives at one number of bits, methods × parts; arguments and order of `means_across`."""
    means = means_across(parts, bits, score)
    columns = {}
    for name in means:
        runs = parts[name]
        comparison = compare(runs[runs["bits"] == bits].dropna(subset=score), score)
        columns[name] = format_comparison(comparison)[bits]
    return pd.DataFrame(columns, means.index, means.columns).fillna("")


def describe_change(before: pd.Series, after: pd.Series, leading: int = 8) -> dict[str, Any]:
    """What is left of an order of methods.

    Args:
        before: Scores by method.
        after: Scores of the same methods, such as those after tuning.
        leading: The spread is that from the first to this place: the last one may be a single failure.

    Example:
        >>> before = pd.Series({"relahash": 0.5, "csq": 0.4, "dpsh": 0.1})
        >>> describe_change(before, pd.Series({"relahash": 0.5, "csq": 0.6, "dpsh": 0.3}), leading=2)["first after"]
        'csq'
    """
    gain = after - before
    spreads = [scores.max() - scores.nlargest(leading).min() for scores in (before, after)]
    return {
        "rank correlation": before.corr(after, "spearman"),
        "first before": before.idxmax(),
        "first after": after.idxmax(),
        "spread before": spreads[0],
        "spread after": spreads[1],
        "gain of relahash": gain["relahash"],
        "largest gain": gain.max(),
        "of": gain.idxmax(),
    }

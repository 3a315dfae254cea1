"""Methods side by side: which differences count, and what was published."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import package_file
from relahash_nb.results.tables import average, format_mean

COMPARED = ("data", "protocol", "top_k", "backbone", "weights", "finetune", "image_size", "batch_size", "epochs")
COMPARED += ("selection",)


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """Each method at each number of bits, over its seeds.

    Args:
        runs: As `select_runs` gives them, with `variants`.

    Returns:
        A row each, the best mean first: `method`, `bits`, `seeds`, `mean` and `deviation` of the mean average
        precision, the means of `worst`, `best`, `quantization_error` and `seconds_training`; and `place`, one more than
        the number of methods that are better at these bits by more than both deviations together. It is <NA> where one
        seed cannot tell, and where fewer than two methods have several seeds.

    Example:
        >>> from relahash_nb.results.tables import NUMBERS
        >>> scores = {"mean_average_precision": [0.5, 0.52, 0.7], **{name: [0.0] * 3 for name in NUMBERS}}
        >>> runs = pd.DataFrame({"method": ["a", "a", "b"], "bits": [16] * 3, "seed": [0, 1, 0], **scores})
        >>> compare(runs)[["method", "mean", "seeds", "place"]]
          method  mean  seeds  place
        0      b  0.70      1   <NA>
        1      a  0.51      2   <NA>
    """
    means = average(runs, ["method", "bits"]).sort_values(["bits", "mean"], ascending=[True, False], ignore_index=True)
    places = []
    for row in means.itertuples():
        others = means[(means["bits"] == row.bits) & means["deviation"].notna()]
        better = int((others["mean"] - row.mean > others["deviation"] + row.deviation).sum())
        places.append(None if pd.isna(row.deviation) or len(others) < 2 else 1 + better)
    return means.assign(place=pd.array(places, dtype="Int64"))


def format_comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """What `compare` gives as text, methods × bits: mean ± deviation, the place in brackets; the best method first."""
    place = comparison["place"].map(lambda value: "" if pd.isna(value) else f" ({value:.0f})")
    cells = comparison.assign(text=format_mean(comparison) + place)
    order = comparison.groupby("method")["mean"].mean().sort_values(ascending=False).index
    return cells.pivot(index="method", columns="bits", values="text").reindex(order).fillna("")


def describe_ties(comparison: pd.DataFrame) -> list[str]:
    """A sentence for each number of bits: which methods the best one is not clearly better than.

    Example:
        >>> row = {"bits": 16, "seeds": 3, "deviation": 0.01}
        >>> describe_ties(pd.DataFrame([row | {"method": "a", "mean": 0.5}, row | {"method": "b", "mean": 0.49}]))
        ['16 bits: a has the highest mean, and is not clearly better than b.']
    """
    sentences = []
    for bits, rows in comparison.groupby("bits"):
        several = rows[rows["deviation"].notna()].sort_values("mean", ascending=False)
        single = ", ".join(rows[rows["deviation"].isna()]["method"])
        parts = []
        if len(several) > 1:
            first, rest = several.iloc[0], several.iloc[1:]
            clear = first["mean"] - rest["mean"] > first["deviation"] + rest["deviation"]
            names = ", ".join(rest[~clear]["method"])
            verdict = f"and is not clearly better than {names}" if names else "clearly"
            parts.append(f"{first['method']} has the highest mean{' over several seeds' * bool(single)}, {verdict}")
        parts += [f"one seed of {single}: cannot be told"] * bool(single)
        sentences += [f"{bits} bits: {'; '.join(parts)}."] * (len(rows) > 1)
    return sentences


def load_published() -> pd.DataFrame:
    """Figures from papers and their repositories, one a row, with the setting as far as it is stated, and the source.

    Example:
        >>> published = load_published()
        >>> published[(published["loss"] == "relahash") & (published["data"] == "cifar10")].iloc[0]["source"]
        'thaiminhpv/RelaHash README'
    """
    numbers = {"bits": int, "mean_average_precision": float}
    return pd.read_csv(package_file("data/published.csv"), dtype=defaultdict(lambda: str, numbers))


def beside_published(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Each published figure on the same data beside ours of the same loss, and in words what differs.

    Args:
        runs: As `select_runs` gives them.

    Returns:
        `loss`, `bits`, `published`, `ours` and its `deviation` at the same bits, `differs`, `source`; empty where
        nothing is known to be published on these data. And what differs of all of them, which `differs` omits.
    """
    published, own = load_published(), runs.iloc[0].to_dict()
    chosen = "last epoch" if own["validation_per_class"] == "0" else "best epoch on the validation images"
    own |= {"weights": Path(own["weights"]).name, "selection": chosen}
    # A published name is a whole word of ours: cifar10 is in "lists cifar10_jpeg", and not in cifar100.
    on_these = published["data"].map(lambda name: name in re.split("[^a-z0-9]+", own["data"]))
    scores = runs[runs["method"] == runs["loss"]].groupby(["loss", "bits"])["mean_average_precision"]
    ours = scores.agg(ours="mean", deviation="std").reset_index()
    rows = published[on_these].merge(ours, on=["loss", "bits"]).rename(columns={"mean_average_precision": "published"})
    differs = [differences(row, own) for row in rows.to_dict("records")]
    shared = [part for part in differs[0] if all(part in parts for parts in differs)] if differs else []
    texts = ["; ".join(part for part in parts if part not in shared) for parts in differs]
    columns = ["loss", "bits", "published", "ours", "deviation", "differs", "source"]
    return rows.assign(differs=texts)[columns], "; ".join(shared)


def differences(published: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Where a published figure's setting is another than ours, and what is not stated of it.

    Example:
        >>> row = {"backbone": "alexnet", "batch_size": "16", "epochs": float("nan")}
        >>> differences(row, {"backbone": "alexnet", "batch_size": 64, "epochs": 100})
        ['batch_size 16 (ours 64)', 'not said: epochs']
    """
    stated = {name: published[name] for name in COMPARED if name in published}
    unsaid = [name for name, value in stated.items() if pd.isna(value)]
    parts = [f"{name} {value} (ours {own[name]})" for name, value in stated.items()
             if name not in unsaid and value != str(own[name])]  # fmt: skip
    unsaid = ", ".join(name for name in unsaid if name != "protocol")
    return parts + [f"not said: {unsaid}"] * bool(unsaid)

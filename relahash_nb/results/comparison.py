"""Methods side by side: which differences count, and what was published."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relahash_nb.paths import package_file
from relahash_nb.results.runs import load_run
from relahash_nb.results.tables import average, format_mean

COMPARED = ("data", "protocol", "top_k", "backbone", "weights", "finetune", "image_size", "batch_size", "epochs")
COMPARED += ("selection",)


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """Each method of `select_runs` at each number of bits, over its seeds; the best mean first.

    The columns: `method`, `bits`, `seeds`, `mean` and `deviation` of the mean average precision, the means of `worst`,
    `best`, `quantization_error` and `seconds_training`; and `place`, one more than the number of methods that are
    better at these bits by more than both deviations together. <NA>: one seed cannot tell, nor can one method alone.

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


def paired_differences(runs: pd.DataFrame, reference: str = "relahash", resamples: int = 10_000) -> pd.DataFrame:
    """How much better or worse than a reference each method is, query by query and seed by seed.

    The difference in mean average precision, with a 95 % interval by a bootstrap over queries and over seeds at once.
    Of few seeds it is a little too narrow. `verdict` is `better`, `worse`, or `not told apart`, at 5 % after Holm's
    correction for the number of methods at these bits (Holm, Scandinavian Journal of Statistics 1979).

    Args:
        runs: As `select_runs` gives them, all on the same queries.
        reference: A method of them; what is compared are the seeds that both have, two at least.
        resamples: Of the bootstrap.

    Returns:
        A row for each method and number of bits: `method`, `bits`, `seeds`, `difference`, `low`, `high`, `verdict`;
        the largest difference first. Without a row: methods with fewer than two seeds in common.
    """
    rows = []
    for bits, group in runs.groupby("bits"):
        generator = np.random.default_rng(0)  # the same draws for each code length, whichever others there are
        scores = {method: {row.seed: load_run(row.folder).arrays["average_precision"] for row in found.itertuples()}
                  for method, found in group.groupby("method")}  # fmt: skip
        base, found = scores.pop(reference, {}), []
        size = len(next(iter(base.values()), ()))
        weights = generator.multinomial(size, np.full(size, 1 / max(size, 1)), resamples) / max(size, 1)  # (R, Q)
        for method, by_seed in scores.items():
            seeds = sorted(by_seed.keys() & base.keys())
            if len(seeds) < 2:
                continue
            difference = np.stack([by_seed[seed] - base[seed] for seed in seeds])  # (S, Q)
            drawn = generator.integers(len(seeds), size=(len(seeds), resamples))
            means = np.take_along_axis(difference @ weights.T, drawn, axis=0).mean(axis=0)  # (R,)
            tail = (1 + min((means <= 0).sum(), (means >= 0).sum())) / (1 + resamples)
            low, high = np.quantile(means, [0.025, 0.975])
            row = dict(method=method, bits=bits, seeds=len(seeds), difference=difference.mean(), low=low, high=high)
            found.append(row | {"chance": min(1.0, 2 * tail)})
        found.sort(key=lambda row: row["chance"])
        told = True
        for place, row in enumerate(found):
            told = told and row.pop("chance") * (len(found) - place) < 0.05
            row.pop("chance", None)
            row["verdict"] = ("better" if row["difference"] > 0 else "worse") if told else "not told apart"
        rows += sorted(found, key=lambda row: -row["difference"])
    return pd.DataFrame(rows)


def load_published() -> pd.DataFrame:
    """Scores from papers and their repositories, one per row, with what is stated of the setting, and the source."""
    table = pd.read_csv(package_file("data/published.csv"), dtype=str)
    return table.astype({"bits": int, "mean_average_precision": float})


def beside_published(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Each published score on the data of `select_runs` beside ours of the same loss, and what differs, in words.

    The columns: `loss`, `bits`, `published`, `ours` and its `deviation` at the same bits, `differs`, `source`; no row
    where nothing is known to be published. The text is what differs in every row, which `differs` omits.
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
    """Where the setting of a published score is another than ours, and what is not stated of it."""
    parts, unsaid = [], []
    for name in COMPARED:
        if not pd.isna(published[name]):
            parts += [f"{name} {published[name]} (ours {own[name]})"] if published[name] != str(own[name]) else []
        elif name != "protocol":
            unsaid.append(name)
    return [*parts, f"not said: {', '.join(unsaid)}"] if unsaid else parts

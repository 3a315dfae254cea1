"""Methods side by side: which runs may be compared, which differences count, and what was published."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import BASELINE_NAMES, LOSS_DEFAULTS, SETTING_FIELDS, shipped
from relahash_nb.results.files import results_place
from relahash_nb.results.tables import load_runs, one_of_each_seed, summarize

# What makes a method; all else of a setting the methods of a comparison share. (A baseline has epochs too, that mean
# nothing.)
OF_A_METHOD = ("bits", "loss", "loss_options", "beta", "margin", "centroids")
SHARED = ["fingerprint", *(name for name in SETTING_FIELDS if name not in OF_A_METHOD)]
MEANS = ["worst", "best", "quantization_error", "seconds_training"]
SAID = ("data", "backbone", "weights", "finetune", "image_size", "batch_size", "epochs", "selection")  # of a figure


def load_comparable(results_dir: Path | str = "results", data: str | None = None) -> pd.DataFrame:
    """The finished runs of the one setting that has most of them, with a column `method`.

    Args:
        results_dir: The folder that holds `runs/`; see `results_place`.
        data: As in the tables, such as `lists cifar10_jpeg`; None: of most runs.

    Returns:
        A run a row, as `summarize` gives it. Runs of other settings are left out, and a line says how many.

    Raises:
        ValueError: There is no such run; the line says which command makes some.
    """
    runs = load_runs(results_place(results_dir))
    runs = summarize(runs) if len(runs) else pd.DataFrame({"data": []})
    chosen = runs if data is None else runs[runs["data"] == data]
    if chosen.empty:
        known = f"; there are runs on {', '.join(sorted(set(runs['data'])))}" if len(runs) else ""
        command = "relahash sweep --loss relahash orthohash csq --bits 16 32 --seed 0 1 2"
        raise ValueError(f"{results_dir}: no finished run on {data or 'any data'}{known}; this makes some: {command}")
    kept = of_one_setting(chosen)
    if len(kept) < len(runs):
        print(f"{len(runs) - len(kept)} of {len(runs)} runs are of another setting, and left out")
    return kept


def of_one_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """Those of the runs, as `summarize` gives them, that share the most frequent setting; with a column `method`."""
    runs = one_of_each_seed(runs)
    setting = runs.groupby(SHARED, dropna=False).ngroup()
    kept = runs[setting == setting.mode()[0]]
    return kept.assign(method=[name_method(row) for row in kept.to_dict("records")])


def name_method(run: Mapping[str, Any]) -> str:
    """A loss by its name, with what differs from its defaults.

    Example:
        >>> name_method({"loss": "relahash", "beta": 8.0, "margin": 0.3, "loss_options": None})
        'relahash (margin 0.3)'
    """
    defaults = LOSS_DEFAULTS.get(run["loss"], {})
    given = {name: run[name] for name in ("beta", "margin") if not pd.isna(run[name])}
    given |= run["loss_options"] if isinstance(run["loss_options"], dict) else {}
    if run.get("centroids", "max_hamming") != "max_hamming" and run["loss"] not in BASELINE_NAMES:
        given["centroids"] = run["centroids"]
    changed = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
               for name, value in given.items() if defaults.get(name) != value]  # fmt: skip
    return f"{run['loss']} ({', '.join(changed)})" if changed else run["loss"]


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """Each method at each number of bits, over its seeds.

    Args:
        runs: As `load_comparable` gives them.

    Returns:
        A row each, the best mean first: `method`, `bits`, `seeds`, `mean` and `deviation` of the mean average
        precision, the means of its tie bounds `worst` and `best`, of `quantization_error` and `seconds_training`; and
        `place`, one more than the number of methods that are clearly better at these bits. Clearly is by more than both
        deviations together; a method with one seed has none, so nothing is clear about it, and its place is <NA>, as
        is that of a method alone at its bits.

    Example:
        >>> scores = {"mean_average_precision": [0.5, 0.52, 0.7], **{name: [0.0] * 3 for name in MEANS}}
        >>> runs = pd.DataFrame({"method": ["a", "a", "b"], "bits": [16] * 3, "seed": [0, 1, 0], **scores})
        >>> compare(runs)[["method", "mean", "seeds", "place"]]
          method  mean  seeds  place
        0      b  0.70      1   <NA>
        1      a  0.51      2      1
    """
    groups = runs.groupby(["method", "bits"])
    score = groups["mean_average_precision"]
    table = pd.DataFrame({"seeds": groups["seed"].nunique(), "mean": score.mean(), "deviation": score.std()})
    table = table.join(groups[MEANS].mean()).reset_index().sort_values(["bits", "mean"], ascending=[True, False])
    return table.assign(place=[count_better(row, table) for row in table.itertuples()]).astype(
        {"place": "Int64"}
    ).reset_index(drop=True)  # fmt: skip


def count_better(row: Any, table: pd.DataFrame) -> int | None:
    """One more than the rows at the same bits whose mean is clearly higher; None for one seed, or one method."""
    others = table[table["bits"] == row.bits]
    if math.isnan(row.deviation) or len(others) == 1:
        return None
    return 1 + int((others["mean"] - row.mean > others["deviation"] + row.deviation).sum())


def side_by_side(comparison: pd.DataFrame) -> pd.DataFrame:
    """Methods × bits as text: mean ± deviation, and the place in brackets.

    Args:
        comparison: As `compare` gives it.

    Returns:
        A row a method, in the order of its mean over the bits that all have.
    """
    spread = comparison["deviation"].map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    # pandas 2 maps whole numbers that may be missing as floats.
    place = comparison["place"].map(lambda value: "" if pd.isna(value) else f" ({value:.0f})")
    text = comparison.assign(text=comparison["mean"].map("{:.4f}".format) + spread + place)
    order = comparison.groupby("method")["mean"].mean().sort_values(ascending=False).index
    return text.pivot(index="method", columns="bits", values="text").reindex(order).fillna("")


def undecided(comparison: pd.DataFrame) -> list[str]:
    """Per number of bits a sentence: which methods the best one is not clearly better than.

    Example:
        >>> row = {"bits": 16, "seeds": 3, "deviation": 0.01}
        >>> comparison = pd.DataFrame([row | {"method": "a", "mean": 0.5}, row | {"method": "b", "mean": 0.49}])
        >>> undecided(comparison)
        ['16 bits: a has the highest mean, and is not clearly better than b.']
    """
    sentences = []
    for bits, rows in comparison.groupby("bits"):
        rows = rows.sort_values("mean", ascending=False)
        first, rest = rows.iloc[0], rows.iloc[1:]
        if rest.empty:
            continue
        clear = first["mean"] - rest["mean"] > first["deviation"] + rest["deviation"]  # not so where one is NaN
        names = ", ".join(rest[~clear]["method"])
        verdict = f"and is not clearly better than {names}" if names else "clearly"
        sentences.append(f"{bits} bits: {first['method']} has the highest mean, {verdict}.")
    return sentences


def load_published() -> pd.DataFrame:
    """Figures from papers and their repositories, one a row, with the setting as far as it is said, and the source.

    Example:
        >>> published = load_published()
        >>> published[(published["loss"] == "relahash") & (published["data"] == "cifar10")].iloc[0]["source"]
        'thaiminhpv/RelaHash README'
    """
    numbers = {"bits": int, "mean_average_precision": float}
    return pd.read_csv(shipped("data/published.csv"), dtype=defaultdict(lambda: str, numbers))


def beside_published(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Each published figure on the same data beside ours of the same loss, and in words what differs.

    Args:
        runs: As `load_comparable` gives them.

    Returns:
        `loss`, `bits`, `published`, `ours` and its `deviation` at the same bits (NaN where there is none), `differs`,
        `source`; empty where nothing is known to be published on these data. And what differs of all of them, which
        `differs` does not say again.
    """
    published, own = load_published(), runs.iloc[0].to_dict()
    own["weights"] = Path(own["weights"]).name
    own["selection"] = "best epoch on the validation images" if own["validation_per_class"] else "last epoch"
    published = published[published["data"].map(lambda name: is_named(name, own["data"]))]
    ours = runs[runs["method"] == runs["loss"]].groupby(["loss", "bits"])["mean_average_precision"]
    ours = pd.DataFrame({"ours": ours.mean(), "deviation": ours.std()}).reset_index()
    table = published.merge(ours, on=["loss", "bits"]).rename(columns={"mean_average_precision": "published"})
    differs = [differences(row, own) for row in table.to_dict("records")]
    shared = [part for part in differs[0] if all(part in parts for parts in differs)] if differs else []
    texts = ["; ".join(part for part in parts if part not in shared) for parts in differs]
    columns = ["loss", "bits", "published", "ours", "deviation", "differs", "source"]
    return table.assign(differs=texts)[columns], "; ".join(shared)


def is_named(name: str, data: str) -> bool:
    """Whether data are of a published name, as a whole word of theirs.

    Example:
        >>> is_named("cifar10", "lists cifar10_jpeg"), is_named("cifar10", "cifar100")
        (True, False)
    """
    return re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", data) is not None


def differences(published: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """What a published figure's setting is where ours is another, and what is not said of it.

    Example:
        >>> row = {"backbone": "alexnet", "batch_size": "16", "epochs": float("nan")}
        >>> own = {"backbone": "alexnet", "batch_size": 64, "epochs": 100}
        >>> differences(row, own)
        ['batch_size 16 (ours 64)', 'not said: epochs']
    """
    known = [name for name in SAID if name in published and not pd.isna(published[name])]
    parts = [f"{name} {published[name]} (ours {own[name]})" for name in known if published[name] != str(own[name])]
    unsaid = [name for name in SAID if name in published and name not in known]
    return parts + ([f"not said: {', '.join(unsaid)}"] if unsaid else [])

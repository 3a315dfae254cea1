"""Scores from papers and their repositories, beside ours."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from relahash_nb.config import TUNED_FIELDS
from relahash_nb.paths import package_file
from relahash_nb.results.tables import COLUMN_TYPES

# What a published score and one of ours may differ in.
COMPARED = (
    "data",
    "protocol",
    "top_k",
    "backbone",
    "weights",
    "finetune",
    "image_size",
    "batch_size",
    "epochs",
    "selection",
)


def load_published() -> pd.DataFrame:
    """Scores from papers and their repositories, a row for each, with what is stated of the setting, and the source."""
    types = {"data": "object", "selection": "object", **COLUMN_TYPES}
    return pd.read_csv(package_file("data/published.csv"), dtype=types, keep_default_na=False, na_values=[""])


def beside_published(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Each published score on the data of `select_runs`, beside ours of the same loss.

    Returns:
        A table with the columns `loss`, `bits`, `published`, `ours` and its `deviation` at the same bits, `differs`,
        `source`; it is empty where nothing is known to be published. And a text: what differs in each of the rows,
        which the column `differs` leaves out.
    """
    ours = runs.iloc[0].to_dict()
    ours["weights"] = Path(ours["weights"]).name
    is_last = ours["validation_per_class"] == 0
    ours["selection"] = "last epoch" if is_last else "best epoch on the validation images"
    # A published name is a whole word of ours: cifar10 is in "lists cifar10_jpeg", and not in cifar100.
    words = re.split("[^a-z0-9]+", ours["data"])
    published = load_published()
    published = published[published["data"].isin(words)]
    at_defaults = runs[runs["method"] == runs["loss"]]
    scores = at_defaults.groupby(["loss", "bits"])["mean_average_precision"]
    means = scores.agg(ours="mean", deviation="std").reset_index()
    rows = published.merge(means, on=["loss", "bits"]).rename(columns={"mean_average_precision": "published"})
    differences = [describe_differences(row, ours) for row in rows.to_dict("records")]
    shared = []
    if differences:
        shared = [part for part in differences[0] if all(part in parts for parts in differences)]
    texts = ["; ".join(part for part in parts if part not in shared) for parts in differences]
    columns = ["loss", "bits", "published", "ours", "deviation", "differs", "source"]
    return rows.assign(differs=texts)[columns], "; ".join(shared)


def describe_differences(published: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Where the setting of a published score is another than ours, and what is not stated of it."""
    parts = []
    not_said = []
    for name in COMPARED:
        if pd.isna(published[name]):
            not_said.append(name)
        elif pd.isna(ours[name]):
            existing = "tuned" if name in TUNED_FIELDS else None
            parts.append(f"{name} {published[name]} (ours {existing})")
        elif published[name] != ours[name]:
            parts.append(f"{name} {published[name]} (ours {ours[name]})")
    if "protocol" in not_said:  # many data sets have one only
        not_said.remove("protocol")
    if not_said:
        parts.append(f"not said: {', '.join(not_said)}")
    return parts

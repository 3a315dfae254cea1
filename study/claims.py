"""The numbers that the pages state, each with the expression over the published tables that gives it.

    python -m study.claims   # page, phrase with its numbers, and the tables that they are from

`tests/test_claims.py` looks for each phrase in its page. A claim whose rows are not published yet has no numbers: then
its phrase must not be there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.results import (
    centroid_shift,
    describe_change,
    distinct,
    load_published,
    means_across,
    paired_cells,
    read_table,
    select_budgets,
)
from relahash_nb.results.tables import matching
from study.hours import all_hours

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
REALITY, README, RESULTS_PAGE = "docs/reality-check.md", "README.md", "docs/results.md"
CIFAR, MINI, UNSEEN = "lists cifar10_jpeg", "lists miniimagenet100_10k", "lists miniimagenet100_unseen"
DATA = (CIFAR, MINI, "lists corel5k_21", "fashion_mini")
LENGTHS = (64, 16)  # bits
EARLIER = ("24 trials", "16 trials")  # searches of version 0.2, on held-out images
ERROR, SCORE = "quantization_error", "mean_average_precision"


@dataclass(frozen=True)
class Claim:
    """A phrase of a page.

    Attributes:
        page: Its path.
        phrase: The words, with a place for each number.
        source: The tables of `docs/results/` that the numbers are from.
        numbers: Gives them, in the order of their places.
    """

    page: str
    phrase: str
    source: str
    numbers: Callable[[], list[float]]

    def fill(self) -> str | None:
        """The phrase with its numbers; None where rows are missing."""
        try:
            numbers = self.numbers()
        except (FileNotFoundError, KeyError):
            return None
        if any(math.isnan(number) for number in numbers):
            return None
        return self.phrase.format(*numbers)


@cache
def runs(name: str = "summary") -> pd.DataFrame:
    """A table of runs; of the summary, those of losses and baselines with centroids that are drawn."""
    table = read_table(RESULTS / f"{name}.csv")
    if name != "summary":
        return table
    table = distinct(table[table["centroid_seed"].isna()])
    return table[(table["centroids"] == "max_hamming") & ~table["loss"].str.contains(":")]


@cache
def means(data: str, bits: int = 64, score: str = SCORE) -> pd.DataFrame:
    """Mean scores on a data set, methods × searches; a search before version 0.3 has the name `earlier`."""
    trained = runs()[~runs()["loss"].isin(BASELINES)]
    table = means_across(select_budgets(trained, data), bits, score)
    names = {name: "earlier" if name in EARLIER else name.split(", ")[-1] for name in table}
    return table.rename(columns=names)


def settings(column: str) -> list[pd.Series]:
    """The gain of each loss by a search, on each data set and at each length."""
    gains = []
    for data in DATA:
        for bits in LENGTHS:
            gains.append(means(data, bits)[column] - means(data, bits)["defaults"])
    return gains


def spreads(column: str) -> list[float]:
    """From the first to the eighth loss, on each data set and at each length: the least and the largest."""
    found = []
    for data in DATA:
        for bits in LENGTHS:
            table = means(data, bits)
            found.append(describe_change(table["defaults"], table["earlier"])[f"spread {column}"])
    return [min(found), max(found)]


def ties() -> list[float]:
    """The best less the worst order of ties, by loss, CIFAR-10, 64 bits, defaults: the least and the largest."""
    table = select_budgets(runs()[~runs()["loss"].isin(BASELINES)], CIFAR, bits=64)["defaults"]
    by_loss = table.groupby("loss")[["best", "worst"]].mean()
    width = by_loss["best"] - by_loss["worst"]
    return [width.min(), width.max()]


@cache
def fixed() -> pd.DataFrame:
    """The runs over scale and margin on fixed features, batches of 64."""
    table = runs("phase")
    return table[(table["batch_size"] == 64) & table["loss_options"].isna()]


def phase(column: str) -> pd.Series:
    """RelaHash less OrthoHash in each cell of that grid."""
    return paired_cells(fixed(), column)


def higher(gaps: pd.Series) -> list[float]:
    """In how many cells RelaHash is the higher one, and of how many."""
    return [(gaps > 0).sum(), len(gaps)]


def growth(gaps: pd.Series) -> list[float]:
    """The mean of the cells, in how many it is above 0, and of how many."""
    return [gaps.mean(), *higher(gaps)]


@cache
def grid(centroids: str = "max_hamming") -> pd.DataFrame:
    """The runs over scale and margin with the whole network trained, of one kind of centroids."""
    table = runs("grid")
    return table[table["centroids"] == centroids]


def cells(loss: str, centroids: str = "max_hamming") -> pd.DataFrame:
    """Means over the seeds in each cell of it, of one loss."""
    table = grid(centroids)
    return table[table["loss"] == loss].groupby(["beta", "margin"])[[ERROR, SCORE]].mean()


def errors(loss: str, centroids: str = "max_hamming") -> list[float]:
    """The smallest and the largest quantization error of those cells."""
    error = cells(loss, centroids)[ERROR]
    return [error.min(), error.max()]


def rank(table: pd.DataFrame) -> float:
    """The rank correlation of quantization error and score."""
    return table[ERROR].corr(table[SCORE], "spearman")


def optimum(centroids: str) -> float:
    """The quantization error of free codes at the optimum of the loss; from the package, not from a table."""
    from relahash_nb.centroids import make_centroids
    from relahash_nb.losses.bounds import ideal_error

    return ideal_error(make_centroids(10, 64, centroids))


def shift(loss: str, column: str) -> pd.Series:
    """What Hadamard centroids change in a column, less max-Hamming ones, in each cell of the grid."""
    return centroid_shift(runs("grid"), "hadamard", loss, column)


def relative_position(centroids: str, column: str = ERROR) -> pd.Series:
    """RelaHash less OrthoHash in each cell of the grid that both have."""
    return paired_cells(grid(centroids), column)


def by_kind(column: str) -> list[float]:
    """That of each kind of centroids: the mean of the cells, and in how many it is above 0; first of how many too."""
    first, *others = (relative_position(kind, column) for kind in ("max_hamming", "bernoulli", "hadamard"))
    return growth(first) + [number for gaps in others for number in growth(gaps)[:2]]


@cache
def dividend(
    unseen: float, distance: str = "hamming", metric: str = "map", value: str = "relative", network: str = "lite0"
) -> pd.Series:
    """By method, on new images by a network's features, of what was tuned for this share of unseen classes or not."""
    table = pd.read_csv(RESULTS / "dividend.csv")
    target = {0.0: "seen", 1.0: "unseen"}.get(unseen, "half")
    facts = {"network": network, "unseen_share": unseen, "training_share": 0, "queries": "all"}
    rows = matching(table, facts | {"distance": distance, "metric": metric, "target": [target, "none"]})
    return rows.set_index("method")[value]


def losses(unseen: float, network: str = "lite0") -> pd.Series:
    """What `dividend` gives of the losses alone."""
    table = dividend(unseen, network=network)
    return table[table.index.isin(LOSSES)]


def ends(unseen: float, network: str = "lite0") -> list[float]:
    """The least and the largest of the losses."""
    table = losses(unseen, network)
    return [table.min(), table.max()]


def below_itq() -> list[float]:
    """On unseen classes, how many losses are below ITQ by an interval over classes without 0, and of how many."""
    highest = dividend(1, value="above_itq_high")
    highest = highest[highest.index.isin(LOSSES)]
    return [(highest < 0).sum(), len(highest)]


def with_training_images(method: str) -> float:
    """Relative to float on seen classes, training images in the database, of what was tuned for it or not at all."""
    table = pd.read_csv(RESULTS / "dividend.csv")
    facts = {"network": "lite0", "unseen_share": 0, "training_share": 0.55, "queries": "all", "method": method}
    facts |= {"distance": "hamming", "metric": "map", "target": ["published", "none"]}
    return matching(table, facts)["relative"].item()


def jpeg(column: str) -> float:
    """AlexNet's loss by JPEG, on the same images."""
    table = runs("jpeg").query("backbone == 'alexnet'").set_index(["data", "seed"])[column]
    return (table["lists cifar10_lossless_4000"] - table["lists cifar10_jpeg_4000"]).mean()


def jpeg_interval(score: str) -> list[float]:
    """The least and the largest loss by JPEG of AlexNet, 95 %."""
    table = pd.read_csv(RESULTS / "jpeg_differences.csv")
    row = table[(table["backbone"] == "alexnet") & (table["score"] == score)].iloc[0]
    return [-row["high"], -row["low"]]


def target_gain(score: str) -> pd.Series:
    """A score on miniImageNet after the search for the protocol, less that after the search for new images."""
    table = means(MINI, score=score)
    return (table["protocol"] - table["new images"]).dropna()


def on_new_images(*losses: str) -> list[float]:
    """Scores on new images of miniImageNet, tuned for them."""
    return means(MINI, score="new_images").loc[list(losses), "new images"].tolist()


def over_searches(*losses: str) -> list[float]:
    """Means of these scores over three seeds of the search."""
    table = means(MINI, score="new_images")[["new images", "search 1", "search 2"]]
    return table.loc[list(losses)].mean(axis=1, skipna=False).tolist()


def leader(data: str, loss: str) -> list[float]:
    """The score on new images, tuned for them, of the loss that leads, and of RelaHash; nan: another loss leads."""
    scores = means(data, score="new_images")["new images"]
    best = scores.max() if scores.idxmax() == loss else math.nan
    return [best, scores["relahash"]]


def better(loss: str) -> float:
    """The difference to RelaHash by the protocol, tuned for it, on miniImageNet; nan: the verdict is another."""
    table = pd.read_csv(RESULTS / "differences.csv").set_index(["data", "bits", "tuning", "method"])
    row = table.loc[(MINI, 64, "24 trials, protocol", loss)]
    return row["difference"] if row["verdict"] == "better" else math.nan


def class_index() -> float:
    """The score on new images of miniImageNet of the predicted class."""
    table = select_budgets(runs().query("loss == 'class_index'"), MINI, bits=64)["defaults"]
    return table["new_images"].mean()


def float_features() -> float:
    """The score on new images of miniImageNet of the features themselves, by the cosine."""
    table = pd.read_csv(RESULTS / "quantizer.csv")
    return table.query("data == @MINI and method == 'float'")["new_images"].item()


def by_margin(margin: float) -> pd.Series:
    """RelaHash's error by scale, at one margin, the whole network trained."""
    return cells("relahash").xs(margin, level="margin")[ERROR].sort_index()


@cache
def tuned_networks() -> pd.DataFrame:
    """RelaHash on CIFAR-10 at 64 bits with the whole network trained."""
    table = read_table(RESULTS / "summary.csv")
    return table.query("data == @CIFAR and finetune and loss == 'relahash' and bits == 64")


def widest() -> float:
    """The best less the worst order of ties, the largest of these runs."""
    table = tuned_networks()
    return (table["best"] - table["worst"]).max()


def best_of_an_hour() -> float:
    """The best score of these runs that took less than an hour."""
    table = tuned_networks()
    minutes = table.filter(like="seconds_").sum(axis=1) / 60
    return table.loc[minutes < 60, SCORE].max()


def published() -> float:
    """The best published score of RelaHash on CIFAR-10 at 64 bits."""
    return load_published().query("loss == 'relahash' and data == 'cifar10' and bits == 64")[SCORE].max()


CLAIMS = [
    Claim(README, "moves by up to {:.2f}", "summary.csv", lambda: [widest()]),
    Claim(
        README,
        "{:.3f} after an hour on two cores instead of {:.3f}",
        "summary.csv, data/published.csv",
        lambda: [best_of_an_hour(), published()],
    ),
    Claim(README, "has up to {:.2f} times the mAP", "dividend.csv", lambda: [losses(0).max()]),
    Claim(
        README,
        "{:.3f} to {:.3f} above that of a cosine loss",
        "grid.csv",
        lambda: [relative_position("hadamard").mean(), relative_position("max_hamming").mean()],
    ),
    Claim(
        README,
        "raise it by {:.3f}, and without a margin it grows to {:.3f}",
        "grid.csv",
        lambda: [shift("relahash", ERROR).mean(), by_margin(0).max()],
    ),
    Claim(
        README,
        "no loss is better than ITQ, a code made without labels: {:.2f} against {:.2f}",
        "dividend.csv",
        lambda: [losses(1).max(), dividend(1)["itq"]],
    ),
    Claim(README, "cost it {:.1f} mAP on *new images*", "jpeg.csv", lambda: [jpeg("new_images")]),
    Claim(REALITY, "{:.3f} to {:.3f} apart", "summary.csv", ties),
    Claim(
        REALITY,
        "from the first to the eighth loss they are {:.3f} to {:.3f} apart at the defaults, and {:.3f} to {:.3f} after "
        "it",
        "summary.csv",
        lambda: spreads("before") + spreads("after"),
    ),
    Claim(
        REALITY,
        "{} of {} losses have a higher protocol score after the search for the protocol, and {} a lower one on new "
        "images; {} have a higher one there too",
        "summary.csv",
        lambda: [
            *higher(target_gain(SCORE)),
            (target_gain("new_images") < 0).sum(),
            (target_gain("new_images") > 0).sum(),
        ],
    ),
    Claim(
        REALITY,
        "OrthoHash's arc form has {:.3f}, CSQ {:.3f}, RelaHash {:.3f}, DPN {:.3f} and OrthoHash {:.3f}",
        "summary.csv",
        lambda: on_new_images("orthohash_arc", "csq", "relahash", "dpn", "orthohash"),
    ),
    Claim(
        REALITY,
        "over three seeds of the search CSQ has {:.3f}, DPN {:.3f}, RelaHash {:.3f} and OrthoHash {:.3f}",
        "summary.csv",
        lambda: over_searches("csq", "dpn", "relahash", "orthohash"),
    ),
    Claim(
        REALITY,
        "A float query lifts RelaHash to {:.3f}, and the float features themselves have {:.3f}",
        "summary.csv, quantizer.csv",
        lambda: [means(MINI, score="new_images_asymmetric").loc["relahash", "new images"], float_features()],
    ),
    Claim(REALITY, "An index of the predicted class, one number, has {:.3f}", "summary.csv", lambda: [class_index()]),
    Claim(
        REALITY,
        "By the protocol, tuned for it, CSQ is {:.3f} above RelaHash and DPN {:.3f}",
        "differences.csv",
        lambda: [better("csq"), better("dpn")],
    ),
    Claim(
        REALITY,
        "average precision on Corel5k with {:.3f} (RelaHash {:.3f})",
        "summary.csv",
        lambda: leader("lists corel5k_21", "average_precision"),
    ),
    Claim(
        REALITY,
        "DCH has {:.3f} after it, its defaults, and {:.3f} after the search for the protocol",
        "summary.csv",
        lambda: means(MINI, score="new_images").loc["dch", ["new images", "protocol"]].tolist(),
    ),
    Claim(
        REALITY,
        "the {} losses score {:.2f} to {:.2f} times the mAP of the features",
        "dividend.csv",
        lambda: [len(losses(0)), *ends(0)],
    ),
    Claim(
        REALITY,
        "With half of the classes unseen it is {:.2f} to {:.2f} (ITQ, without labels: {:.2f})",
        "dividend.csv",
        lambda: [*ends(0.5), dividend(0.5)["itq"]],
    ),
    Claim(
        REALITY,
        "with all of them {:.2f} to {:.2f} (ITQ: {:.2f}). There ITQ is better than {} of the {} losses",
        "dividend.csv",
        lambda: [*ends(1), dividend(1)["itq"], *below_itq()],
    ),
    Claim(
        REALITY,
        "With the features of Lite2 the {} losses that were run have {:.2f} to {:.2f}, {:.2f} to {:.2f} and {:.2f} to "
        "{:.2f} (ITQ: {:.2f})",
        "dividend.csv",
        lambda: [
            len(losses(0, "lite2")),
            *[end for unseen in (0, 0.5, 1) for end in ends(unseen, "lite2")],
            dividend(1, network="lite2")["itq"],
        ],
    ),
    Claim(
        REALITY,
        "A float query lifts RelaHash to {:.2f} on unseen classes, and ITQ to {:.2f}",
        "dividend.csv",
        lambda: [dividend(1, "asymmetric")[method] for method in ("relahash", "itq")],
    ),
    Claim(
        REALITY,
        "first ten from {:.2f} to {:.2f} on unseen classes, and lowers it from {:.2f} to {:.2f} on seen ones",
        "dividend.csv",
        lambda: [
            dividend(unseen, distance, "precision", "value")["relahash"]
            for unseen in (1, 0)
            for distance in ("hamming", "rescored")
        ],
    ),
    Claim(
        REALITY,
        "RelaHash from {:.2f} to {:.2f} times the features, and the index of the predicted class from {:.2f} to {:.2f}",
        "dividend.csv",
        lambda: [
            share
            for method in ("relahash", "class_index")
            for share in (dividend(0)[method], with_training_images(method))
        ],
    ),
    Claim(
        REALITY,
        "in {} of {} cells, by {:.4f} on average ({:+.4f} to {:+.4f})",
        "phase.csv",
        lambda: [*higher(phase(ERROR)), phase(ERROR).mean(), phase(ERROR).min(), phase(ERROR).max()],
    ),
    Claim(
        REALITY,
        "mAP is higher in {} cells, by {:.4f} on average ({:+.4f} to {:+.4f})",
        "phase.csv",
        lambda: [higher(phase(SCORE))[0], phase(SCORE).mean(), phase(SCORE).min(), phase(SCORE).max()],
    ),
    Claim(
        REALITY,
        "both at {:.4f} for max-Hamming centroids, {:.3f} for Bernoulli and {:.3f} for Hadamard",
        "relahash_nb.losses.bounds",
        lambda: [optimum(kind) for kind in ("max_hamming", "bernoulli", "hadamard")],
    ),
    Claim(
        REALITY,
        "ends at {:.3f} at least with max-Hamming centroids, at {:.3f} with Bernoulli and at {:.3f} with Hadamard",
        "grid.csv",
        lambda: [errors("relahash", kind)[0] for kind in ("max_hamming", "bernoulli", "hadamard")],
    ),
    Claim(
        REALITY,
        "From max-Hamming to Hadamard ones RelaHash's error grows by {:.3f} on average, in {} of {} cells, and "
        "OrthoHash's by {:.3f}, in {} of {}",
        "grid.csv",
        lambda: growth(shift("relahash", ERROR)) + growth(shift("orthohash", ERROR)),
    ),
    Claim(
        REALITY,
        "Out of reach ({}), it keeps RelaHash's error between {:.3f} and {:.3f} at each scale; without a margin the "
        "error grows from {:.3f} to {:.3f} with the scale",
        "grid.csv",
        lambda: [0.5, by_margin(0.5).min(), by_margin(0.5).max(), by_margin(0).iloc[0], by_margin(0).iloc[-1]],
    ),
    Claim(
        REALITY,
        "is above OrthoHash's by {:.3f} (max-Hamming, in {} of {} cells), {:.3f} (Bernoulli, in {}) and {:.3f} "
        "(Hadamard, in {})",
        "grid.csv",
        lambda: by_kind(ERROR),
    ),
    Claim(
        REALITY,
        "above OrthoHash's too, by {:.3f} (in {} of {} cells), {:.3f} (in {}) and {:.3f} (in {})",
        "grid.csv",
        lambda: by_kind(SCORE),
    ),
    Claim(
        REALITY,
        "Hadamard centroids give RelaHash the larger error and yet the higher mAP in {} of {} cells",
        "grid.csv",
        lambda: higher(shift("relahash", SCORE)),
    ),
    Claim(
        REALITY,
        "The published runs and searches took {:.0f} hours of one core",
        "all tables of runs",
        lambda: [all_hours()],
    ),
    Claim(
        RESULTS_PAGE,
        "(mAP@1000 at 16, 32, 64 and 128 bits) are {}, {}, {} and {}",
        "data/published.csv",
        lambda: list(load_published().query("loss == 'relahash' and data == 'imagenet100'").sort_values("bits")[SCORE]),
    ),
    Claim(
        RESULTS_PAGE,
        "AlexNet loses {:.3f} to {:.3f} on new images and {:.3f} to {:.3f} by the protocol (95 % intervals)",
        "jpeg_differences.csv",
        lambda: [*jpeg_interval("new_images"), *jpeg_interval(SCORE)],
    ),
    Claim(
        RESULTS_PAGE,
        "The standard error of an accuracy over 400 queries is about {:.2f}",
        "jpeg.csv",
        lambda: [(runs("jpeg")["query_accuracy"] * (1 - runs("jpeg")["query_accuracy"]) / 400).max() ** 0.5],
    ),
]


def main() -> None:
    """Print each claim."""
    for claim in CLAIMS:
        print(f"{claim.page} [{claim.source}]: {claim.fill() or 'no rows yet: ' + claim.phrase}")


if __name__ == "__main__":
    main()

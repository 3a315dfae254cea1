"""What the pages state, as expressions over the published tables; `study.claims` has the sentences.

A row that is not published yet raises KeyError, a table FileNotFoundError; a number is nan where its words would be
wrong.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pandas as pd

from benchmarks.other_tools.files import read_results
from benchmarks.other_tools.repositories import extremes
from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.results import (
    centroid_shift,
    describe_change,
    differences_over_splits,
    distinct,
    load_published,
    means_across,
    paired_cells,
    read_table,
    select_budgets,
)
from relahash_nb.results.tables import matching

RESULTS = Path(__file__).parent.parent / "docs" / "results"
CIFAR, MINI, COREL = "lists cifar10_jpeg", "lists miniimagenet100_10k", "lists corel5k_21"
UNSEEN, FASHION = "lists miniimagenet100_unseen", "fashion_mini"
LITE0 = "tf_efficientnet_lite0"
LOSSLESS, JPEG = "lists cifar10_lossless_4000", "lists cifar10_jpeg_4000"
SPLITS = 5
TRAINING_SHARE = 0.55  # the largest in dividend.csv
ERROR, SCORE = "quantization_error", "mean_average_precision"
KINDS = ("max_hamming", "bernoulli", "hadamard")  # of centroids


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
    """Mean scores on a data set, methods × searches; a search has the name of its target, such as `new images`."""
    trained = runs()[~runs()["loss"].isin(BASELINES)]
    table = means_across(select_budgets(trained, data), bits, score)
    return table.rename(columns=lambda name: name.split(", ")[-1])


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


def range_of_kinds(column: str) -> list[float]:
    """The least and the largest mean, over the kinds of centroids, of RelaHash less OrthoHash."""
    found = [relative_position(kind, column).mean() for kind in KINDS]
    return [min(found), max(found)]


def below_cosine() -> list[float]:
    """In how many cells of all kinds of centroids RelaHash's error is the lower one, and of how many."""
    gaps = pd.concat([relative_position(kind) for kind in KINDS])
    return [(gaps < 0).sum(), len(gaps)]


@cache
def dividend(
    unseen: float, training: float = 0, distance: str = "hamming", value: str = "relative", network: str = "lite0"
) -> pd.Series:
    """By method, the mAP at these shares of the database, for which a loss was tuned."""
    table = pd.read_csv(RESULTS / "dividend.csv")
    facts = {"network": network, "unseen_share": unseen, "training_share": training, "queries": "all"}
    rows = matching(table, facts | {"distance": distance, "metric": "map"})
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


def above_class_index(network: str, training: float = 0) -> list[float]:
    """On seen classes, how many losses are above the index of the predicted class, and of how many."""
    scores = dividend(0, training, network=network)
    of_losses = scores[scores.index.isin(LOSSES)]
    return [(of_losses > scores["class_index"]).sum(), len(of_losses)]


def with_float_query() -> list[float]:
    """On unseen classes by a float query: ITQ, OPQ, and the best of the losses."""
    scores = dividend(1, distance="asymmetric")
    return [scores["itq"], scores["opq"], scores[scores.index.isin(LOSSES)].max()]


def without_and_with_jpeg(backbone: str, column: str) -> list[float]:
    """A network's mean score on the same images, lossless and as JPEG files."""
    table = runs("jpeg").query("backbone == @backbone")
    table = table[~table["weights"].str.contains("distilled")]
    scores = table.groupby("data")[column].mean()
    return [scores[LOSSLESS], scores[JPEG]]


def cost_of_jpeg(backbone: str, column: str) -> float:
    """What a network loses by JPEG."""
    lossless, jpeg = without_and_with_jpeg(backbone, column)
    return lossless - jpeg


def pretrained_fc(column: str) -> list[float]:
    """AlexNet's score on the JPEG files, seed 0: fc6 and fc7 not pretrained, and pretrained by us."""
    table = runs("jpeg").query("backbone == 'alexnet' and seed == 0 and data == @JPEG")
    is_ours = table["weights"].str.contains("distilled")
    return [table.loc[~is_ours, column].item(), table.loc[is_ours, column].item()]


def alexnet_on_all() -> list[float]:
    """AlexNet's score on CIFAR-10 at 64 bits, β 50 and 10 epochs: fc6 and fc7 not pretrained, and pretrained by us."""
    table = tuned_networks().query("backbone == 'alexnet' and epochs == 10 and beta == 50 and precision == 'bf16'")
    is_ours = table["weights"].str.contains("distilled")
    return [table.loc[~is_ours, SCORE].item(), table.loc[is_ours, SCORE].item()]


def lite2_on_all() -> list[float]:
    """EfficientNet-Lite2 on CIFAR-10 at 64 bits: the score, that on new images, and the query accuracy."""
    run = tuned_networks().query("backbone == 'tf_efficientnet_lite2'")
    return run[[SCORE, "new_images", "query_accuracy"]].squeeze().tolist()


def jpeg_interval(score: str) -> list[float]:
    """The least and the largest loss by JPEG of AlexNet, 95 %."""
    table = pd.read_csv(RESULTS / "jpeg_differences.csv")
    row = table[(table["backbone"] == "alexnet") & (table["score"] == score)].iloc[0]
    return [-row["high"], -row["low"]]


def target_gain(data: str, score: str) -> pd.Series:
    """A score on a data set after the search for the protocol, less that after the search for new images."""
    table = means(data, score=score)
    return (table["protocol"] - table["new images"]).dropna()


def by_target(data: str) -> list[float]:
    """In how many losses the search for the protocol gains by the protocol, of how many, and loses on new images."""
    return [*higher(target_gain(data, SCORE)), (target_gain(data, "new_images") < 0).sum()]


def by_search() -> list[float]:
    """New images of miniImageNet: the first less the median score, before and after the search; rank correlation."""
    scores = means(MINI, score="new_images")
    change = describe_change(scores["defaults"], scores["new images"])
    return [change["spread before"], change["spread after"], change["rank correlation"]]


def over_searches(loss: str) -> list[float]:
    """The least and the largest difference of a loss to RelaHash there, over three seeds of the search."""
    table = means(MINI, score="new_images")[["new images", "search 1", "search 2"]]
    gains = table.loc[loss] - table.loc["relahash"]
    return [gains.min(), gains.max()]


def leader(data: str, loss: str) -> list[float]:
    """The score on new images, tuned for them, of the loss that leads, and of RelaHash; nan: another loss leads."""
    scores = means(data, score="new_images")["new images"]
    best = scores.max() if scores.idxmax() == loss else math.nan
    return [best, scores["relahash"]]


@cache
def on_splits(data: str) -> pd.DataFrame:
    """The runs on five splits of a data set, tuned for new images on the first."""
    searched = select_budgets(runs(), data, bits=64)["24 trials, new images"]
    others = read_table(RESULTS / "splits.csv").query("data == @data")
    table = pd.concat([others, searched])
    return table.assign(method=table["loss"])


def over_splits(data: str, loss: str) -> list[float]:
    """The difference of a loss to RelaHash there, and its deviation from split to split."""
    gains = differences_over_splits(on_splits(data), score="new_images").set_index("method")
    gains = gains[gains["splits"] == SPLITS]
    return gains.loc[loss, ["difference", "deviation"]].tolist()


def unseen_classes() -> list[float]:
    """The 25 classes kept apart: DPSH and RelaHash, tuned for them, ITQ, OPQ, and the float features."""
    tuned = means(UNSEEN)["unseen classes"]
    itq = runs().query("data == @UNSEEN and bits == 64 and loss == 'itq' and loss_options.isna()")[SCORE].mean()
    opq = (
        read_table(RESULTS / "quantizer.csv").query("data == @UNSEEN and bits == 64 and method == 'opq'")[SCORE].mean()
    )
    return [tuned["dpsh"], tuned["relahash"], itq, opq, float_features(UNSEEN)]


def kept_apart() -> dict[str, float]:
    """The same classes, relative to the float features: the best of the losses, and ITQ."""
    _, _, itq, _, floats = unseen_classes()
    return {"losses": means(UNSEEN)["unseen classes"].max() / floats, "itq": itq / floats}


def class_index() -> float:
    """The score of the predicted class on new images of miniImageNet."""
    table = select_budgets(runs().query("loss == 'class_index'"), MINI, bits=64)["defaults"]
    return table["new_images"].mean()


def float_features(data: str = MINI) -> float:
    """The score on new images of the features themselves, by the cosine."""
    table = pd.read_csv(RESULTS / "quantizer.csv")
    return table.query("data == @data and method == 'float'")["new_images"].item()


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


def by_other_code(ranks: str) -> list[float]:
    """What the scoring code of published repositories adds to the exact score, in points: the least and the most.

    The database is sorted by class; `ranks` is `all` or `100`.
    """
    results = read_results("repositories")
    if results is None:
        raise FileNotFoundError("repositories.json")
    return [100 * difference for difference in extremes(results, ranks, "sorted")]

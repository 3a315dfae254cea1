"""The numbers that the pages state, each with the expression over the published tables that gives it.

    python -m study.claims   # page, phrase with its numbers, and the tables that they are from

`tests/test_claims.py` looks for each phrase in its page. A claim whose rows are not published yet has no numbers: then
its phrase must not be there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from relahash_nb.results import load_published
from study.evidence import (
    CIFAR,
    COREL,
    ERROR,
    FASHION,
    KINDS,
    LITE0,
    MINI,
    SCORE,
    TRAINING_SHARE,
    above_class_index,
    alexnet_on_all,
    below_cosine,
    below_itq,
    best_of_an_hour,
    by_margin,
    by_other_code,
    by_search,
    by_target,
    class_index,
    cost_of_jpeg,
    dividend,
    ends,
    float_features,
    growth,
    higher,
    jpeg_interval,
    kept_apart,
    leader,
    lite2_on_all,
    losses,
    means,
    optimum,
    over_searches,
    over_splits,
    pretrained_fc,
    published,
    range_of_kinds,
    runs,
    shift,
    target_gain,
    unseen_classes,
    widest,
    with_float_query,
    without_and_with_jpeg,
)
from study.hours import all_hours

REALITY, README, RESULTS_PAGE = "docs/reality-check.md", "README.md", "docs/results.md"


@dataclass(frozen=True)
class Claim:
    """A phrase of a page.

    Attributes:
        page: Its path.
        phrase: The words, with a place for each number.
        source: What the numbers are from: tables of `docs/results/`, or a file by its path.
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
        "{:.3f} to {:.3f} above that of a cosine loss, its mAP too, by {:.3f} to {:.3f}",
        "grid.csv",
        lambda: [*range_of_kinds(ERROR), *range_of_kinds(SCORE)],
    ),
    Claim(
        README,
        "raise the error by {:.3f}",
        "grid.csv",
        lambda: [shift("relahash", ERROR).mean()],
    ),
    Claim(
        README,
        "at most {:.2f} times, and ITQ, which needs no labels, {:.2f} (after 75 classes {:.2f} and {:.2f})",
        "dividend.csv, summary.csv, quantizer.csv",
        lambda: [losses(1).max(), dividend(1)["itq"], kept_apart()["losses"], kept_apart()["itq"]],
    ),
    Claim(
        README,
        "cost a smaller network {:.3f} on 4,000 images",
        "jpeg.csv",
        lambda: [cost_of_jpeg(LITE0, SCORE)],
    ),
    Claim(
        README,
        "{:+.2f} to {:+.2f} points from the exact mean",
        "benchmarks/results/other_tools/repositories.json",
        lambda: by_other_code("all"),
    ),
    Claim(
        REALITY,
        "CSQ less RelaHash is {:.4f} ± {:.4f} over five splits of the images, but {:.3f} to {:.3f} over three seeds",
        "splits.csv, summary.csv",
        lambda: over_splits(MINI, "csq") + over_searches("csq"),
    ),
    Claim(
        REALITY,
        "DPSH has {:.3f}, RelaHash {:.3f}, ITQ {:.3f}, OPQ {:.3f} and the float features {:.3f}",
        "summary.csv, quantizer.csv",
        unseen_classes,
    ),
    Claim(
        REALITY,
        "for the protocol {} of {} losses are better by the protocol, and {} worse on new images",
        "summary.csv",
        lambda: by_target(MINI),
    ),
    Claim(
        REALITY,
        "On Corel5k (51 %) {} of {} are better, and {} worse",
        "summary.csv",
        lambda: by_target(COREL),
    ),
    Claim(
        REALITY,
        "On CIFAR-10 (8 %) both searches choose the same options for {} of {}",
        "summary.csv",
        lambda: [(target_gain(CIFAR, SCORE) == 0).sum(), len(target_gain(CIFAR, SCORE))],
    ),
    Claim(
        REALITY,
        "the first is above the median by {:.3f} at the defaults, and by {:.3f} after it. Their order changes (rank "
        "correlation {:.2f})",
        "summary.csv",
        by_search,
    ),
    Claim(
        REALITY,
        "`average_precision` leads on Corel5k with {:.3f} (RelaHash {:.3f})",
        "summary.csv",
        lambda: leader(COREL, "average_precision"),
    ),
    Claim(
        REALITY,
        "A float query lifts RelaHash from {:.3f} to {:.3f}; the float features have {:.3f}",
        "summary.csv, quantizer.csv",
        lambda: [
            means(MINI, score="new_images").loc["relahash", "new images"],
            means(MINI, score="new_images_asymmetric").loc["relahash", "new images"],
            float_features(),
        ],
    ),
    Claim(
        REALITY,
        "An index of the predicted class, one number, has {:.3f}, more than any loss",
        "summary.csv",
        lambda: [class_index()],
    ),
    Claim(
        REALITY,
        "`hashnet` on CIFAR-10 with {:.3f} (RelaHash {:.3f})",
        "summary.csv",
        lambda: leader(CIFAR, "hashnet"),
    ),
    Claim(
        REALITY,
        "`sdh_c` on Fashion-MNIST with {:.3f} (RelaHash {:.3f}, not told apart)",
        "summary.csv",
        lambda: leader(FASHION, "sdh_c"),
    ),
    Claim(
        REALITY,
        "chose the defaults ({:.3f}), that for the protocol found {:.3f}",
        "summary.csv",
        lambda: means(MINI, score="new_images").loc["dch", ["new images", "protocol"]].tolist(),
    ),
    Claim(
        REALITY,
        "the losses have {:.2f} to {:.2f} times the mAP of the float features, on unseen ones {:.2f} to {:.2f}. There "
        "ITQ, which takes no labels, has {:.2f} and is above {} of the {} losses",
        "dividend.csv",
        lambda: [*ends(0), *ends(1), dividend(1)["itq"], *below_itq()],
    ),
    Claim(
        REALITY,
        "RelaHash's error is above OrthoHash's by {:.3f} to {:.3f} on average over the cells of each kind of "
        "centroids, and below it in {} of {} cells. Its mAP is above by {:.3f} to {:.3f}",
        "grid.csv",
        lambda: [*range_of_kinds(ERROR), *below_cosine(), *range_of_kinds(SCORE)],
    ),
    Claim(
        REALITY,
        "With the features of Lite2 the losses have {:.2f} to {:.2f}, and {:.2f} to {:.2f} (ITQ: {:.2f})",
        "dividend.csv",
        lambda: [*ends(0, "lite2"), *ends(1, "lite2"), dividend(1, network="lite2")["itq"]],
    ),
    Claim(
        REALITY,
        "{} of the {} losses are above the index of the predicted class, for which Sablayrolles et al. (ICASSP 2017) "
        "ask, and {} with training images in the database (Lite2: {} and {})",
        "dividend.csv",
        lambda: [
            *above_class_index("lite0"),
            above_class_index("lite0", TRAINING_SHARE)[0],
            above_class_index("lite2")[0],
            above_class_index("lite2", TRAINING_SHARE)[0],
        ],
    ),
    Claim(
        REALITY,
        "with a float query it has {:.2f}, OPQ {:.2f} and the best loss {:.2f}",
        "dividend.csv",
        with_float_query,
    ),
    Claim(
        REALITY,
        "end for both at {:.4f} with max-Hamming centroids, {:.3f} with Bernoulli and {:.3f} with Hadamard",
        "relahash_nb.losses.bounds",
        lambda: [optimum(kind) for kind in KINDS],
    ),
    Claim(
        REALITY,
        "RelaHash's error is {:.3f} to {:.3f} at margin 0.5, which is out of a similarity's reach; at margin 0 it "
        "grows with the scale, from {:.3f} to {:.3f}",
        "grid.csv",
        lambda: [by_margin(0.5).min(), by_margin(0.5).max(), by_margin(0).iloc[0], by_margin(0).iloc[-1]],
    ),
    Claim(
        REALITY,
        "With Hadamard instead of max-Hamming ones RelaHash's error grows by {:.3f} on average, in {} of {} cells, and "
        "OrthoHash's by {:.3f}, in {} of {}",
        "grid.csv",
        lambda: growth(shift("relahash", ERROR)) + growth(shift("orthohash", ERROR)),
    ),
    Claim(
        REALITY,
        "Yet RelaHash's mAP grows too, in {} of them",
        "grid.csv",
        lambda: higher(shift("relahash", SCORE))[:1],
    ),
    Claim(
        REALITY,
        "The parts that record their time took {:.0f} hours of one core",
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
        "AlexNet is {:.3f} below the published score",
        "summary.csv, data/published.csv",
        lambda: [published() - alexnet_on_all()[0]],
    ),
    Claim(
        RESULTS_PAGE,
        "AlexNet loses {:.3f} to {:.3f} on new images and {:.3f} to {:.3f} by the protocol (95 % intervals)",
        "jpeg_differences.csv",
        lambda: [*jpeg_interval("new_images"), *jpeg_interval(SCORE)],
    ),
    Claim(
        RESULTS_PAGE,
        "EfficientNet-Lite0 (`laptop`, 6 epochs, three seeds) has {:.3f} and {:.3f} on new images, {:.3f} and {:.3f} "
        "by the protocol",
        "jpeg.csv",
        lambda: without_and_with_jpeg(LITE0, "new_images") + without_and_with_jpeg(LITE0, SCORE),
    ),
    Claim(
        RESULTS_PAGE,
        "from {:.3f} to {:.3f} on new images and from {:.3f} to {:.3f} by the protocol (one seed, JPEG files)",
        "jpeg.csv",
        lambda: pretrained_fc("new_images") + pretrained_fc(SCORE),
    ),
    Claim(
        RESULTS_PAGE,
        "(53 minutes on two cores, one seed) it has {:.3f}, and {:.3f} on new images; {:.3f} of its queries",
        "summary.csv",
        lite2_on_all,
    ),
    Claim(
        RESULTS_PAGE,
        "On all of CIFAR-10 it lifts AlexNet from {:.3f} to {:.3f} (10 epochs, one seed)",
        "summary.csv",
        alexnet_on_all,
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

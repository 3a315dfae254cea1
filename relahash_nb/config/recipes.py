"""The built-in names, and what a None in a config stands for."""

from __future__ import annotations

from typing import Any

DATASET_NAMES = (
    *("fashion_mini", "fashion_mnist", "cifar10", "cifar100"),
    *("imagenet100", "nuswide_21", "coco", "lists", "folder"),
)
ROOT_DATASETS = DATASET_NAMES[4:]  # they need the folder that holds the images
LOSS_NAMES = (
    *("relahash", "orthohash", "orthohash_arc", "cross_entropy", "cross_entropy_plain", "csq", "dpn"),
    *("greedyhash", "hashnet", "dpsh", "dtsh", "jmlh", "sdh_c"),
)
BASELINE_NAMES = ("lsh", "pcah", "itq", "cosine", "class_index", "random")  # run in place of a loss, without training
CENTROID_NAMES = ("max_hamming", "hadamard", "bernoulli", "normal", "uniform")
BACKBONE_NAMES = ("alexnet", "small_cnn")

# What a None stands for: the recipe's word, unless the data set or the loss has one of its own.
RECIPES: dict[str, dict[str, Any]] = {
    # The published command line, with its β 8. The authors' Colab run (β 50, 64 bits, CIFAR-10, 4.08 h on a T4) has
    # mAP@all .8388 after the last epoch; β and batch size of the paper's .852 are not known.
    # doi 10.1109/ACCESS.2023.3259104
    "paper": dict(
        backbone="alexnet", weights="imagenet", image_size=224, epochs=100, batch_size=16, lr=1e-4,
        backbone_lr_scale=0.1, weight_decay=5e-4, schedule="step", augment="jitter",
    ),
    # Ours: a small network from scratch, in half a minute on two cores; see the README for its scores.
    "quick": dict(
        backbone="small_cnn", weights="none", image_size=28, epochs=20, batch_size=64, lr=3e-3,
        backbone_lr_scale=1.0, weight_decay=5e-4, schedule="cosine", augment="jitter",
    ),
}  # fmt: skip
DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "fashion_mini": dict(recipe="quick"),
    "fashion_mnist": dict(recipe="quick"),
    "cifar10": dict(recipe="paper", protocol="1"),
    "cifar100": dict(recipe="paper", protocol="1"),
    "imagenet100": dict(recipe="paper", augment="resized_crop", top_k=1_000),
    "nuswide_21": dict(recipe="paper", augment="crop", top_k=5_000),
    "coco": dict(recipe="paper", augment="resized_crop", top_k=5_000, drop_self_matches=True),
}
# Of the losses that have a scale or a margin; a scale that is not here follows from the bits.
LOSS_DEFAULTS: dict[str, dict[str, Any]] = {
    "relahash": dict(beta=8.0, margin=0.5),
    "orthohash": dict(margin=0.2),
    "orthohash_arc": dict(margin=0.2),
    "dpn": dict(margin=1.0),
    "dtsh": dict(margin=5.0),
}

"""What a search is for: which training images are held out, and what they are searched among."""

from dataclasses import replace

import torch
from torch import Tensor

from relahash_nb.datasets import Dataset, Split

# By name, as `relahash tune --target` takes it; how a tuned run and a table call it.
TARGETS = {"new_images": "new images", "protocol": "protocol", "unseen": "unseen classes"}
HELD_OUT = 0.2  # of the training images, or of their classes


def hold_out(data: Dataset, seed: int, target: str = "new_images") -> Dataset:
    """A data set within the train split: a part of it is the queries, and the rest is learned from.

    Each held-out image is searched for among the other held-out images. Neither a query nor a database image of `data`
    that is no training image is in it: protocols grant a method the labels of the training images alone.

    Args:
        data: As `load_dataset` gives it; its train split counts, and for `protocol` the share of it in the database.
        seed: Of what is held out.
        target: `new_images` holds out a fifth of the images. `protocol` does too, and adds to the database as many of
            the images that are learned from that they are the same share of it as training images are of the
            database of `data`. `unseen` holds out all images of a fifth of the classes.

    Raises:
        ValueError: `unseen` of fewer than four classes, or all images have a held-out class.
    """
    generator = torch.Generator().manual_seed(seed)
    choose = choose_classes if target == "unseen" else choose_images
    is_held_out = choose(data, generator)
    held_out = data.train.indices[is_held_out]
    learned = data.train.indices[~is_held_out]
    database = held_out
    if target == "protocol":
        count = trained_items(data, len(held_out), len(learned))
        chosen = torch.randperm(len(learned), generator=generator)[:count].sort().values
        database = torch.cat([held_out, learned[chosen]])
    return replace(
        data,
        train=Split(data.pool, learned),
        query=Split(data.pool, held_out),
        database=Split(data.pool, database),
        validation=Split(data.pool, held_out[:0]),
    )


def choose_images(data: Dataset, generator: torch.Generator) -> Tensor:
    """(N,) bool, a fifth of the training images."""
    order = torch.randperm(len(data.train), generator=generator)
    is_chosen = torch.zeros(len(order), dtype=torch.bool)
    is_chosen[order[: int(len(order) * HELD_OUT)]] = True
    return is_chosen


def choose_classes(data: Dataset, generator: torch.Generator) -> Tensor:
    """(N,) bool, the training images with a label of a fifth of the classes that they have, of two at least."""
    targets = data.train.targets != 0  # (N, C)
    classes = targets.any(dim=0).nonzero()[:, 0]
    order = torch.randperm(len(classes), generator=generator)
    chosen = classes[order[: max(2, int(len(classes) * HELD_OUT))]]
    has_chosen = targets[:, chosen].any(dim=1)
    if len(classes) < 4 or has_chosen.all():
        raise ValueError(f"target: unseen given; {data.name} has too few classes to hold some out")
    return has_chosen


def trained_items(data: Dataset, held_out: int, learned: int) -> int:
    """How many of the images that are learned from make the share of `data` beside so many held-out ones."""
    in_database = int(torch.isin(data.database.indices, data.train.indices).sum())
    others = len(data.database) - in_database
    if others == 0:
        return learned
    return min(learned, round(held_out * in_database / others))

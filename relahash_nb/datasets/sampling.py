"""Which training images make a batch."""

import torch
from torch import Generator, Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets.splits import Dataset

FEWEST = 4  # images of a class in a batch, where the batch is large enough


def draw_batches(data: Dataset, config: RunConfig, generator: Generator) -> Tensor:
    """The batches of an epoch, as rows of the train split.

    `shuffle` takes each image once, and drops an incomplete last batch. `classes` has as many batches; each has P
    classes, drawn anew, and Q images of each (Hermans et al. 2017, arXiv 1703.07737), as `classes_and_images` says.
    A class's images come in random order, and again from the start once all were there. An image with several labels
    is one of each of its classes, and may be twice in a batch.

    Args:
        data: N training images.
        config: Its `sampler` and `batch_size` count.
        generator: On the CPU.

    Returns:
        (steps, B) int64.

    Raises:
        ValueError: As of `classes_and_images`.
    """
    count = len(data.train)
    steps = count // config.batch_size
    if config.sampler == "shuffle":
        order = torch.randperm(count, generator=generator)
        return order[: steps * config.batch_size].view(steps, -1)
    members = class_members(data)
    classes, images = classes_and_images(config.batch_size, len(members))
    chosen = torch.stack([torch.randperm(len(members), generator=generator)[:classes] for _ in range(steps)])  # (S, P)
    batches = torch.empty(steps, classes, images, dtype=torch.long)
    for number, rows in enumerate(members):
        places = (chosen == number).nonzero()  # (S', 2), the step and the position of the class in it
        queue = repeat_shuffled(rows, len(places) * images, generator)
        batches[places[:, 0], places[:, 1]] = queue.view(-1, images)
    return batches.flatten(1)


def class_members(data: Dataset) -> list[Tensor]:
    """The rows of the train split that have a label, for each class that has any."""
    columns = data.train.targets.T  # (C, N)
    return [column.nonzero()[:, 0] for column in columns if column.any()]


def repeat_shuffled(rows: Tensor, length: int, generator: Generator) -> Tensor:
    """Rows in random order, then again in another one, up to a length."""
    rounds = -(-length // len(rows))
    orders = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)]
    return torch.cat([rows[:0], *orders])[:length]


def classes_and_images(batch_size: int, classes: int) -> tuple[int, int]:
    """P, as many classes as divide the batch evenly with four images or more of each, else two; and Q.

    Raises:
        ValueError: No number of two classes or more divides the batch so.

    Example:
        >>> classes_and_images(64, 100), classes_and_images(64, 10), classes_and_images(16, 10)
        ((16, 4), (8, 8), (4, 4))
    """
    for fewest in (FEWEST, 2):
        for number in range(min(classes, batch_size // fewest), 1, -1):
            if batch_size % number == 0:
                return number, batch_size // number
    allowed = f"a number that two to {classes} classes divide, with two images or more of each"
    raise ValueError(f"batch_size: {batch_size} given; allowed with sampler classes: {allowed}")

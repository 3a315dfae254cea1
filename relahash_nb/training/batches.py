"""The batches that a model learns from."""

from collections.abc import Iterator

import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, draw_batches, prepare


def draw_inputs(
    data: Dataset,
    config: RunConfig,
    generator: torch.Generator,
    device: torch.device,
    train_features: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The full batches of an epoch, drawn and augmented, on the device.

    Args:
        data: N training images.
        config: Its `sampler`, `batch_size` and `augment` count.
        generator: On the CPU; of the order and of the augmentation.
        device: Where the batches are wanted.
        train_features: (N, F) float on the device, where the backbone is fixed; then they are the inputs.

    Yields:
        Images (B, 3, H, W) float from 0 to 1, or rows (B, F) of fixed features; targets (B, C) uint8.
    """
    train = data.train
    targets = train.targets.to(device)  # (N, C)
    for rows in draw_batches(data, config, generator):
        if train_features is None:
            images = train.images(rows).to(device, non_blocking=True)
            inputs = prepare(images, train.pool.image_size, config.augment, generator)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        else:
            inputs = train_features[rows.to(device)]
        yield inputs, targets[rows.to(device)]

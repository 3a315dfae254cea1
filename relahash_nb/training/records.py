"""What is measured in training: the statistics of a batch, the record of an epoch, and what to say of a loss of NaN."""

import torch
from torch import Tensor, nn

from relahash_nb.config import RunConfig
from relahash_nb.metrics.statistics import cosine_to_sign, nearest_centroids

Record = dict[str, float]
STATISTICS = ("loss", "centroid_accuracy", "quantization_error", "quantization_error_centred")  # of a batch


def batch_statistics(loss: Tensor, codes: Tensor, targets: Tensor, centroids: Tensor) -> Tensor:
    """The `STATISTICS` of a batch, (4,) on its device; nothing waits for the device.

    Args:
        loss: Of the batch, a scalar.
        codes: (B, K) float, before the sign.
        targets: (B, C) multi-hot.
        centroids: (C, K) ±1.
    """
    nearest = nearest_centroids(codes, centroids.to(codes.dtype))  # (B,)
    accuracy = (targets.gather(1, nearest[:, None]) > 0).float().mean()
    error = 1 - cosine_to_sign(codes).mean()
    centred_error = 1 - cosine_to_sign(codes - codes.mean()).mean()
    return torch.stack([loss, accuracy, error, centred_error])


def make_record(epoch: int, statistics: Tensor) -> Record:
    """The record of an epoch, from the statistics (steps, 4) of its batches."""
    means = statistics.cpu().double().mean(dim=0).tolist()
    return {"epoch": epoch, **dict(zip(STATISTICS, means, strict=True))}


def describe_epoch(history: list[Record], epochs: int) -> str:
    """One line on the last epoch, and how long the rest will take."""
    record = history[-1]
    parts = [
        f"epoch {len(history):3d}/{epochs}",
        f"loss {record['loss']:.4f}",
        f"centroid accuracy {record['centroid_accuracy']:.4f}",
        f"quantization error {record['quantization_error']:.4f}",
    ]
    for name in ("validation_map", "query_map"):
        if name in record:
            parts.append(f"{name} {record[name]:.4f}")
    seconds_left = record["seconds"] * (epochs - len(history))
    parts.append(f"{record['seconds']:.1f} s, {seconds_left:.0f} s to go")
    return "  ".join(parts)


def check_losses(losses: Tensor, epoch: int, loss: nn.Module, config: RunConfig) -> None:
    """Refuse an epoch's losses (steps,) where one is not finite: all that follows would be noise.

    Raises:
        FloatingPointError: It says at which batch of the epoch, counted from 1, and which options may help.
    """
    broken = losses.isfinite().logical_not()
    if not broken.any():
        return
    batch = int(broken.nonzero()[0]) + 1
    if epoch == 1 and batch == 1:  # nothing was updated yet, and the weights were finite
        options = {name: getattr(loss, name) for name in ("beta", "margin") if hasattr(loss, name)}
    else:
        options = {"lr": config.lr, "weight_decay": config.weight_decay}
    advice = f"look at {config.loss} and its options"
    if options:
        listed = " or ".join(f"{name} (now {value})" for name, value in options.items())
        advice = f"a smaller {listed} may help"
    if config.precision != "fp32":
        advice += f"; so may precision fp32 (now {config.precision})"
    place = f"epoch {epoch}, batch {batch} of {len(losses)}"
    raise FloatingPointError(f"the loss is {losses[batch - 1].item()} at {place}; {advice}")

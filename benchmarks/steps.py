"""Where a fine-tuning step and a frozen epoch spend their time, and what the floor is.

The floor of arithmetic is counted operations over the rate of a large matrix product, the floor of bytes is what Adam
must read and write over the rate of a large copy; both rates are measured here, in the same process.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Report
from benchmarks.finetuning import has_bf16, known

KINDS = {  # of operators, by how their names begin
    "convolutions": ("aten::convolution", "aten::mkldnn_convolution", "aten::_convolution", "aten::conv"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::matmul", "aten::linear"),
    "optimizer": ("aten::_fused_adam", "Optimizer"),
    "copies and casts": ("aten::copy_", "aten::_to_copy", "aten::to", "aten::clone", "aten::index"),
}
ADAM_BYTES = 28  # a parameter: weight, gradient and two moments read, weight and moments written, 4 each


def run(options, report: Report) -> None:
    precision = "bf16" if has_bf16() else "fp32"
    training = alexnet_training(known(options.alexnet), precision)
    counted = count(training)
    rates = {"flops": matrix_rate(precision), "bytes": copy_rate()}
    shares, took = profiled(training, 2 if options.quick else 5)
    floors = {
        "arithmetic": counted["flops"] / rates["flops"],
        "bytes of Adam": ADAM_BYTES * counted["parameters"] / rates["bytes"],
    }
    rows = [[kind, f"{1e3 * value:.0f}", f"{value / took:.0%}"] for kind, value in shares.items()]
    rows.append(["**a step**", f"**{1e3 * took:.0f}**", "100%"])
    rows += [[f"floor: {name}", f"{1e3 * value:.0f}", f"{value / took:.0%}"] for name, value in floors.items()]
    report.table(
        f"A fine-tuning step of AlexNet, 16 images at 224 pixels, {precision}: {counted['flops'] / 1e9:.0f} GFLOP, "
        f"{counted['parameters'] / 1e6:.1f} M parameters; measured {rates['flops'] / 1e9:.0f} GFLOP/s and "
        f"{rates['bytes'] / 1e9:.1f} GB/s.",
        ["where", "ms", "share"],
        rows,
    )
    epoch, steps, frozen, floor = frozen_epoch(rates)
    rows = [[kind, f"{1e3 * value:.1f}", f"{value / epoch:.0%}"] for kind, value in frozen.items()]
    rows.append(["**an epoch**", f"**{1e3 * epoch:.1f}**", "100%"])
    rows += [[f"floor: {name}", f"{1e3 * value:.2f}", f"{value / epoch:.0%}"] for name, value in floor.items()]
    report.table(
        f"An epoch of a 64-bit hash layer on 5,000 × 1,280 features, batches of 64, {steps} steps: "
        f"{1e3 * epoch / steps:.2f} ms a step.",
        ["where", "ms", "share"],
        rows,
    )
    report.notes.append(
        f"The floors of the fine-tuning step are {sum(floors.values()) / took:.0%} of it, those of the frozen epoch "
        f"{sum(floor.values()) / epoch:.0%}: there most is the calling of many small operators."
    )
    report.measured |= {"step": shares, "seconds": took, "rates": rates, "counted": counted, "floors": floors}
    report.measured |= {"epoch": epoch, "frozen": frozen, "frozen_floors": floor}


def alexnet_training(weights: str | None, precision: str):
    """A `Trainer` of the paper's network on 64 made-up images."""
    config, data = made_up(224, 64, backbone="alexnet", weights=weights or "none", precision=precision, batch_size=16)
    return training_of(config, data)


def made_up(size: int, items: int, **options):
    from relahash_nb.config import RunConfig
    from relahash_nb.datasets import Dataset, Pool

    labels = torch.arange(items) % 10
    images = torch.randint(0, 256, (items, 3, 32, 32), dtype=torch.uint8)
    pool = Pool(images, torch.eye(10, dtype=torch.uint8)[labels], labels.numpy(), size)
    splits = {name: range(items) for name in ("train", "query", "database")}
    data = Dataset.from_pool("noise", [str(label) for label in range(10)], pool, splits)
    return RunConfig(recipe="paper", image_size=size, device="cpu", checkpoint_minutes=0, **options).resolve(), data


def training_of(config, data, features=None):
    from relahash_nb.centroids import make_centroids
    from relahash_nb.losses import build_loss
    from relahash_nb.models import build_model
    from relahash_nb.training import Trainer

    model = build_model(config)
    if features is not None:
        model.hash_layer[0] = torch.nn.Linear(features.shape[1], config.bits, bias=False)
    training = Trainer(model, build_loss(config, make_centroids(10, config.bits)), data, config, features)
    training.model.train()
    return training


def count(training) -> dict[str, float]:
    """Operations of one step, and parameters that learn."""
    batch = next(training.batches())
    with FlopCounterMode(display=False) as counter:
        training.step(*batch)
    learned = (p.numel() for group in training.optimizer.param_groups for p in group["params"])
    return {"flops": counter.get_total_flops(), "parameters": sum(learned)}


def profiled(training, times: int) -> tuple[dict[str, float], float]:
    """Seconds of a step by kind of operator, scaled to the time that it takes unwatched, and that time."""
    batch, took = next(training.batches()), []
    for _ in range(times + 1):
        start = time.perf_counter()
        training.step(*batch)
        took.append(time.perf_counter() - start)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        training.step(*batch)
    return by_kind(watched, statistics.median(took[1:])), statistics.median(took[1:])


def by_kind(watched, total: float) -> dict[str, float]:
    """Shares of the watched operators' own time, of a total in seconds."""
    sums = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in watched.key_averages():
        kind = next((kind for kind, begins in KINDS.items() if event.key.startswith(begins)), "all else")
        sums[kind] += event.self_cpu_time_total
    return {kind: total * value / sum(sums.values()) for kind, value in sums.items()}


def frozen_epoch(rates: dict[str, float]) -> tuple[float, int, dict[str, float], dict[str, float]]:
    """Seconds of an epoch, its steps, the seconds by kind of operator, and the floors."""
    width, bits, batch = 1_280, 64, 64
    features = torch.rand(5_000, width, generator=torch.Generator().manual_seed(0)).half()
    config, data = made_up(28, 5_000, backbone="small_cnn", weights="none", finetune=False, batch_size=batch, bits=bits)
    training = training_of(config, data, features)
    training.train_epoch()
    took = statistics.median(training.train_epoch()["seconds"] for _ in range(3))
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        training.train_epoch()
    flops, parameters = 4 * batch * width * bits, bits * (width + 2)  # forward, and the weights' gradient
    step_bytes = 4 * batch * width * 2 + ADAM_BYTES * parameters
    floors = {
        "arithmetic": training.steps * flops / matrix_rate("fp32"),
        "bytes": training.steps * step_bytes / rates["bytes"],
    }
    return took, training.steps, by_kind(watched, took), floors


def matrix_rate(precision: str) -> float:
    """Operations a second of a large matrix product, the best of some."""
    size, dtype = 2_048, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    left, right = torch.randn(2, size, size).to(dtype)
    return 2 * size**3 / best_seconds(lambda: left @ right)


def copy_rate() -> float:
    """Bytes read and written a second by a copy that no cache holds, the best of some."""
    source, target = torch.zeros(2, 2**26)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source))


def best_seconds(work, times: int = 8) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)

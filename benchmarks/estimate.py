"""A T4 on paper: what the published CIFAR-10 setting should take, and what bounds it. An estimate, not a measurement.

Operations are counted on this machine; peaks are NVIDIA's. The host's calls, kernels that fall short of the peak and
the resizing are left out, so that the true time lies above it.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Report
from benchmarks.steps import ADAM_BYTES, alexnet_training, count

PEAK_FLOPS, PEAK_BYTES = 65e12, 320e9  # of a T4 in fp16, a second
CAST_BYTES = 2 * (4 + 2)  # a parameter: autocast reads it and writes it in half, and its gradient the other way
HALF_BYTES = 3 * 2  # a parameter: read in half by the forward pass and by the backward pass, its gradient written
EPOCHS, TRAIN, ITEMS, BATCH = 100, 5_000, 60_000, 16  # ITEMS are encoded once


def run(options, report: Report) -> None:
    training = alexnet_training(None, "fp32")
    counted = count(training)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        training.model.eval()(torch.zeros(1, 3, 224, 224))
    steps = TRAIN // BATCH
    adam = ADAM_BYTES * counted["parameters"] / PEAK_BYTES
    casts = (CAST_BYTES + HALF_BYTES) * counted["parameters"] / PEAK_BYTES
    arithmetic = counted["flops"] / PEAK_FLOPS
    encoding = ITEMS * counter.get_total_flops() / PEAK_FLOPS
    parts = {
        "arithmetic of a step": arithmetic,
        "bytes of Adam, a step": adam,
        "bytes of the weights in half, a step": casts,
    }
    step = arithmetic + adam + casts
    rows = [[name, f"{1e3 * value:.2f} ms"] for name, value in parts.items()]
    rows += [
        [f"an epoch: {steps} steps", f"{steps * step:.1f} s"],
        [f"{EPOCHS} epochs", f"{EPOCHS * steps * step:.0f} s"],
        [f"encoding {ITEMS:,} images once, arithmetic", f"{encoding:.1f} s"],
        [f"**in all, estimated; {EPOCHS} epochs and one score**", f"**{EPOCHS * steps * step + encoding:.0f} s**"],
    ]
    bound = max(parts, key=parts.get)
    report.table(
        f"**Estimate for a T4** (65 TFLOP/s in fp16, 320 GB/s; nothing here ran on one): AlexNet, CIFAR-10 at 224 "
        f"pixels, batches of {BATCH}: {counted['flops'] / 1e9:.0f} GFLOP a step, {counted['parameters'] / 1e6:.1f} M "
        f"parameters.",
        ["part", "estimated at the peaks"],
        rows,
        in_readme=True,
    )
    report.notes.append(f"Estimated bound: {bound}, {parts[bound] / step:.0%} of a step at the peaks.")
    report.measured |= {"counted": counted, "seconds": parts, "encoding": encoding}

"""AlexNet, CIFAR-10, 224 pixels: ours against the published pipeline, in processes that take turns.

The images lie in memory as 32 × 32 uint8 for everyone, as torchvision's CIFAR10 gives them. The published pipeline and
the plain loop run under torch's own settings. An epoch is over a part of the data, the same for both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.common import Process, Report, in_turns, median_ratio

BITS, BATCH_SIZE, WARM_UP = 64, 16, 2
TRAIN, QUERY, DATABASE = 1_000, 200, 4_000


class Ours:
    """The package's own training and encoding in fp32 or bf16, on the same arrays; arguments as for `Published`.

    The learning rate is constant, as in the published loop here.
    """

    def __init__(
        self, file: str, weights: str | None, precision: Literal["fp32", "bf16"], size: int = 224, seed: int = 0
    ) -> None:
        import torch

        from relahash_nb.config import RunConfig
        from relahash_nb.datasets import Dataset, Pool
        from relahash_nb.losses import build_loss
        from relahash_nb.models import build_model
        from relahash_nb.training import Trainer

        with np.load(file, allow_pickle=False) as arrays:
            names = ("train", "query", "database")
            images = np.concatenate([arrays[name] for name in names])
            targets = np.concatenate([arrays[f"{name}_targets"] for name in names])
            ends = np.cumsum([len(arrays[name]) for name in names])
            centroids = torch.from_numpy(arrays["centroids"])
        rows = dict(zip(names, np.split(np.arange(len(images)), ends[:-1]), strict=True))
        pool = Pool(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(targets),
            np.arange(len(images)),
            size,
        )
        config = RunConfig(
            recipe="paper", bits=BITS, weights=weights or "none", image_size=size, precision=precision,
            schedule="constant", device="cpu", seed=seed, eval_interval=1, checkpoint_minutes=0,
        )  # fmt: skip
        self.data = Dataset.from_pool("cifar10", [str(label) for label in range(targets.shape[1])], pool, rows)
        self.training = Trainer(build_model(config), build_loss(config, centroids), self.data, config)

    def train(self, batches: int) -> float:
        """Images a second."""
        self.training.model.train()
        source = self.training.batches()
        for step in range(batches + WARM_UP):
            if step == WARM_UP:
                start = time.perf_counter()
            self.training.step(*next(source))
        return batches * BATCH_SIZE / (time.perf_counter() - start)

    def encode(self, images: int) -> float:
        """Images a second."""
        from relahash_nb.datasets import Split
        from relahash_nb.training import encode

        part = Split(self.data.pool, self.data.database.indices[:images])
        start = time.perf_counter()
        encode(self.training.model, part, self.training.config.precision)
        return images / (time.perf_counter() - start)

    def epoch(self) -> float:
        """Seconds of a pass over the training images, and of the score after it."""
        start = time.perf_counter()
        self.training.train_epoch()
        return time.perf_counter() - start

    def fit(self, epochs: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Codes and targets of query and database after so many epochs at one learning rate."""
        from relahash_nb.training import encode

        for _ in range(epochs):
            self.epoch()
        encoded = {}
        for name in ("query", "database"):
            split = getattr(self.data, name)
            codes, targets = encode(self.training.model, split, self.training.config.precision)
            encoded[name] = codes.numpy(), targets.numpy()
        return encoded


def run(options, report: Report) -> None:
    batches, images, rounds = (2, 64, 1) if options.quick else (12, 1_024, options.rounds)
    counts = (80, 20, 96) if options.quick else (TRAIN, QUERY, DATABASE)
    with tempfile.TemporaryDirectory() as folder:
        file, weights = write_arrays(options, Path(folder), *counts), known(options.alexnet)
        precisions = ["fp32", "bf16"] if has_bf16() else ["fp32"]
        ways = {
            "published": Process(True, "benchmarks.published", "Published", file, weights),
            "plain torchvision loop": Process(True, "benchmarks.published", "Plain", file, weights),
        }
        for name in precisions:
            ways[f"ours, {name}"] = Process(False, "benchmarks.finetuning", "Ours", file, weights, name)
        train = in_turns({way: partial(process, "train", batches) for way, process in ways.items()}, rounds)
        ways.pop("plain torchvision loop").close()
        encode = in_turns({way: partial(process, "encode", images) for way, process in ways.items()}, rounds)
        epoch = in_turns({way: partial(process, "epoch") for way, process in ways.items()}, 1)
        for process in ways.values():
            process.close()
    rows = table_rows(train, encode, epoch)
    part = f"{counts[0]:,} training images, {counts[1]:,} queries, {counts[2]:,} in the database"
    columns = ["way", "training, images/s", "×", "encoding, images/s", "×", "epoch with its score, s", "×"]
    report.table(
        f"**Fine-tuning**: AlexNet, CIFAR-10 at 224 pixels, 64 bits; medians of {rounds}, in turns; an epoch is over "
        f"{part}. Published: the same pipeline in our own words.",
        columns, rows, in_readme=True,
    )  # fmt: skip
    report.measured |= {"train": train, "encode": encode, "epoch": epoch, "counts": counts}


def table_rows(
    train: dict[str, list[float]], encode: dict[str, list[float]], epoch: dict[str, list[float]]
) -> list[list[str]]:
    """A row for each way, with dashes for what it does not do."""
    rows = []
    for way in train:
        row = [way, f"{statistics.median(train[way]):.1f}", times(train[way], train["published"])]
        if way in encode:
            row += [f"{statistics.median(encode[way]):.0f}", times(encode[way], encode["published"])]
            row += [f"{epoch[way][0]:.1f}", times(epoch["published"], epoch[way])]
        else:
            row += ["–", "–", "–", "–"]
        rows.append(row)
    return rows


def times(ours: list[float], baseline: list[float]) -> str:
    return f"{median_ratio(ours, baseline):.1f}"


def known(weights: str) -> str | None:
    return weights if Path(weights).is_file() else None


def has_bf16() -> bool:
    import torch

    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def load_data(options, image_size: int):
    """CIFAR-10, as the options name it."""
    from relahash_nb.config import RunConfig
    from relahash_nb.datasets import load_dataset

    root = options.root if options.dataset == "lists" else None
    return load_dataset(RunConfig(recipe="paper", dataset=options.dataset, root=root, image_size=image_size))


def write_arrays(options, folder: Path, *counts: int) -> str:
    """Parts of the splits, evenly taken, as the arrays that `Published` and `Ours` read."""
    from relahash_nb.centroids import make_centroids

    data, arrays = load_data(options, 32), {}
    for name, count in zip(("train", "query", "database"), counts, strict=True):
        rows = np.random.default_rng(0).permutation(len(getattr(data, name)))[:count]
        split = getattr(data, name)
        arrays[name] = split.images(rows).permute(0, 2, 3, 1).numpy()
        arrays[f"{name}_targets"] = split.targets[rows].numpy()
    arrays["centroids"] = make_centroids(arrays["train_targets"].shape[1], BITS).numpy()
    np.savez(folder / "cifar10.npz", **arrays)
    return str(folder / "cifar10.npz")

"""How many images a second come out of files, and how many once they are decoded?

    python benchmarks/images.py FOLDER                            a folder of images in sub-folders
    python benchmarks/images.py FOLDER --size 112 --images 5000

The same files in the same process, each as uint8, the shorter side resized to one size and the middle square cut out:

- torchvision: `ImageFolder` in a `DataLoader` of two worker processes, with Resize, CenterCrop and PILToTensor; workers
  are started anew for each pass, as for an epoch.
- ours, decoded: `FileImages`, Pillow in one thread a core; a JPEG of four times the size or more is decoded small.
- ours, kept: the same images from the file that `decode_images` leaves, in the shuffled order of an epoch.

The ways take turns, and medians are printed, since other work on the machine slows all of them. Every file is read once
before, so that none waits for the disk. The last column says how far our pixels are from torchvision's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from metrics import hardware, version_of
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, FileImages, Pool
from relahash_nb.features import decode_images

BATCH, WORKERS = 64, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="images, in sub-folders")
    parser.add_argument("--size", type=int, default=224, help="pixels wanted (default 224)")
    parser.add_argument("--images", type=int, default=2_000, help="at most so many (default 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is timed (default 3)")
    arguments = parser.parse_args()
    found = ImageFolder(arguments.folder)
    rows = list(range(0, len(found), max(1, len(found) // arguments.images)))[: arguments.images]
    paths = [os.path.relpath(found.samples[row][0], arguments.folder) for row in rows]
    megabytes = sum(len((arguments.folder / path).read_bytes()) for path in paths) / 1e6
    print(hardware(), ", ".join(f"{name} {version_of(name)}" for name in ("torch", "torchvision", "pillow")), sep="\n")
    print(f"{len(paths):,} images, {megabytes:.0f} MB, kept at {arguments.size} pixels\n")
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, found, rows, paths, folder)


def measure(arguments: argparse.Namespace, found: ImageFolder, rows: list[int], paths: list[str], folder: str) -> None:
    files = FileImages(arguments.folder, paths, arguments.size)
    found.transform = v2.Compose([v2.Resize(files.size), v2.CenterCrop(files.size), v2.PILToTensor()])
    pool = Pool(files, torch.ones(len(paths), 1, dtype=torch.uint8), np.array(paths), files.size)
    everything = range(len(paths))
    data = Dataset.from_pool("files", ["any"], pool, dict(train=everything, query=(), database=everything))
    kept = decode_images(data, RunConfig(data_dir=folder)).pool.images
    ways: dict[str, Callable[[], Iterator[Tensor]]] = {
        "torchvision": partial(torchvision_batches, Subset(found, rows)),
        "ours, decoded": partial(files.blocks, BATCH),
        "ours, kept": partial(shuffled, kept),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, batches in ways.items():
            start = time.perf_counter()
            count = sum(len(batch) for batch in batches())
            seconds[way].append(time.perf_counter() - start)
            assert count == len(paths)
    sample = torch.cat([batch.float() for batch in torchvision_batches(Subset(found, rows[:BATCH]))])
    error = (sample - kept[torch.arange(len(sample))].float()).abs().mean().item()
    slowest = statistics.median(seconds["torchvision"])
    print("| way | images/s | this / torchvision | mean difference from torchvision, levels of 255 |")
    print("|---|---|---|---|")
    for way, times in seconds.items():
        median = statistics.median(times)
        distance = "" if way == "torchvision" else f"{error:.2f}"
        print(f"| {way} | {len(paths) / median:,.0f} | {slowest / median:.2f} | {distance} |")


def torchvision_batches(images: Subset) -> Iterator[Tensor]:
    for batch, _ in DataLoader(images, BATCH, num_workers=WORKERS):
        yield batch


def shuffled(images: FileImages) -> Iterator[Tensor]:
    for rows in torch.randperm(len(images)).split(BATCH):
        yield images[rows]


if __name__ == "__main__":
    main()

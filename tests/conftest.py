"""Small data that the tests make for themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


class Model:
    """All that `save_run` asks of a model."""

    def save(self, path, config):
        if config.save_weights != "none":
            path.write_bytes(b"tensors")


COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}


def picture(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (12, 12)) -> None:
    """A noisy image of one colour."""
    noise = np.random.default_rng(seed).integers(-30, 30, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory) -> Path:
    """A results folder with three runs of one loss and one of another, of made-up codes in 10 classes."""
    from relahash_nb.centroids import make_centroids
    from relahash_nb.config import RunConfig
    from relahash_nb.datasets import Dataset, Pool
    from relahash_nb.metrics import retrieval_scores
    from relahash_nb.results import Finished, save_run

    folder = tmp_path_factory.mktemp("results")
    generator = np.random.default_rng(0)
    targets = torch.eye(10, dtype=torch.uint8)[torch.arange(260) % 10]
    images = torch.from_numpy(generator.integers(0, 256, (260, 1, 8, 8), dtype=np.uint8))
    pool = Pool(images, targets, np.array([f"image {number}" for number in range(260)]), 8)
    data = Dataset.from_pool(
        "toy",
        [f"class {label}" for label in range(10)],
        pool,
        dict(train=range(100), database=range(200), query=range(200, 260)),
    )
    for loss, bits, seed in (("relahash", 16, 0), ("relahash", 16, 1), ("relahash", 32, 0), ("math:sqrt", 16, 0)):
        config = RunConfig(loss=loss, bits=bits, seed=seed, epochs=2, results_dir=str(folder))
        centroids = make_centroids(10, bits).numpy()
        codes = {
            name: centroids[np.asarray(getattr(data, name).targets).argmax(1)]
            + generator.standard_normal((len(getattr(data, name)), bits))
            for name in ("query", "database")
        }
        scores = retrieval_scores(codes["query"], codes["database"], data.query.targets, data.database.targets)
        history = [dict(epoch=epoch, loss=1 / epoch, quantization_error=0.2 / epoch, seconds=1.0) for epoch in (1, 2)]
        save_run(config, data, Model(), Finished(codes, scores, history, centroids, seconds={}))
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory) -> Path:
    """A sub-folder a colour, twenty images each."""
    root = tmp_path_factory.mktemp("colours")
    for name, colour in COLOURS.items():
        for number in range(20):
            picture(root / name / f"{number:02d}.png", colour, seed=number)
    return root


@pytest.fixture(scope="session")
def list_folder(tmp_path_factory) -> Path:
    """HashNet's list format, two labels an image: 12 train within 18 database, 6 query; another root than its name."""
    root = tmp_path_factory.mktemp("lists")
    lines = []
    for number in range(24):
        path = f"images/{number:02d}.png"
        picture(root / path, list(COLOURS.values())[number % 3], seed=number, size=(10, 14))
        labels = [int(number % 3 == label) for label in range(3)] + [number % 2]
        lines.append(f"{path} {' '.join(map(str, labels))}\n")
    (root / "train.txt").write_text("".join(lines[:12]))
    (root / "database.txt").write_text("".join(lines[:18]))
    (root / "test.txt").write_text("".join(lines[18:]))
    return root


@pytest.fixture(scope="session")
def toy_results(tmp_path_factory) -> Path:
    """A results folder with finished runs of 16 and of 48 bits: noisy codes of four classes, 12 of 60 queries shown."""
    import torch

    from relahash_nb.centroids import make_centroids
    from relahash_nb.config import RunConfig
    from relahash_nb.datasets import Dataset, Pool
    from relahash_nb.metrics import retrieval_scores
    from relahash_nb.results import Finished, save_run, saving

    results = tmp_path_factory.mktemp("toy") / "results"
    generator = np.random.default_rng(0)
    classes = torch.arange(460) % 4
    images = torch.from_numpy(generator.integers(0, 256, (460, 3, 16, 16), dtype=np.uint8))
    pool = Pool(images, torch.eye(4, dtype=torch.uint8)[classes], np.arange(460), 16)
    data = Dataset.from_pool(
        "toy", ("ant", "bee", "cat", "<dog>"), pool, dict(train=range(9), database=range(400), query=range(400, 460))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "SHOWN_QUERIES", 12)
        for bits in (48, 16):
            centroids = np.asarray(make_centroids(4, bits))
            noisy = centroids[classes] + generator.normal(0, 1.2, (460, bits)).astype(np.float32)
            codes = {"query": noisy[400:], "database": noisy[:400]}
            scores = retrieval_scores(*codes.values(), data.query.targets, data.database.targets)
            config = RunConfig(bits=bits, results_dir=str(results))
            save_run(config, data, Model(), Finished(codes, scores, [], centroids, seconds={}))
    return results

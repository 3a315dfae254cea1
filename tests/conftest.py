"""Small data that the tests make for themselves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}


def picture(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (12, 12)) -> None:
    """A noisy image of one colour."""
    noise = np.random.default_rng(seed).integers(-30, 30, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


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

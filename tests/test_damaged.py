"""Two hundred damaged and odd files: each is read rightly or refused in one line, within ten seconds."""

import io
import shutil
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.datasets import inspect_dataset
from relahash_nb.models import HashModel, build_model
from relahash_nb.results import load_run

pytestmark = pytest.mark.slow
SECONDS = 10.0
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")


def damage(content, generator):
    """The content of a file with some bytes changed, cut off, left out or doubled."""
    place, end = sorted(generator.integers(0, len(content), 2).tolist())
    kind = generator.integers(5)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + content[end:]
    if kind == 2:
        return content[:end] + content[place:]
    changed = bytearray(content)
    # Most often in the first bytes, which say what the others mean.
    last = len(content) if kind == 3 else min(100, len(content))
    for position in generator.integers(0, last, generator.integers(1, 5)):
        changed[position] = generator.integers(256)
    return bytes(changed)


def attempt(action):
    """What an action gives, or its ValueError of one line; it takes less than ten seconds."""
    start = time.perf_counter()
    try:
        return action()
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return error
    finally:
        assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("number", range(80))
def test_a_damaged_picture(number, image_folder, tmp_path, capsys):
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, format=FORMATS[number % len(FORMATS)])
    root = shutil.copytree(image_folder, tmp_path / "pictures")
    suffix = generator.choice([".jpg", ".png", "", ".tif"])
    (root / "red" / f"odd{suffix}").write_bytes(damage(whole.getvalue(), generator))
    truncated = bool(generator.integers(2))
    arguments = ["check", "--dataset", "folder", "--root", str(root), "--images", "--truncated", str(truncated)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of strange metadata
        code = attempt(lambda: main(arguments))
        printed = capsys.readouterr()
        data = inspect_dataset(RunConfig(dataset="folder", root=str(root), truncated=truncated, image_size=16))
        assert code in (0, 1) and "Traceback" not in printed.out + printed.err
        left_out = sum("left out" in line for line in printed.out.splitlines())
        assert len(data.pool.ids) == 61 - left_out
        if code == 1:
            assert "odd" in next(line for line in printed.out.splitlines() if line.startswith("error"))
        else:
            assert data.pool.images[torch.arange(len(data.pool.ids))].shape[1:] == (3, 16, 16)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    build_model(RunConfig(bits=16)).save(path, RunConfig(bits=16))
    return path


@pytest.mark.parametrize("number", range(60))
def test_a_damaged_model(number, model_file, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(model_file.read_bytes(), np.random.default_rng(number)))
    model = attempt(lambda: HashModel.load(path))
    images = torch.rand(2, 3, 28, 28)
    codes = HashModel.load(model_file)(images)
    assert isinstance(model, ValueError) or torch.equal(model(images), codes)


@pytest.mark.parametrize("number", range(60))
def test_a_damaged_run(number, tiny_results, tmp_path):
    source = sorted((tiny_results / "runs").iterdir())[number % 3]
    folder = shutil.copytree(source, tmp_path / source.name)
    generator = np.random.default_rng(number)
    name = ("codes.npz", "codes.npz", "run.json", "history.csv")[number % 4]
    (folder / name).write_bytes(damage((source / name).read_bytes(), generator))

    def read(place):
        run = load_run(place)
        return run.history, [*run.codes("query"), *run.codes("database"), *run.codes_before_sign()]

    given = attempt(lambda: read(folder))
    _, expected = read(source)
    if not isinstance(given, ValueError) and name != "run.json":
        assert all(np.array_equal(array, other) for array, other in zip(given[1], expected, strict=True))

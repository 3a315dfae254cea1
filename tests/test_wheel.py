"""Installed without a checkout, as in Colab: notebooks, embedded data and the command are in the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relahash_nb.results import load_runs

ROOT = Path(__file__).parent.parent


@pytest.fixture
def installed(wheel, tmp_path):
    """The environment of a process that finds the package's files from the wheel, and no checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    return os.environ | {"PYTHONPATH": str(tmp_path / "site")}


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def test_it_holds_the_notebooks_and_the_embedded_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"relahash_nb/share/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} <= names
    assert {"relahash_nb/share/data/fashion_mini.npz", "relahash_nb/share/data/published.csv"} <= names
    assert {f"relahash_nb/share/docs/results/{name}.csv" for name in ("summary", "grid", "dividend")} <= names
    assert {"relahash_nb/cli.py", "relahash_nb/metrics/ties.py"} <= names
    assert {f"relahash_nb/explorer/{name}" for name in ("explorer.js", "explorer.css", "page.html")} <= names
    assert "relahash_search/drop.js" in names
    assert not [name for name in names if "test" in name or name.startswith(("results", "docs"))]
    assert wheel.stat().st_size < 4e6


def test_its_command_finds_notebooks_and_data_without_a_checkout(installed, tmp_path):
    code = (
        "import relahash_nb; from relahash_nb.paths import package_file\n"
        "print(relahash_nb.__file__, package_file('notebooks/01_train.ipynb'), package_file('data/fashion_mini.npz'))"
    )
    places = python("-c", code, env=installed, cwd=tmp_path).stdout.split()
    assert len(places) == 3 and all(place.startswith(str(tmp_path)) for place in places)
    done = python("-m", "relahash_nb.cli", "sweep", "--bits", "16", "--plan", env=installed, cwd=tmp_path)
    assert done.returncode == 0 and "fashion_mini-16bits" in done.stdout


@pytest.mark.slow
def test_it_trains_without_a_checkout(installed, tmp_path):
    arguments = ["train", "--bits", "16", "--epochs", "1", "--image-size", "14"]
    done = python("-m", "relahash_nb.cli", *arguments, env=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_runs(tmp_path / "results")["bits"].tolist() == [16]

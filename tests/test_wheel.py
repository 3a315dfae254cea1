"""Installed without a checkout, as in Colab: notebooks, embedded data and the command are in the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relahash_nb.results import load_runs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_it_holds_the_notebooks_and_the_embedded_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"relahash_nb/share/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} <= names
    assert "relahash_nb/share/data/published.csv" in names
    assert {"relahash_nb/share/data/fashion_mini.npz", "relahash_nb/cli.py", "relahash_nb/metrics/ties.py"} <= names
    assert {f"relahash_nb/explorer/{name}" for name in ("explorer.js", "explorer.css", "page.html")} <= names
    assert "relahash_search/drop.js" in names
    assert not [name for name in names if "test" in name or name.startswith(("results", "docs"))]
    assert wheel.stat().st_size < 4e6


def test_it_trains_without_a_checkout(wheel, tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = "import relahash_nb, relahash_nb.config as c; print(relahash_nb.__file__, c.package_file('notebooks'))"
    places = subprocess.run(
        [sys.executable, "-c", where], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert all(place.startswith(str(tmp_path)) for place in places.stdout.split())
    train = ["-m", "relahash_nb.cli", "train", "--bits", "16", "--epochs", "1", "--image-size", "14"]
    done = subprocess.run([sys.executable, *train], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_runs(tmp_path / "results")["bits"].tolist() == [16]

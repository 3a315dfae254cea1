"""Writes `dist/colab/*.ipynb`: each notebook as one file that brings the package along, for Colab, Kaggle or Jupyter.

    make colab

*File → Upload notebook → Run all* is all that such a file needs. A folded cell holds the wheel, packed by LZMA, as
base85, and the set-up cell below it installs the wheel. Notebooks that need no images get a wheel without them;
notebooks that show runs get a cell that makes some where there are none.
"""

from __future__ import annotations

import base64
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "colab"
DATA = "relahash_nb/share/data/fashion_mini.npz"
WITHOUT_DATA = ("00_relative_position.ipynb",)
BADGE = "*This file brings the package along: run all cells.*"
PACKAGE = """\
# @title The package (nothing to see: its files as text)
wheel = "{wheel}"
"""
SETUP = """\
# @title Set-up: installs the package where it is missing
use_drive = False  # @param {{type:"boolean"}} # Colab: keep results in Google Drive
import base64
import importlib.util
import lzma
from pathlib import Path

if importlib.util.find_spec("relahash_nb") is None:
    Path("{name}").write_bytes(lzma.decompress(base64.b85decode(wheel)))
    %pip install --quiet {name}
    if importlib.util.find_spec("relahash_nb") is None:  # no network, as on Kaggle at first
        %pip install --quiet --no-deps {name}
from relahash_nb.notebooks import set_up

set_up(use_drive)
"""
RUNS = """\
# @title Runs to look at, where there are none: {what}, a few minutes
import importlib.util
import sys

from relahash_nb.paths import project_path

if not any(project_path("results").glob("runs/*/run.json")):
    relahash = f'"{{sys.executable}}" -m relahash_nb.cli'
"""
FOUR_RUNS = """    !{relahash} sweep --loss relahash cross_entropy --bits 16 64"""
ONE_RUN = """    !{relahash} sweep --bits 64"""
# By the number of the notebook: the cell that makes the runs which the notebook shows.
RUNS_OF = {
    "02": RUNS.format(what="four short trainings") + FOUR_RUNS,
    "03": RUNS.format(what="four short trainings") + FOUR_RUNS,
    "04": RUNS.format(what="four short trainings") + FOUR_RUNS,
    "07": RUNS.format(what="one short training") + ONE_RUN,
}


def main() -> None:
    """Builds the wheel, and writes a file for each notebook."""
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            sys.exit(f"the wheel cannot be built: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = Path(folder).glob("*.whl")
        for path in write_notebooks(wheel, TARGET):
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


def write_notebooks(wheel: Path, target: Path) -> list[Path]:
    """Writes each notebook of the project, with the wheel in it, into the folder `target`; returns the files."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory() as folder:
        whole = copy_stored(wheel, Path(folder, "whole"))
        small = copy_stored(wheel, Path(folder, "small"), without=DATA)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            brought = small if path.name in WITHOUT_DATA else whole
            text = bring_along(path, brought)
            (target / path.name).write_text(text, encoding="utf-8")
            written.append(target / path.name)
    return written


def copy_stored(wheel: Path, folder: Path, without: str | None = None) -> Path:
    """Copies a wheel into a new folder, its files as they are: LZMA packs them all at once, and better.

    Args:
        wheel: The wheel.
        folder: Is made.
        without: A file that the copy lacks, as does its RECORD.
    """
    folder.mkdir()
    copy = folder / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
        for item in source.namelist():
            if item == without:
                continue
            content = source.read(item)
            if item.endswith("RECORD") and without is not None:
                lines = content.splitlines(keepends=True)
                content = b"".join(line for line in lines if not line.startswith(without.encode()))
            target.writestr(item, content)
    return copy


def bring_along(path: Path, wheel: Path) -> str:
    """A notebook as text, with the wheel in a folded cell above a set-up cell that unpacks and installs it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "badge" in cell.metadata.get("tags", []):
            cell.source = BADGE
    (place,) = [number for number, cell in enumerate(notebook.cells) if "colab" in cell.metadata.get("tags", [])]
    notebook.cells[place].source = SETUP.format(name=wheel.name).rstrip()
    runs = RUNS_OF.get(path.name[:2])
    if runs is not None:
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(runs, metadata={"cellView": "form"}))
    encoded = base64.b85encode(lzma.compress(wheel.read_bytes())).decode()
    package = nbformat.v4.new_code_cell(PACKAGE.format(wheel=encoded).rstrip())
    package.metadata = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["package"]}
    notebook.cells.insert(place, package)  # apart from the set-up, whose errors are to be readable
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    main()

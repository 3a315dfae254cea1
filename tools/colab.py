"""Writes `dist/colab/*.ipynb`: each notebook as one file that brings the package along, for Colab, Kaggle or Jupyter.

    make colab

*File → Upload notebook → Run all* is all that such a file needs. Its set-up cell holds the wheel as base64; the
notebooks that need no images get a wheel without them, and those that show runs make some where there are none.
"""

from __future__ import annotations

import base64
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
PACKAGE = """# @title The package (nothing to see: its files as text)
wheel = "{wheel}"
"""
UNPACK = """    import base64

    source = "relahash_nb-{version}-py3-none-any.whl"
    Path(source).write_bytes(base64.b64decode(wheel))
"""
OFFLINE = """\
    if importlib.util.find_spec("relahash_nb") is None:  # no network, as on Kaggle at first: what is there will do
        %pip install --quiet --no-deps {source}
"""
RUNS = """# @title Runs to look at, where there are none: {what}, a few minutes
import importlib.util
import sys

from relahash_nb.paths import project_path

if not any(project_path("results").glob("runs/*/run.json")):
    relahash = f'"{{sys.executable}}" -m relahash_nb.cli'
"""
SHORT = """    !{relahash} sweep --loss relahash cross_entropy --bits 16 64"""
STUDY = """    if importlib.util.find_spec("optuna") is None:
        %pip install --quiet optuna
    fixed = "--finetune False --bits 64 --centroid-seed None"  # features of a random network
    three = f"{fixed} --loss relahash orthohash csq"
    phase = f"{fixed} --direct --results-dir results_phase"
    !{relahash} sweep {three} --direct --seed 0 1
    !{relahash} tune {three}
    !{relahash} sweep {three} --direct --seed 0 1 --tuned results/tuned
    !{relahash} sweep {phase} --loss relahash --beta 4 16 64 --margin 0.025 0.125 0.5
    !{relahash} sweep {phase} --loss orthohash --beta 0.5 2 8 --margin 0.2 1 4
    !{relahash} sweep {phase} --beta 4 16 64 --batch-size 16 256
    invariant = '{"reference_batch_size": 64}'
    !{relahash} sweep {phase} --beta 4 16 64 --batch-size 16 64 256 --loss-options '{invariant}'"""
# What notebooks show, which a new machine does not have.
RUNS_OF = dict.fromkeys(("02", "03", "04", "05"), RUNS.format(what="four short trainings") + SHORT)
RUNS_OF["07"] = RUNS.format(what="one short training") + "    !{relahash} sweep --bits 64"
RUNS_OF["06"] = RUNS.format(what="three losses on fixed features of a random network") + STUDY


def main() -> None:
    """Builds the wheel, and writes a file per notebook."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        done = subprocess.run(build, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"the wheel cannot be built: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = Path(folder).glob("*.whl")
        small = without(wheel, DATA, Path(folder) / "small")
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            text = bring_along(path, small if path.name in WITHOUT_DATA else wheel)
            (TARGET / path.name).write_text(text, encoding="utf-8")
            print(f"{(TARGET / path.name).relative_to(ROOT)}: {len(text.encode()) / 1e6:.1f} MB")


def without(wheel: Path, name: str, folder: Path) -> Path:
    """A copy of a wheel that lacks one file."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(folder / wheel.name, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.namelist():
            content = old.read(item)
            if item.endswith("RECORD"):
                content = b"".join(line for line in content.splitlines(True) if not line.startswith(name.encode()))
            if item != name:
                new.writestr(item, content)
    return folder / wheel.name


def bring_along(path: Path, wheel: Path) -> str:
    """A notebook with the wheel in a folded cell, which its set-up cell unpacks instead of looking for a file."""
    notebook = nbformat.read(path, as_version=4)
    place, setup = next((i, c) for i, c in enumerate(notebook.cells) if "colab" in c.metadata.get("tags", []))
    before, marker, after = setup.source.partition("    # source: the package\n")
    assert marker
    _, install, rest = after.partition("    %pip install --quiet {source}\n")
    setup.source = before + UNPACK.format(version=wheel.name.split("-")[1]) + install + OFFLINE + rest
    if runs := RUNS_OF.get(path.name[:2]):
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(runs, metadata={"cellView": "form"}))
    package = nbformat.v4.new_code_cell(PACKAGE.format(wheel=base64.b64encode(wheel.read_bytes()).decode()).rstrip())
    package.metadata = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["package"]}
    notebook.cells.insert(place, package)  # apart from the set-up, whose errors are to be readable
    for cell in notebook.cells:
        if "badge" in cell.metadata.get("tags", []):
            cell.source = BADGE
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    main()

"""Each notebook as one file: it brings the package along and installs itself. `tests/slow` executes the files."""

import importlib.util
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from relahash_nb.notebooks import set_up

ROOT = Path(__file__).parent.parent


def load_tool():
    specification = importlib.util.spec_from_file_location("colab", ROOT / "tools" / "colab.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(wheel, tmp_path_factory):
    """The files, as `make colab` writes them, by the number of the notebook."""
    written = load_tool().write_notebooks(wheel, tmp_path_factory.mktemp("colab"))
    return {path.name[:2]: path for path in written}


def cells_of(path, tag):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def test_a_file_is_small_readable_and_complete(files):
    assert sorted(files) == sorted(path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
    for number, path in files.items():
        assert path.stat().st_size < 5e6
        cells = nbformat.read(path, as_version=4).cells
        (package,) = cells_of(path, "package")
        assert package.metadata["cellView"] == "form" and package.metadata["jupyter"]["source_hidden"]
        assert max(len(cell.source) for cell in cells if cell != package) < 10_000
        makes_runs = any("-m relahash_nb.cli" in cell.source for cell in cells)
        assert makes_runs == (number in ("02", "03", "04", "07"))  # which look at runs


@pytest.mark.parametrize("number", ["00", "01"])
def test_its_first_cells_write_the_wheel_and_install_it(number, files, tmp_path, monkeypatch):
    """The cells are executed here; pip is only asked what it would be given."""
    (package,), (setup,) = cells_of(files[number], "package"), cells_of(files[number], "colab")
    asked = []

    class Shell:
        def run_line_magic(self, name, line):
            asked.append((name, line))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # as if the package were not installed
    source = "\n".join([package.source, TransformerManager().transform_cell(setup.source)])
    exec(compile(source, files[number].name, "exec"), {"get_ipython": Shell})
    (wheel,) = tmp_path.iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert "relahash_nb/cli.py" in names and zipfile.ZipFile(wheel).testzip() is None
    assert ("relahash_nb/share/data/fashion_mini.npz" in names) == (number != "00")
    assert asked and all(name == "pip" and line.endswith(wheel.name) for name, line in asked)


def test_its_cells_are_python(files):
    for path in files.values():
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                compile(TransformerManager().transform_cell(cell.source), path.name, "exec")


def test_kaggle_is_not_taken_for_colab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", object())  # its image is made of Colab's
    with pytest.raises(ImportError):
        set_up()
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    set_up(use_drive=True)
    assert not capsys.readouterr().out

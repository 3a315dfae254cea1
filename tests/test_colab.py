"""Each notebook as one file: it installs itself and nothing else, shows widgets, and continues after it was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import nbformat
import pytest

from relahash_nb.notebooks import set_up
from relahash_nb.results import load_runs

ROOT = Path(__file__).parent.parent
STUB = """
class output:
    enable_custom_widget_manager = staticmethod(lambda: print("widgets enabled"))
class drive:
    mount = staticmethod(lambda place: print("mounted", place))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files, as `make colab` writes them."""
    dist = ROOT / "dist" / "colab"
    subprocess.run([sys.executable, ROOT / "tools" / "colab.py"], check=True, capture_output=True)
    return {path.name[:2]: path for path in dist.glob("*.ipynb")}


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A folder with the ipywidgets of Colab."""
    folder = tmp_path_factory.mktemp("seven")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    needed = ["ipywidgets==7.7.1", "ipython_genutils", "widgetsnbextension~=3.6", "notebook"]
    subprocess.run([*command, *needed], check=True, capture_output=True)
    return folder


@pytest.fixture
def colab(tmp_path, seven):
    """A machine like Colab: all dependencies, ipywidgets 7, a stub of google.colab, and not this package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    purelib = Path(
        sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")})
    )
    stub = tmp_path / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(STUB)
    everything = tmp_path / "everything"  # that is installed here, but for this package
    everything.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "relahash" not in path.name and path.suffix != ".pth":
            (everything / path.name).symlink_to(path)
    (purelib / "everything.pth").write_text(f"{seven}\n{everything}\n{tmp_path / 'stub'}\nimport google.colab")
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "colab", "language": "python"}))
    (tmp_path / "content").mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    check = [python, "-c", "import importlib.util as i, torch, sys; sys.exit(i.find_spec('relahash_nb') is not None)"]
    assert subprocess.run(check, env=kept, cwd=tmp_path).returncode == 0, "the package is there already"
    return kept | {"JUPYTER_PATH": str(tmp_path / "jupyter"), "VIRTUAL_ENV": str(tmp_path / "venv")}


def execute(path, environment, folder, *parameters):
    """papermill in a process of its own, in an empty folder."""
    words = [word for name, value in parameters for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--kernel", "colab", path, folder / f"done-{path.name}", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def test_a_file_is_small_readable_and_complete(files):
    assert sorted(files) == sorted(path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
    for path in files.values():
        assert path.stat().st_size < 5e6
        cells = nbformat.read(path, as_version=4).cells
        (package,) = [cell for cell in cells if "package" in cell.metadata.get("tags", [])]
        assert package.metadata["cellView"] == "form" and package.metadata["jupyter"]["source_hidden"]
        assert max(len(cell.source) for cell in cells if cell is not package) < 10_000
        makes_runs = any("-m relahash_nb.cli" in cell.source for cell in cells)
        assert makes_runs == (path.name[:2] not in ("00", "01"))  # all others look at runs


def test_the_idea_runs_from_its_file_alone(files, colab, tmp_path):
    process = execute(files["00"], colab, tmp_path / "content")
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output[-3000:]
    done = (tmp_path / "content" / f"done-{files['00'].name}").read_text()
    assert "widgets enabled" in done and "data and results go to" in done
    installed = {path.name for path in (tmp_path / "venv").glob("lib/python*/site-packages/*")}
    assert {name for name in installed if not name.startswith("relahash_nb")} == {"everything.pth"}


def test_the_explorer_and_its_fallback_appear_with_ipywidgets_7(files, colab, toy_results, tmp_path):
    shutil.copytree(toy_results, tmp_path / "content" / "results")
    process = execute(files["04"], colab, tmp_path / "content")
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output[-3000:]
    notebook = nbformat.read(tmp_path / "content" / f"done-{files['04'].name}", as_version=4)
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    models = {model["model_name"]: model["model_module_version"] for model in state.values()}
    assert models["VBoxModel"] == models["IntSliderModel"] == "1.5.0" and "AnyModel" in models
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in shown) == 2


def test_kaggle_is_not_taken_for_colab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", object())  # its image is made of Colab's
    with pytest.raises(ImportError):
        set_up()
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    set_up(use_drive=True)
    assert not capsys.readouterr().out


def test_training_continues_after_it_was_killed(files, colab, tmp_path):
    folder = tmp_path / "content"
    parameters = [("bits", 16), ("epochs", 12), ("image_size", 14), ("checkpoint_minutes", 0.0001)]
    process = execute(files["01"], colab, folder, *parameters)
    deadline = time.monotonic() + 400
    while not list(folder.glob("results/runs/*/checkpoint.pt")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    for kernel in subprocess.run(
        ["pgrep", "-f", str(tmp_path / "venv")], capture_output=True, text=True
    ).stdout.split():
        os.kill(int(kernel), signal.SIGKILL)
    assert not list(folder.glob("results/runs/*/run.json"))
    process = execute(files["01"], colab, folder, *parameters)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output[-3000:]
    done = (folder / f"done-{files['01'].name}").read_text()
    assert "continues" in done or "epoch   1/12" not in done
    runs = load_runs(folder / "results")
    assert runs["bits"].tolist() == [16] and len(list(folder.glob("results/runs/*/history.csv"))) == 1

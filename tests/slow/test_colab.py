"""Each notebook as one file, executed on a machine like Colab: it shows widgets, and continues after it was killed."""

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
import papermill
import psutil
import pytest

from relahash_nb.results import load_runs
from tests.test_colab import files  # noqa: F401

pytestmark = pytest.mark.slow
STUB = """
class output:
    enable_custom_widget_manager = staticmethod(lambda: print("widgets enabled"))
class drive:
    mount = staticmethod(lambda place: print("mounted", place))
"""


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A folder with the ipywidgets of Colab, from the network."""
    folder = tmp_path_factory.mktemp("seven")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    needed = ["ipywidgets==7.7.1", "ipython_genutils", "widgetsnbextension~=3.6", "notebook"]
    if subprocess.run([*command, *needed], capture_output=True).returncode:
        pytest.skip("ipywidgets 7 is not to be had here, without a network")
    return folder


def make_machine(folder: Path, *first: Path) -> dict[str, str]:
    """The environment of a machine like Colab: all dependencies, a stub of google.colab, and not this package.

    Packages in the folders `first` go before those that are installed here. The working directory is `content`.
    """
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    stub = folder / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(STUB)
    everything = folder / "everything"  # that is installed here, but for this package
    everything.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "relahash" not in path.name and path.suffix != ".pth":
            (everything / path.name).symlink_to(path)
    paths = [*map(str, first), str(everything), str(folder / "stub"), "import google.colab"]
    (purelib / "everything.pth").write_text("\n".join(paths))
    kernel = folder / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "colab", "language": "python"}))
    (folder / "content").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    check = [python, "-c", "import importlib.util as i, torch, sys; sys.exit(i.find_spec('relahash_nb') is not None)"]
    assert subprocess.run(check, env=environment, cwd=folder).returncode == 0, "the package is there already"
    return environment | {"JUPYTER_PATH": str(folder / "jupyter"), "VIRTUAL_ENV": str(venv)}


@pytest.fixture
def colab(tmp_path):
    return make_machine(tmp_path)


@pytest.fixture
def old_colab(tmp_path, seven):
    return make_machine(tmp_path, seven)


def execute(path, environment, folder, **parameters):
    """papermill in a process of its own, in an empty folder."""
    target = folder / f"done-{path.name}"
    given = ["--parameters_yaml", json.dumps(parameters)]
    command = [sys.executable, "-m", "papermill", "--kernel", "colab", path, target, *given]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)


def finish(process):
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output[-3000:]


def test_the_idea_runs_from_its_file_alone(files, colab, tmp_path):  # noqa: F811
    finish(execute(files["00"], colab, tmp_path / "content"))
    done = (tmp_path / "content" / f"done-{files['00'].name}").read_text()
    assert "widgets enabled" in done and str(tmp_path / "content") in done
    installed = {path.name for path in (tmp_path / "venv").glob("lib/python*/site-packages/*")}
    assert {name for name in installed if not name.startswith("relahash_")} == {"everything.pth"}


def test_the_explorer_and_its_fallback_appear_with_ipywidgets_7(files, old_colab, toy_results, tmp_path):  # noqa: F811
    shutil.copytree(toy_results, tmp_path / "content" / "results")
    finish(execute(files["04"], old_colab, tmp_path / "content"))
    notebook = nbformat.read(tmp_path / "content" / f"done-{files['04'].name}", as_version=4)
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    models = {model["model_name"]: model["model_module_version"] for model in state.values()}
    assert models["VBoxModel"] == models["IntSliderModel"] == "1.5.0" and "AnyModel" in models
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in shown) == 2


def test_training_continues_after_it_was_killed(files, colab, tmp_path):  # noqa: F811
    folder = tmp_path / "content"
    parameters = dict(bits=16, epochs=12)
    rare = dict(image_size=14, checkpoint_minutes=0.0001)
    takes_options = "options" in papermill.inspect_notebook(str(files["01"]))
    parameters |= {"options": rare} if takes_options else rare
    process = execute(files["01"], colab, folder, **parameters)
    deadline = time.monotonic() + 400
    while not list(folder.glob("results/runs/*/checkpoint.pt")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kernels = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for kernel in kernels:
        kernel.kill()
    assert not list(folder.glob("results/runs/*/run.json"))
    finish(execute(files["01"], colab, folder, **parameters))
    done = (folder / f"done-{files['01'].name}").read_text()
    assert "continues" in done or "epoch   1/12" not in done
    runs = load_runs(folder / "results")
    assert runs["bits"].tolist() == [16] and len(list(folder.glob("results/runs/*/history.csv"))) == 1

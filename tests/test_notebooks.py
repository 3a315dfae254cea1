"""The notebooks as files, and as papermill runs them."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from relahash_nb import notebooks
from relahash_nb.config import RunConfig
from relahash_nb.results import load_runs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAIN = ROOT / "notebooks" / "01_train.ipynb"
TINY = dict(bits=16, epochs=1, image_size=14)
ANALYSES = [ROOT / "notebooks" / name for name in notebooks.ANALYSES]


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs_and_in_short_cells(path):
    cells = code_cells(path)
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]
    assert 10 <= len(cells) <= 19
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(ast.parse(parameters.source).body) <= 12
    assert all(line.count("#") == 2 for line in parameters.source.splitlines()[2:])  # a form field, and one comment
    assert not [cell.source for cell in cells if len(cell.source.splitlines()) > 15]
    assert not [line for cell in cells for line in cell.source.splitlines() if len(line) > 88]
    assert not [cell.source for cell in cells if cell.source.startswith("class ") or "\nclass " in cell.source]


@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.name)
def test_a_sentence_stands_before_each_figure(path):
    cells = nbformat.read(path, as_version=4).cells
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code" and re.search(r"plots\.plot_|plot_view\(view", cell.source):
            assert before.cell_type == "markdown", cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_opens_in_colab_with_a_gpu(path):
    metadata = nbformat.read(path, as_version=4).metadata
    assert metadata["accelerator"] == "GPU" and metadata["colab"]["gpuType"] == "T4"
    assert metadata["kernelspec"]["name"] == "python3" and "widgets" not in metadata


def test_the_parameters_cell_has_names_and_defaults_of_the_config():
    (cell,) = [cell for cell in code_cells(TRAIN) if "parameters" in cell.metadata.get("tags", [])]
    assigned = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    assert assigned.items() <= RunConfig().to_dict().items()
    assert set(papermill.inspect_notebook(str(TRAIN))) == set(assigned)


def test_what_is_generated_is_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "tools" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_papermill_runs_the_training_notebook_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(str(TRAIN), "out.ipynb", TINY | {"save_weights": "none"}, progress_bar=False)
    runs = load_runs("results")
    assert runs["bits"].tolist() == [16] and 0.1 < runs["mean_average_precision"][0] <= 1
    assert runs["worst"][0] <= runs["mean_average_precision"][0] <= runs["best"][0]
    executed = nbformat.read("out.ipynb", as_version=4)
    figures = [o for cell in executed.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(figures) == 6


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"bitz": 32}, "bitz: no such parameter (did you mean bits?)"),
        ({"bits": "32"}, "bits: '32' given; allowed: an integer from 1 to 4096"),
        ({"dataset": "cifar"}, "dataset: 'cifar' given"),
    ],
)
def test_what_papermill_only_warns_of_is_refused(parameters, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PapermillExecutionError) as error:
        papermill.execute_notebook(str(TRAIN), "out.ipynb", parameters, progress_bar=False)
    assert error.value.ename == "ValueError" and said in error.value.evalue
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


def test_several_labels_train_too(list_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = dict(dataset="lists", root=str(list_folder), recipe="quick", batch_size=4, device="cpu", centroids="semantic")
    papermill.execute_notebook(str(TRAIN), "out.ipynb", TINY | own, progress_bar=False)
    runs = load_runs("results")
    assert runs["dataset"].tolist() == ["lists"] and runs["centroids"].tolist() == ["semantic"]


def figures(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def test_the_toy_holds_what_it_says_with_other_numbers_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = dict(classes=6, bits=32, batch_size=12, beta=20.0, margin=0.4, steps=300, seed=1)
    papermill.execute_notebook(
        str(ROOT / "notebooks" / "00_relative_position.ipynb"), "out.ipynb", other, progress_bar=False
    )
    assert len(figures("out.ipynb")) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize("path", ANALYSES, ids=lambda path: path.name)
def test_an_analysis_draws_finished_runs_and_keeps_its_figures(path, tiny_results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    (results / "runs").mkdir(parents=True)
    for run in (tiny_results / "runs").iterdir():
        (results / "runs" / run.name).symlink_to(run)
    papermill.execute_notebook(str(path), "out.ipynb", {"losses": ["relahash", "math:sqrt"]}, progress_bar=False)
    cells = nbformat.read("out.ipynb", as_version=4).cells
    for cell in cells:  # each figure stands below its own cell
        if "save_figure(" in cell.source:
            assert sum("image/png" in output.get("data", {}) for output in cell.outputs) == 1, cell.source
    kept = {file.name for file in (results / "figures").iterdir()}
    assert len(figures("out.ipynb")) >= 6
    assert len(kept) >= 10 and {Path(name).stem for name in kept if name.endswith(".png")} == {
        Path(name).stem for name in kept if name.endswith(".svg")
    }
    run_ids = set(load_runs(results)["run_id"])
    assert all(set(Image.open(file).text["Source"].split()) <= run_ids for file in (results / "figures").glob("*.png"))


def test_the_comparison_says_what_it_reads_and_never_ranks_one_seed(tiny_results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "notebooks" / notebooks.COMPARISON
    papermill.execute_notebook(str(path), "out.ipynb", {"results_dir": str(tiny_results)}, progress_bar=False)
    printed = "".join(
        output.get("text", "")
        for cell in nbformat.read("out.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    )
    assert f"reads 4 runs in {tiny_results / 'runs'}" in printed
    assert len(figures("out.ipynb")) == 4 and "(1)" not in Path("out.ipynb").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize("path", ANALYSES, ids=lambda path: path.name)
def test_an_analysis_without_runs_says_which_command_makes_them(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = {"dataset": "cifar10", "bits": [16, 32], "seeds": 0}
    with pytest.raises(PapermillExecutionError) as error:
        papermill.execute_notebook(str(path), "out.ipynb", wanted, progress_bar=False)
    command = "relahash sweep --dataset cifar10 --bits 16 32 --seed 0"
    assert error.value.evalue == f"results/runs: no finished run to look at; this makes it: {command}"
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]

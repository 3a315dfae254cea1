"""The notebooks as files, and as papermill executes them: each of 00, 01, 02, 03 and 05 once."""

import ast
import asyncio
import importlib
import inspect
import itertools
import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from PIL import Image

from relahash_nb import notebooks
from relahash_nb.config import RunConfig
from relahash_nb.results import load_runs, read_table, select_runs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAIN = ROOT / "notebooks" / "01_train.ipynb"
REALITY = ROOT / "notebooks" / "06_reality_check.ipynb"
ANALYSES = [ROOT / "notebooks" / name for name in notebooks.ANALYSES]


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parameters_cell(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return cell


def default_parameters(path):
    """The names and values of a notebook's parameters cell."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(parameters_cell(path).source).body}


def figures(path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    return [output for output in outputs if "image/png" in output.get("data", {})]


def printed(path):
    return "".join(output.get("text", "") for cell in code_cells(path) for output in cell.outputs)


# As files


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs_and_in_short_cells(path):
    cells = code_cells(path)
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]
    assert 10 <= len(cells) <= 19
    for cell in cells:
        lines = cell.source.splitlines()
        assert len(lines) <= 15 and not [line for line in lines if len(line) > 88], cell.source
        assert not [line for line in lines if line.startswith("class ")], cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_each_name_that_a_notebook_takes_from_the_package_exists(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    tree = ast.parse(re.sub(r"^( *)%.*", r"\1pass", source, flags=re.MULTILINE))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("relahash_nb", "relahash_search")):
            for name in [alias.name for alias in node.names]:
                package = importlib.import_module(node.module)
                found = getattr(package, name, None) or importlib.import_module(f"{node.module}.{name}")
                if inspect.ismodule(found):
                    modules[name] = found
    assert modules
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_parameters_are_few_literals_with_a_form_field_and_a_comment_each(path):
    names = set(default_parameters(path))
    assert len(names - {"options"}) <= 12
    assignments = [line for line in parameters_cell(path).source.splitlines() if " = " in line]
    assert len(assignments) == len(names)
    assert all(line.count("#") == 2 for line in assignments if not line.startswith("options"))


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


def test_papermill_finds_the_training_notebook_s_parameters_and_they_are_the_config_s_defaults():
    values = default_parameters(TRAIN)
    assert set(papermill.inspect_notebook(str(TRAIN))) == set(values)
    rare = values.pop("options", {})
    assert values.keys() <= RunConfig.model_fields.keys()
    assert RunConfig(**values, **rare).run_id == RunConfig().run_id


# Without a kernel


def make_config(**injected):
    """What the training notebook's cells make of its parameters, and of those that papermill puts below them."""
    cells = [cell.source for cell in code_cells(TRAIN)]
    (config_cell,) = [source for source in cells if re.search(r"^config = ", source, flags=re.MULTILINE)]
    (statement,) = [node for node in ast.parse(config_cell).body if ast.unparse(node).startswith("config = ")]
    below = "# Parameters\n" + "".join(f"{name} = {value!r}\n" for name, value in injected.items())
    namespace = {"RunConfig": RunConfig, "In": [parameters_cell(TRAIN).source, below]}
    for source in (*namespace["In"], ast.unparse(statement)):
        exec(source, namespace)
    return namespace["config"]


def test_the_training_notebook_s_config_is_that_of_its_parameters():
    assert make_config().run_id == RunConfig().run_id
    assert make_config(bits=32, loss="csq").run_id == RunConfig(bits=32, loss="csq").run_id


@pytest.mark.parametrize(("name", "value"), [("bitz", 32), ("bits", "32"), ("dataset", "cifar")])
def test_what_papermill_only_warns_of_is_refused_in_a_line(name, value):
    takes_options = "options" in default_parameters(TRAIN)
    is_rare = name not in default_parameters(TRAIN)
    injected = {"options": {name: value}} if takes_options and is_rare else {name: value}
    with pytest.raises((ValueError, TypeError)) as error:
        make_config(**injected)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_without_runs_an_analysis_says_which_command_makes_them(tmp_path, monkeypatch):
    """Every analysis selects its runs with this function."""
    assert all("select_runs(" in "".join(cell.source for cell in code_cells(path)) for path in ANALYSES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        select_runs("results", dataset="cifar10", bits=[16, 32], seeds=0)
    assert "relahash sweep --dataset cifar10 --bits 16 32 --seed 0" in str(error.value)
    assert not list(tmp_path.iterdir())


# Executed


def test_the_toy_holds_what_it_says_with_other_numbers_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "notebooks" / "00_relative_position.ipynb"
    other = dict(classes=6, bits=32, batch_size=12, beta=20.0, margin=0.4, steps=300, seed=1)
    papermill.execute_notebook(str(path), "out.ipynb", other, progress_bar=False)
    assert len(figures("out.ipynb")) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb")), ids=lambda path: path.name)
def test_the_solutions_of_a_notebook_hold(path):
    assert (ROOT / "notebooks" / path.name).exists()
    names = {}
    for cell in code_cells(path):
        assert not cell.outputs
        exec(compile(cell.source, path.name, "exec"), names)


def test_the_training_notebook_shows_its_figures_and_a_score_between_its_bounds(trained):
    (folder,) = (trained.results / "runs").iterdir()
    assert len(figures(folder / "01_train.ipynb")) == 6
    scores = json.loads((folder / "run.json").read_text())["scores"]
    assert 0.1 < scores["mean_average_precision"] <= 1
    assert scores["worst"] <= scores["mean_average_precision"] <= scores["best"]
    assert f"{scores['mean_average_precision']:.4f}" in printed(folder / "01_train.ipynb")


@pytest.mark.parametrize("path", ANALYSES, ids=lambda path: path.name)
def test_an_analysis_draws_finished_runs_and_keeps_its_figures(path, tiny_results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    (results / "runs").mkdir(parents=True)
    for run in (tiny_results / "runs").iterdir():
        (results / "runs" / run.name).symlink_to(run)
    papermill.execute_notebook(str(path), "out.ipynb", {"losses": ["relahash", "math:sqrt"]}, progress_bar=False)
    for cell in code_cells("out.ipynb"):  # each figure stands below its own cell
        if "save_figure(" in cell.source:
            assert sum("image/png" in output.get("data", {}) for output in cell.outputs) == 1, cell.source
    assert len(figures("out.ipynb")) >= 5
    drawn = {suffix: {path.stem for path in (results / "figures").glob(f"*{suffix}")} for suffix in (".png", ".svg")}
    assert len(drawn[".png"]) >= 5 and drawn[".png"] == drawn[".svg"]
    run_ids = set(load_runs(results)["run_id"])
    for file in (results / "figures").glob("*.png"):
        assert set(Image.open(file).text["Source"].split()) <= run_ids


def test_the_comparison_shows_one_method_too(tiny_results, tmp_path, monkeypatch):
    """As `make study` leaves them."""
    monkeypatch.chdir(tmp_path)
    for run in (tiny_results / "runs").glob("*-relahash-*"):
        place = tmp_path / "results" / "runs" / run.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(run)
    path = ROOT / "notebooks" / notebooks.COMPARISON
    papermill.execute_notebook(str(path), "out.ipynb", {"results_dir": "results"}, progress_bar=False)
    assert "compares 3 runs" in printed("out.ipynb") and len(figures("out.ipynb")) == 3


def test_the_comparison_says_what_it_reads_and_never_ranks_one_seed(tiny_results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "notebooks" / notebooks.COMPARISON
    papermill.execute_notebook(str(path), "out.ipynb", {"results_dir": str(tiny_results)}, progress_bar=False)
    assert "compares 4 runs" in printed("out.ipynb")
    assert len(figures("out.ipynb")) == 3 and "(1)" not in Path("out.ipynb").read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.slow
def test_06_stands_on_the_published_tables_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(str(REALITY), "out.ipynb", progress_bar=False)
    assert len(figures("out.ipynb")) == 5 and "makes its runs" not in printed("out.ipynb")
    assert "RelaHash is higher in 17 of 20 cells" in printed("out.ipynb")
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.slow
def test_06_shows_new_rows_keeps_its_figures_and_says_what_is_not_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published = ROOT / "docs" / "results"
    for name in ("phase", "quantizer", "differences", "epochs", "thresholds", "grid"):
        shutil.copy(published / f"{name}.csv", tmp_path)
    summary = read_table(published / "summary.csv")
    earlier = summary[(summary["data"] == "lists miniimagenet100_10k") & (summary["tuning"] == "24 trials")]
    rows = [summary]
    for target, score in (("new images", 0.4321), ("protocol", 0.2)):
        run_ids = earlier["run_id"] + target
        rows.append(earlier.assign(tuning=f"24 trials, {target}", run_id=run_ids, new_images=score))
    pd.concat(rows).to_csv("summary.csv", index=False)
    parameters = {"tables_dir": str(tmp_path), "results_dir": str(tmp_path)}
    papermill.execute_notebook(str(REALITY), "out.ipynb", parameters, progress_bar=False)
    text = printed("out.ipynb")
    assert "dividend.csv is not among the published tables" in text
    tables = Path("out.ipynb").read_text(encoding="utf-8")
    assert "0.4321 ± 0.0000 (1)" in tables
    assert len(figures("out.ipynb")) == 4
    assert sorted(path.name for path in Path("figures").glob("*.png")) == ["centroids.png", "change.png"]


def test_a_kernel_that_would_start_after_all_were_stopped_does_not():
    kernels = notebooks.Kernels()
    manager = kernels.manager_class()(kernel_name="python3")
    kernels.stop()
    with pytest.raises(RuntimeError):
        asyncio.run(manager.start_kernel())

"""What README and docs show is true: their Python runs, links lead to files, numbers are those of docs/results/."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import papermill
import pytest
import torch
from PIL import Image

from relahash_nb.config import RunConfig
from relahash_nb.results import read_table

ROOT = Path(__file__).parent.parent
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
TEXT = PAGES["README.md"]
ALL = "\n".join(PAGES.values())


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL)


OTHER_OPTIONS = {  # of the study's scripts, which are not ours or not relahash's
    "shuf --random-source": "shuf",
    "cp -l --parents": "cp",
    "study.dividend --network": "study.dividend",
}
OWN = "docs/extend.md"  # whose blocks are one module
TOGETHER = "docs/python.md"  # whose blocks follow one another
OTHER_TOOLS = "docs/other-tools.md"  # whose blocks need outside tools; test_other_tools and test_rankings run them
BLOCKS = [
    pytest.param(page, block, id=page, marks=[pytest.mark.slow] if "execute_notebook" in block else [])
    for page in PAGES
    if page not in (OWN, TOGETHER, OTHER_TOOLS)
    for block in python_blocks(page)
    if "onnxruntime" not in block  # test_search_model runs it without this package
]


@pytest.fixture
def finished_run(tmp_path, monkeypatch):
    """A finished run of an untrained small model in `results/runs/RUN_ID`; the working directory is above it."""
    from relahash_nb.models import build_model

    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.chdir(tmp_path)
    config = RunConfig(bits=16)
    folder = tmp_path / "results" / "runs" / "RUN_ID"
    folder.mkdir(parents=True)
    build_model(config).save(folder / "model.safetensors", config)


@pytest.fixture
def complete_run(tiny_results, tmp_path):
    """The other files of the run in `results/runs/RUN_ID`."""
    source = sorted((tiny_results / "runs").glob("*-16bits-relahash-seed0-*"))[0]
    folder = tmp_path / "results" / "runs" / "RUN_ID"
    for name in ("config.json", "history.csv", "codes.npz"):
        shutil.copy(source / name, folder)
    report = json.loads((source / "run.json").read_text(encoding="utf-8")) | {"run_id": "RUN_ID"}
    (folder / "run.json").write_text(json.dumps(report), encoding="utf-8")


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_their_python_runs(page, block, finished_run):
    names = {"image": torch.zeros(3, 40, 30, dtype=torch.uint8)}
    exec(compile(block, page, "exec"), names)
    if "HashModel.load" in block:
        assert names["codes"].shape == (1, 16)


def test_the_pages_notebooks_are_given_parameters_that_they_have(finished_run, monkeypatch):
    """The block is executed without its kernels, which are slow."""
    (block,) = [block for block in python_blocks("docs/sweeps.md") if "execute_notebook" in block]
    given = []

    def execute_notebook(source, target, parameters, **options):
        given.append(parameters.keys() <= papermill.inspect_notebook(source).keys() and RunConfig(**parameters))

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    exec(compile(block, "docs/sweeps.md", "exec"), {})
    assert len(given) >= 2 and all(given)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The working directory has the blocks of the page as `mine.py`; test_own runs those of callbacks."""
    page = PAGES[OWN].partition("\n## A callback\n")[0]
    (tmp_path / "mine.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("mine:PullLoss", {"strength": 2.0}),
        ("mine:Contrastive", None),
        ("mine:MetricLearning", None),
        ("mine:MetricLearning", {"name": "ProxyAnchorLoss", "num_classes": 3, "embedding_size": 16}),
    ],
)
def test_your_own_loss_data_set_backbone_and_centroids_train_an_epoch(loss, options, mine):
    from relahash_nb.datasets import load_dataset
    from relahash_nb.features import class_centroids
    from relahash_nb.losses import build_loss
    from relahash_nb.models import HashModel, build_model
    from relahash_nb.training import Trainer

    config = RunConfig(
        dataset="mine:stripes", loss=loss, loss_options=options, backbone="mine:tiny", weights="none", recipe="quick",
        centroids="mine:likeness", sampler="classes", bits=16, epochs=1,
    )  # fmt: skip
    data, model = load_dataset(config), build_model(config)
    trainer = Trainer(model, build_loss(config, class_centroids(model, data, config)), data, config)
    assert trainer.train_epoch()["loss"] > 0 and trainer.epoch == 1
    model.save(Path("model.safetensors"), config)
    assert HashModel.load("model.safetensors", backbone=sys.modules["mine"].tiny).facts["backbone"] == "mine:tiny"


@pytest.mark.parametrize(
    "name", ["ContrastiveLoss", "TripletMarginLoss", "NTXentLoss", "MultiSimilarityLoss", "CircleLoss", "FastAPLoss"]
)
def test_any_loss_of_pytorch_metric_learning_is_taken(name, mine):
    from relahash_nb.losses import build_loss

    config = RunConfig(loss="mine:MetricLearning", loss_options={"name": name}, bits=16)
    loss = build_loss(config, torch.ones(3, 16))
    codes = torch.randn(12, 16, requires_grad=True)
    loss(codes, torch.eye(3, dtype=torch.uint8)[torch.arange(12) % 3]).backward()
    assert codes.grad.abs().sum() > 0


def test_the_page_on_python_runs_from_its_first_line_to_its_last(finished_run, complete_run, capsys):
    names = {}
    exec(compile("\n".join(python_blocks(TOGETHER)), TOGETHER, "exec"), names)
    assert names["nearest"].shape == (10,) and names["codes"].shape == (200, 16) and 0 < names["r_precision"] <= 1
    assert names["losses"] == [names["record"]["loss"]]


def test_their_links_lead_to_files():
    for page, text in PAGES.items():
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()], page
    assert all(page in TEXT for page in PAGES if page != "README.md")


def test_the_readme_is_one_page():
    words = [word for word in TEXT.split() if any(letter.isalnum() for letter in word)]  # not the rules of tables
    assert len(words) <= 900 and "no-run" not in ALL


def test_their_numbers_are_those_of_the_results():
    summary = read_table(ROOT / "docs" / "results" / "summary.csv")
    study = summary[(summary["data"] == "fashion_mini") & summary["centroid_seed"].notna()]
    assert set(study["bits"]) == {16, 32, 64, 128}
    page = PAGES["docs/results.md"]
    for (loss, bits), rows in study.groupby(["loss", "bits"]):
        text = f"{rows['mean_average_precision'].mean():.4f} ± {rows['mean_average_precision'].std():.4f}"
        line = next(line for line in page.splitlines() if line.startswith(f"| {loss} |"))
        assert f"| {text} |" in line
        if loss == "relahash":
            bounds = f"{rows['worst'].mean():.4f} … {rows['best'].mean():.4f}"
            assert f"| {loss} | {bits} | {len(rows)} | {text} | {bounds} |" in page
    assert study[(study["bits"] == 64) & (study["loss"] == "relahash")]["mean_average_precision"].mean() >= 0.80


def test_their_figures_are_of_the_runs_in_the_summary():
    tables = [read_table(ROOT / "docs" / "results" / name) for name in ("summary.csv", "grid.csv")]
    runs = {run for table in tables for run in table["run_id"]} | {"dividend.csv"}  # which has no ids
    figures = re.findall(r"\]\((?:docs/)?(results/figures/[^)]+)\)", ALL)
    assert len(set(figures)) == 9
    for path in (ROOT / "docs" / figure for figure in figures):
        sources = Image.open(path).text["Source"].split()
        assert sources and set(sources) <= runs
        assert path.with_suffix(".svg").exists()


def test_the_gallery_is_small_and_needs_nothing_else():
    pages = sorted((ROOT / "docs" / "gallery").glob("*.html"))
    assert [page.name[:2] for page in pages] == ["00", "01", "02", "03", "04", "05", "06"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert len(text.encode()) < 1.5e6 and "Traceback (most" not in text and "Warning: " not in text
        assert not re.search(r"src=.http|https://cdn|unpkg", text)
        assert "<script" not in text or page.name.startswith("04")
        notebook = page.with_suffix(".ipynb")  # which a code host renders
        shown = notebook if notebook.exists() else page
        assert f"docs/gallery/{shown.name}" in TEXT


def test_their_commands_and_options_exist():
    from relahash_nb.cli import (
        COMMANDS,
        CheckOptions,
        FiguresOptions,
        ReportOptions,
        SweepOptions,
        TuneOptions,
    )
    from relahash_nb.command_line import ALIASES
    from relahash_search.options import SearchOptions

    commands = re.findall(r"(?:^    |`)relahash ([a-z]+)(.*)", ALL, flags=re.MULTILINE)
    assert {name for name, _ in commands} <= set(COMMANDS) and len(commands) > 10
    kinds = (RunConfig, SweepOptions, TuneOptions, CheckOptions, ReportOptions, FiguresOptions, SearchOptions)
    existing = {name for kind in kinds for name in kind.model_fields} | {"help"}
    used = {name for _, rest in commands for name in re.findall(r"--([a-z][a-z-]+)", re.split("[`#]", rest)[0])}
    study = "".join(path.read_text() for path in (ROOT / "study").glob("*.sh"))
    for tool, plain in OTHER_OPTIONS.items():
        study = study.replace(tool, plain)
    used |= set(re.findall(r" --([a-z][a-z-]+)", study))
    assert {name.replace("-", "_") for name in used if f"--{name}" not in ALIASES.values()} <= existing
    targets = set(re.findall(r"(?:^    |`)make ([a-z]+)", ALL, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_the_citation_is_one():
    citation = (ROOT / "CITATION.cff").read_text()
    for part in ("RelaHash: Deep Hashing With Relative Position", "10.1109/ACCESS.2023.3259104", "30094", "30108"):
        assert part in citation and part in TEXT
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version.count(".") == 2

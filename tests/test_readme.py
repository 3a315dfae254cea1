"""What the README shows is true: its Python runs, its files exist, its numbers are those of results/."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_python_runs(block, tmp_path, monkeypatch):
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_its_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert len(links) >= 4
    assert not [link for link in links if not (ROOT / link).exists()]


def test_its_numbers_are_those_of_the_results():
    summary = pd.read_csv(ROOT / "docs" / "results" / "summary.csv")
    study = summary[(summary["data"] == "fashion_mini") & (summary["loss"] == "relahash")]
    assert set(study["bits"]) == {16, 32, 64, 128}
    for _, rows in study.groupby("bits"):
        mean, deviation = rows["mean_average_precision"].mean(), rows["mean_average_precision"].std()
        row = next(line for line in TEXT.splitlines() if line.startswith("| fashion_mini |"))
        assert f"| {len(rows)} |" in row and f"| {mean:.4f} ± {deviation:.4f} |" in row
    assert study[study["bits"] == 64]["mean_average_precision"].mean() >= 0.80


def test_its_figures_are_of_the_runs_in_the_summary():
    runs = set(pd.read_csv(ROOT / "docs" / "results" / "summary.csv")["run_id"])
    figures = re.findall(r"\]\((docs/results/figures/[^)]+)\)", TEXT)
    assert len(figures) >= 3
    for path in figures:
        sources = Image.open(ROOT / path).text["Source"].split()
        assert sources and set(sources) <= runs
        assert (ROOT / path).with_suffix(".svg").exists()


def test_the_gallery_is_small_and_needs_nothing_else():
    pages = sorted((ROOT / "docs" / "gallery").glob("*.html"))
    assert [page.name[:2] for page in pages] == ["00", "01", "02", "03", "04", "05"]
    for page in pages:
        text = page.read_text()
        assert len(text.encode()) < 1.5e6 and "Traceback (most" not in text
        assert f"docs/gallery/{page.name}" in TEXT
        assert not re.search(r"src=.http|https://cdn|unpkg", text)
        assert "<script" not in text or page.name.startswith("04")


def test_its_commands_and_options_exist():
    from relahash_nb.cli import COMMANDS, CheckOptions, FiguresOptions, ReportOptions, SweepOptions
    from relahash_nb.config import RunConfig

    for command in re.findall(r"relahash (train|sweep|report|look|\w+) --", TEXT):
        assert command in COMMANDS
    dask_s = {"nthreads", "resources"}
    own = {name for kind in (SweepOptions, CheckOptions, ReportOptions, FiguresOptions) for name in kind.model_fields}
    options = set(re.findall(r"--([a-z][a-z-]+)", TEXT)) - {"help", *dask_s, *own}
    assert {option.replace("-", "_") for option in options} <= set(RunConfig.model_fields)
    targets = set(re.findall(r"make (\w+)`", TEXT)) | set(re.findall(r"^    make (\w+)", TEXT, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_the_citation_is_one():
    citation = (ROOT / "CITATION.cff").read_text()
    for part in ("RelaHash: Deep Hashing With Relative Position", "10.1109/ACCESS.2023.3259104", "30094", "30108"):
        assert part in citation and part in TEXT
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version.count(".") == 2

"""What the README shows is true: its Python runs, its files exist, its numbers are those of results/."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

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
    summary = pd.read_csv(ROOT / "results" / "summary.csv")
    study = summary[summary["data"] == "fashion_mini"]
    assert set(study["bits"]) == {16, 32, 64, 128}
    for bits, rows in study.groupby("bits"):
        mean, deviation = rows["mean_average_precision"].mean(), rows["mean_average_precision"].std()
        assert f"| {bits} | {len(rows)} | **{mean:.4f}** ± {deviation:.4f} |" in TEXT
    assert study[study["bits"] == 64]["mean_average_precision"].mean() >= 0.80


def test_its_commands_and_options_exist():
    from relahash_nb.cli import CHECK_OPTIONS, COMMANDS, SWEEP_OPTIONS
    from relahash_nb.config import RunConfig

    for command in re.findall(r"relahash (train|sweep|report|\w+) --", TEXT):
        assert command in COMMANDS
    dask_s = {"nthreads", "resources"}
    own = {name for name, *_ in (*SWEEP_OPTIONS, *CHECK_OPTIONS)}
    options = set(re.findall(r"--([a-z][a-z-]+)", TEXT)) - {"help", *dask_s, *own}
    assert {option.replace("-", "_") for option in options} <= set(RunConfig.__dataclass_fields__)
    targets = set(re.findall(r"make (\w+)`", TEXT)) | set(re.findall(r"^    make (\w+)", TEXT, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_the_citation_is_one():
    citation = (ROOT / "CITATION.cff").read_text()
    for part in ("RelaHash: Deep Hashing With Relative Position", "10.1109/ACCESS.2023.3259104", "30094", "30108"):
        assert part in citation and part in TEXT
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version.count(".") == 2

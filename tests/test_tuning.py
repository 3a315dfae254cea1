"""The search for options: what it sees, that it repeats itself, goes on after a kill, and what a sweep makes of it."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import papermill
import pytest
import torch

from relahash_nb import tuning
from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Split, load_dataset
from relahash_nb.losses import build_loss, find_loss
from relahash_nb.metrics import retrieval_scores
from relahash_nb.registry import LOSSES
from relahash_nb.results import Finished, finished_runs, save_run

pytest.importorskip("optuna", reason="the search is Optuna's; pip install 'relahash-nb[tuning]'")
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "06_reality_check.ipynb"
SHORT = {"epochs": [1, 2], "batch_size": [64, 128]}
FIXED = dict(bits=16, finetune=False, checkpoint_minutes=0.0)


def make_data():
    """The embedded set with a fifth of its training images."""
    data = load_dataset(RunConfig())
    return replace(data, train=Split(data.pool, data.train.indices[::5].contiguous()))


@pytest.fixture(scope="module")
def data():
    return make_data()


def make_features(data):
    generator = torch.Generator().manual_seed(0)
    classes = data.pool.targets.float() @ torch.randn(10, 64, generator=generator)
    return classes + torch.randn(len(classes), 64, generator=generator)


@pytest.fixture(scope="module")
def features(data):
    return make_features(data)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    for name, values in SHORT.items():
        monkeypatch.setitem(tuning.COMMON, name, values)


def search(folder, data, features, loss="csq", trials=3):
    config = RunConfig(loss=loss, results_dir=str(folder), **FIXED)
    return json.loads(tuning.tune(config, data, features, trials).read_text())


def outcomes(found):
    return [(trial["values"], trial["score"]) for trial in found["trials"]]


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_searched_over_its_own_options_and_begins_at_its_defaults(name):
    loss = build_loss(RunConfig(loss=name), torch.ones(10, 64))
    for option, (low, high, scale) in find_loss(name).SEARCH.items():
        assert low <= getattr(loss, option) <= high and scale in ("log", "linear")
    values = {option: low for option, (low, *_) in find_loss(name).SEARCH.items()}
    build_loss(tuning.with_values(RunConfig(loss=name), values | {"batch_norm": True}), torch.ones(10, 64))


def test_neither_a_query_nor_an_untrained_database_image_is_seen(data):
    within, train = tuning.hold_out(data, seed=0), set(data.train.indices.tolist())
    learned, held = (set(split.indices.tolist()) for split in (within.train, within.query))
    assert learned | held == train and not learned & held and len(held) == len(train) // 5
    assert within.database is within.query and not len(within.validation)


def test_the_best_of_the_trials_is_kept_and_the_same_seed_finds_it_again(tmp_path, data, features):
    first, second = (search(tmp_path / name, data, features) for name in ("first", "second"))
    assert outcomes(first) == outcomes(second) and len(first["trials"]) == 3
    best = max(first["trials"], key=lambda trial: trial["score"])
    assert first["best"] == best["values"] and first["budget"]["trials"] == 3
    assert first["trials"][0]["values"] | {"quantization": 0.05, "batch_norm": False} == first["trials"][0]["values"]
    assert search(tmp_path / "first", data, features) == first  # nothing was left to do


def start(code):
    """Another process, with the same data; a fork of this one would wait for threads that it does not have."""
    prepare = "import test_tuning as t; data = t.make_data(); "
    prepare += "features = t.make_features(data); t.tuning.COMMON |= t.SHORT\n"
    paths = [str(Path(__file__).parent), str(Path(tuning.__file__).parent.parent)]
    return subprocess.Popen([sys.executable, "-c", prepare + code], env=os.environ | {"PYTHONPATH": ":".join(paths)})


class Killed(BaseException):
    """No code of ours or of Optuna's catches it: the trial is left as a killed process leaves it."""


def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, data, features, monkeypatch):
    score_values, calls = tuning.score_values, []

    def killed_at_the_second(*given):
        calls.append(given)
        if len(calls) == 2:
            raise Killed
        return score_values(*given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tuning, "score_values", killed_at_the_second)
        search(tmp_path / "cut", data, features)
    assert not list((tmp_path / "cut" / "tuned").glob("*.json"))
    assert outcomes(search(tmp_path / "cut", data, features)) == outcomes(search(tmp_path / "whole", data, features))


@pytest.mark.slow
def test_two_processes_share_one_search(tmp_path, data, features):
    processes = [start(f"t.search({str(tmp_path)!r}, data, features, 'dpn', 6)") for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    found = search(tmp_path, data, features, "dpn", 6)
    assert len(found["trials"]) == 6 and found["best"] in [trial["values"] for trial in found["trials"]]


def test_a_training_that_diverges_is_a_trial_with_score_0(data, features):
    config = RunConfig(loss="greedyhash", lr=1e30, epochs=1, **FIXED)
    assert tuning.score_values(config, tuning.hold_out(data, 0), features) == 0.0


def test_a_tuned_run_says_so_and_of_which_budget(tmp_path, data, features):
    found = search(tmp_path, data, features)
    config = RunConfig(loss="csq", seed=3, centroid_seed=None, **FIXED)
    chosen = tuning.tuned(config, tmp_path / "tuned")
    assert (chosen.tuning, chosen.seed, chosen.lr) == ("3 trials", 3, found["best"]["lr"])
    assert chosen.loss_options == {name: found["best"][name] for name in ("quantization", "batch_norm")}
    with pytest.raises(ValueError, match=r"^tuned: .*relahash tune --bits 32 --loss csq"):
        tuning.tuned(config.replace(bits=32), tmp_path / "tuned")


@pytest.mark.slow
def test_the_notebook_shows_both_tables_the_differences_and_the_phase_diagram(tmp_path, data, features, monkeypatch):
    """Executed over made-up codes: defaults and tuned, two seeds each, and a grid of scale and margin."""
    monkeypatch.setattr("relahash_nb.results.saving.SHOWN_QUERIES", 2)
    rows = np.random.default_rng(0)
    small = replace(data, query=Split(data.pool, data.query.indices[:50]), database=Split(data.pool, torch.arange(200)))
    searched = {loss: search(tmp_path, small, features, loss) for loss in ("relahash", "csq")}

    def save(**options):
        config = RunConfig(**FIXED | options)
        codes = {name: rows.standard_normal((len(getattr(small, name)), 16)) for name in ("query", "database")}
        scores = retrieval_scores(codes["query"], codes["database"], small.query.targets, small.database.targets)
        history, model = [{"epoch": 1, "loss": 1.0, "seconds": 1.0}], type("M", (), {"save": lambda *_: None})()
        save_run(config, small, model, Finished(codes, scores, history, np.ones((10, 16)), seconds={}))

    for loss, seed in itertools.product(searched, (0, 1)):
        config = RunConfig(loss=loss, seed=seed, centroid_seed=None, results_dir=str(tmp_path), **FIXED)
        save(**config.to_dict())
        save(**tuning.tuned(config, tmp_path / "tuned").to_dict())
    for scale, margin in itertools.product((1.0, 4.0), (0.8, 4.0)):
        save(results_dir=str(tmp_path / "phase"), loss="orthohash", beta=scale, margin=margin)
        save(results_dir=str(tmp_path / "phase"), loss="relahash", beta=8 * scale, margin=margin / 8)
    invariant = dict(loss="relahash", loss_options={"reference_batch_size": 64}, beta=8.0, margin=0.5)
    for size in (16, 64):
        save(results_dir=str(tmp_path / "phase"), batch_size=size, **invariant)
    given = dict(results_dir=str(tmp_path), phase_dir=str(tmp_path / "phase"), bits=16, tuning="3 trials")
    done = papermill.execute_notebook(str(NOTEBOOK), str(tmp_path / "out.ipynb"), given, progress_bar=False)
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "\n".join(str(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)
    assert text.count("4 runs, seeds [0, 1]") == 2
    assert "relahash (" not in text and "2 searches, 0.0 hours" in text
    assert "{'published': 0.0, 'reference batch size 64': " in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6


def test_a_sweep_takes_what_was_tuned(tmp_path, data, features, capsys):
    found = search(tmp_path, data, features)
    words = ["--loss", "csq", "--bits", "16", "--finetune", "False", "--checkpoint-minutes", "0", "--direct"]
    words += ["--results-dir", str(tmp_path), "--data-dir", str(tmp_path), "--tuned", str(tmp_path / "tuned")]
    assert main(["sweep", *words]) == 0
    (run,) = finished_runs(tmp_path).values()
    assert (run.config.tuning, run.config.lr) == ("3 trials", found["best"]["lr"])


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--loss", "itq"], "loss: itq"), (["--lr", "0.1", "0.2"], "several values"), (["--trials", "0"], "trials: 0")],
)
def test_what_cannot_be_searched_is_refused_in_a_line(words, value, capsys):
    assert main(["tune", *words]) == 2
    said = capsys.readouterr().err
    assert value in said and said.count("\n") == 1

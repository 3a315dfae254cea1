"""The search for options: what it sees, that it repeats itself, goes on after a kill, and what a sweep makes of it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import torch

from relahash_nb.centroids import make_centroids
from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split, load_dataset
from relahash_nb.losses import build_loss, find_loss
from relahash_nb.registry import LOSSES
from relahash_nb.results import finished_runs
from relahash_nb.tuning import TARGETS, Journal, hold_out
from relahash_nb.tuning import search as tuning

pytest.importorskip("optuna", reason="the search is Optuna's; pip install 'relahash-nb[tuning]'")
ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "docs" / "results" / "tuned"
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
    config = RunConfig(loss=name)
    space = tuning.make_distributions(name)
    searched = tuning.default_values(config, space)
    assert {*searched, "epochs"} == set(space)  # all defaults can be drawn, but for the epochs of these tests
    values = tuning.as_options(name, searched)
    assert values["batch_norm"] == find_loss(name).batch_norm
    loss = build_loss(config, torch.ones(10, 64))
    for option in find_loss(name).SEARCH:
        assert values[option] == pytest.approx(getattr(loss, option))
    build_loss(tuning.with_values(config, values), torch.ones(10, 64))


def test_relahash_and_orthohash_search_one_box_of_scale_and_margin():
    """Where all rows are equally long and the mean is 0, the two losses are one at the same drawn values."""
    assert tuning.search_space("relahash") == tuning.search_space("orthohash")
    centroids = make_centroids(10, 16, "bernoulli")
    codes = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    codes = torch.nn.functional.normalize(torch.cat([codes, -codes]))  # (64, 16)
    targets = torch.eye(10)[torch.arange(64) % 10]
    drawn = {"batch_size": 64, "beta": 3.0, "margin": 5.0}
    scores = []
    for name in ("relahash", "orthohash"):
        values = tuning.as_options(name, drawn)
        scores.append(find_loss(name)(centroids, values["beta"], values["margin"])(codes, targets))
    assert torch.isclose(*scores)


@pytest.mark.parametrize("target", TARGETS)
def test_neither_a_query_nor_an_untrained_database_image_is_seen(data, target):
    within, train = hold_out(data, 0, target), set(data.train.indices.tolist())
    learned, held, searched = (set(split.indices.tolist()) for split in (within.train, within.query, within.database))
    assert learned | held == train and not learned & held
    assert len(held) == len(train) // 5 or target == "unseen"
    assert held <= searched <= train and not len(within.validation)
    assert (searched == held) == (target != "protocol")


@pytest.mark.parametrize(("trained", "others", "expected"), [(2, 8, 0.2), (6, 4, 0.6), (0, 10, 0.0)])
def test_the_protocols_database_has_its_share_of_training_images(trained, others, expected):
    """Of 100 training images 20 are held out; so 5, 30 and 0 of the other 80 are beside them."""
    images = np.zeros((200, 2, 2), dtype=np.uint8)
    database = [*range(trained), *range(100, 100 + others)]
    data = Dataset.from_arrays(images, np.arange(200) % 4, train=range(100), query=[199], database=database)
    within = hold_out(data, 0, "protocol")
    is_learned = torch.isin(within.database.indices, within.train.indices)
    assert is_learned.double().mean().item() == pytest.approx(expected)
    assert len(within.database) - is_learned.sum() == len(within.query) == 20


def test_the_protocols_database_has_no_more_training_images_than_there_are(data):
    within = hold_out(replace(data, database=data.train), 0, "protocol")
    assert set(within.database.indices.tolist()) == set(data.train.indices.tolist())


def test_unseen_classes_are_whole_classes_that_are_not_learned_from(data):
    within = hold_out(data, 0, "unseen")
    learned, held = within.train.targets.any(0), within.query.targets.any(0)
    assert held.sum() == 2 and not (learned & held).any() and (learned | held).all()
    assert not torch.equal(held, hold_out(data, 1, "unseen").query.targets.any(0))
    three = Dataset.from_arrays(np.zeros((9, 2, 2), dtype=np.uint8), np.arange(9) % 3, train=range(9), query=[0])
    with pytest.raises(ValueError, match=r"^target: unseen .*too few classes"):
        hold_out(three, 0, "unseen")


def test_the_best_of_the_trials_is_kept_and_the_same_seed_finds_it_again(tmp_path, data, features):
    first, second = (search(tmp_path / name, data, features) for name in ("first", "second"))
    assert outcomes(first) == outcomes(second) and len(first["trials"]) == 3
    best = max(first["trials"], key=lambda trial: trial["score"])
    assert first["best"] == best["values"] and first["budget"]["trials"] == 3
    assert first["trials"][0]["values"] | {"quantization": 0.05, "batch_norm": False} == first["trials"][0]["values"]
    assert search(tmp_path / "first", data, features) == first  # nothing was left to do


def test_another_seed_is_another_search_in_another_file(tmp_path, data, features):
    config = RunConfig(loss="csq", results_dir=str(tmp_path), **FIXED)
    paths = [tuning.tune(config.replace(seed=seed), data, features, 2) for seed in (0, 1)]
    first, second = (json.loads(path.read_text()) for path in paths)
    assert [path.parent.name for path in paths] == ["new_images", "new_images-seed1"]
    assert first["trials"][0]["values"] == second["trials"][0]["values"]  # the defaults
    assert first["trials"][1]["values"] != second["trials"][1]["values"]
    assert tuning.tuned(config, paths[1].parent).tuning == "2 trials, new images, search 1"


def start(code, **options):
    """Another process, with the same data; a fork of this one would wait for threads that it does not have."""
    prepare = "import test_tuning as t; data = t.make_data(); "
    prepare += "features = t.make_features(data); t.tuning.COMMON |= t.SHORT\n"
    paths = [str(Path(__file__).parent), str(Path(tuning.__file__).parent.parent.parent)]
    environment = os.environ | {"PYTHONPATH": ":".join(paths)}
    return subprocess.Popen([sys.executable, "-c", prepare + code], env=environment, **options)


class Killed(BaseException):
    """No code of ours or of Optuna's catches it: the trial is left as a killed process leaves it."""


@pytest.mark.parametrize("last", [1, 2])
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, data, features, monkeypatch, last):
    score_values, calls = tuning.score_values, []

    def killed_at_the_last(*given):
        calls.append(given)
        if len(calls) == last:
            raise Killed
        return score_values(*given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tuning, "score_values", killed_at_the_last)
        search(tmp_path / "cut", data, features)
    assert not list((tmp_path / "cut" / "tuned").rglob("*.json"))
    assert outcomes(search(tmp_path / "cut", data, features)) == outcomes(search(tmp_path / "whole", data, features))


@pytest.mark.slow
def test_a_search_that_is_killed_in_its_first_trial_begins_at_the_defaults_again(tmp_path, data, features):
    kill = "import os, signal; t.tuning.score_values = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
    process = start(f"{kill}t.search({str(tmp_path)!r}, data, features)")
    assert process.wait(120) == -signal.SIGKILL
    found = search(tmp_path, data, features, trials=1)
    defaults = {"quantization": 0.05, "batch_norm": False, "lr": 0.003, "batch_size": 64}
    assert found["trials"][0]["values"] | defaults == found["trials"][0]["values"]


def hold(path):
    """Another process that holds the lock of a file until its input ends."""
    code = f"from filelock import FileLock; lock = FileLock({str(path)!r}); lock.acquire(); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def test_a_process_takes_a_turn_that_no_other_is_at_and_in_the_end_waits_for_it(tmp_path, data, features, capsys):
    journal = Journal(tmp_path / "trials.jsonl")
    process = hold(tmp_path / ".trials.turn0.lock")
    with journal.take([0, 1, 2]) as turn:
        assert turn == 1
    Timer(0.5, process.communicate, ["\n"]).start()
    with journal.take([0]) as turn:
        assert turn == 0 and "waiting for them" in capsys.readouterr().out
    process.wait(60)


@pytest.mark.slow
def test_processes_that_start_together_draw_different_trials_of_one_search(tmp_path, data, features):
    processes = [start(f"t.search({str(tmp_path)!r}, data, features, 'dpn', 4)") for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    (path,) = tmp_path.rglob("*.jsonl")
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(trial["turn"] for trial in trials) == list(range(4))  # none was drawn twice
    assert len({json.dumps(trial["drawn"]) for trial in trials}) == 4
    found = search(tmp_path, data, features, "dpn", 4)
    assert len(found["trials"]) == 4 and found["best"] in [trial["values"] for trial in found["trials"]]


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_torn_last_line_is_dropped_and_said(tmp_path, data, features, cut, capsys):
    whole = search(tmp_path, data, features)
    (path,) = tmp_path.rglob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:cut])
    capsys.readouterr()
    assert outcomes(search(tmp_path, data, features)) == outcomes(whole)
    assert str(path) in capsys.readouterr().out.splitlines()[0]
    assert [json.loads(line)["turn"] for line in path.read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("line", [b"nonsense", b"", b'{"turn": 1}', b"\xff\x00"])
def test_a_damaged_journal_is_named_with_its_line(tmp_path, data, features, line):
    search(tmp_path, data, features)
    (path,) = tmp_path.rglob("*.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))
    with pytest.raises(ValueError, match=r"trials|jsonl: line 2 is damaged") as caught:
        search(tmp_path, data, features)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"best": {}}', '{"best": {"lr": -1}, "budget": {"trials": 3}}'])
def test_a_damaged_search_is_named(tmp_path, data, features, content):
    search(tmp_path, data, features)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(content)
    with pytest.raises(ValueError, match=r"new_images/fashion_mini-.*json: damaged"):
        tuning.tuned(RunConfig(loss="csq", **FIXED), path.parent)


def test_a_drive_without_locks_is_said_in_a_line(tmp_path, data, features, monkeypatch, capsys):
    def no_locks(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    assert len(search(tmp_path, data, features)["trials"]) == 3
    said = capsys.readouterr().out
    assert said.count("cannot be locked here") == 1 and str(tmp_path) in said


def test_a_training_that_diverges_is_a_trial_with_score_0(data, features):
    config = RunConfig(loss="greedyhash", lr=1e30, epochs=1, **FIXED)
    assert tuning.score_values(config, hold_out(data, 0), features) == 0.0


def test_a_tuned_run_says_so_and_of_which_budget(tmp_path, data, features):
    found = search(tmp_path, data, features)
    config = RunConfig(loss="csq", seed=3, centroid_seed=None, **FIXED)
    chosen = tuning.tuned(config, tmp_path / "tuned" / "new_images")
    assert (chosen.tuning, chosen.seed, chosen.lr) == ("3 trials, new images", 3, found["best"]["lr"])
    assert chosen.loss_options == {name: found["best"][name] for name in ("quantization", "batch_norm")}
    with pytest.raises(ValueError, match=r"^tuned: .*relahash tune --bits 32 --loss csq .* --target new_images"):
        tuning.tuned(config.replace(bits=32), tmp_path / "tuned" / "new_images")


def test_runs_that_are_tuned_for_different_targets_are_different_settings(tmp_path, data, features):
    config = RunConfig(loss="csq", results_dir=str(tmp_path), **FIXED)
    runs = []
    for target in ("new_images", "protocol"):
        path = tuning.tune(config, data, features, 1, target)  # the defaults alone, so that the options are the same
        assert json.loads(path.read_text())["target"] == target
        runs.append(tuning.tuned(config, path.parent))
    assert runs[0].tuning == "1 trials, new images" and runs[1].tuning == "1 trials, protocol"
    assert runs[0].replace(tuning=None) == runs[1].replace(tuning=None) and runs[0].run_id != runs[1].run_id


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.json")), ids=lambda path: path.stem)
def test_published_searches_can_be_read(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["method"]["loss"] == "cross_entropy_plain":  # as cross_entropy without batch norm was called
        return
    fixed = {name: value for name, value in content["config"].items() if name != "drop_self_matches"}
    root = {} if path.stem.startswith("fashion") else {"root": f"data/{path.stem.split('-')[1]}"}
    config = RunConfig(**{"bits": 64, "loss": "relahash"} | fixed | root)
    chosen = tuning.tuned(config, PUBLISHED)
    assert chosen.tuning == f"{content['budget']['trials']} trials" and chosen.lr == content["best"]["lr"]


def test_a_sweep_takes_what_was_tuned(tmp_path, data, features, capsys):
    found = search(tmp_path, data, features)
    words = ["--loss", "csq", "--bits", "16", "--finetune", "False", "--checkpoint-minutes", "0", "--direct"]
    words += [
        "--results-dir",
        str(tmp_path),
        "--data-dir",
        str(tmp_path),
        "--tuned",
        str(tmp_path / "tuned" / "new_images"),
    ]
    assert main(["sweep", *words]) == 0
    (run,) = finished_runs(tmp_path).values()
    assert (run.config.tuning, run.config.lr) == ("3 trials, new images", found["best"]["lr"])


def test_a_plan_counts_searches_and_the_runs_that_wait_for_them(tmp_path, data, features, capsys):
    def count(command, *words):
        given = [*words, "--file", str(ROOT / "study" / "rivals_mini.yml"), "--results-dir", str(tmp_path), "--plan"]
        assert main([command, "--loss", "csq", "dpn", "--bits", "16", *given]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert count("tune") == "0 done, 2 to do"  # the seeds of the file are those of the runs
    assert count("tune", "--seed", "0", "3") == "0 done, 4 to do"
    assert count("sweep", "--tuned", str(tmp_path / "tuned" / "new_images")) == "0 done, 10 to do"
    config = RunConfig(loss="csq", bits=16, results_dir=str(tmp_path))
    path = tuning.tuned_path(config, tuning.search_folder(config, "new_images"))
    path.parent.mkdir(parents=True)
    path.write_text('{"best": {"lr": 0.1}, "budget": {"trials": 24, "seed": 0}, "target": "new_images"}')
    assert count("tune") == "1 done, 1 to do" and count("tune", "--trials", "25") == "0 done, 2 to do"
    assert count("sweep", "--tuned", str(path.parent)) == "0 done, 10 to do"


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--loss", "itq"], "loss: itq"), (["--lr", "0.1", "0.2"], "several values"), (["--trials", "0"], "trials: 0")],
)
def test_what_cannot_be_searched_is_refused_in_a_line(words, value, capsys):
    assert main(["tune", *words]) == 2
    said = capsys.readouterr().err
    assert value in said and said.count("\n") == 1

"""Scores and callbacks of the user's own: kept, shown, refused before the work, and never the end of a training."""

import json
import re
import sys
from pathlib import Path

import pytest

from relahash_nb.config import RunConfig
from relahash_nb.files import run_folder
from relahash_nb.results import find_run
from tests.conftest import read_report

PAGE = (Path(__file__).parent.parent / "docs" / "extend.md").read_text(encoding="utf-8")
QUICK = ["--dataset", "own:toy", "--recipe", "quick", "--image-size", "8", "--batch-size", "8", "--direct"]
CONFIG = RunConfig(dataset="own:toy", recipe="quick", image_size=8, batch_size=8, epochs=2)
FUNCTIONS = """

def lengths(query_codes, database_codes, query_targets, database_targets):
    assert query_codes.dtype == database_codes.dtype == "float32"
    assert query_targets.dtype == database_targets.dtype == "uint8"
    assert query_codes.shape[1] == database_codes.shape[1] and query_targets.shape[1] == database_targets.shape[1]
    return {"queries": len(query_codes), "images": len(database_codes)}


def fails_later(query_codes, *others):
    if len(query_codes) == 12:  # those of `toy`, not those that are made up
        raise KeyError("later")
    return {"score": 1.0}


def raises(*arrays):
    raise KeyError("at once")


def gives_a_number(*arrays):
    return 0.5


def gives_a_text(*arrays):
    return {"score": "high"}


def takes_a_name_of_ours(*arrays):
    return {"bits": 5}


def keep(config):
    records = []

    def call(record):
        records.append(record)
        with open("records.txt", "w", encoding="utf-8") as file:
            file.write(repr(records))

    return call


def breaks(config):
    def call(record):
        raise ConnectionError("offline")

    return call


def is_no_function(config):
    return 5
"""


def blocks_of(section):
    """The Python blocks of a section of docs/extend.md."""
    text = PAGE.split(f"\n## {section}\n")[1].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def own(toy_module):
    toy_module(FUNCTIONS)


# Scores


def test_scores_of_one_s_own_are_kept_and_shown_and_a_run_without_them_is_made_again(own, relahash):
    assert relahash("sweep", *QUICK, "--epochs", 2)[0] == 0
    code, printed, error = relahash("sweep", *QUICK, "--epochs", 2, "--metrics", "own:lengths")
    assert code == 0 and "1 of 1 runs to do" in printed and "queries 12.0000" in printed, error
    assert read_report(CONFIG)["metrics"] == {"queries": 12.0, "images": 48.0}
    assert find_run(CONFIG.replace(metrics="own:lengths")) is not None and find_run(CONFIG) is not None
    assert "0 of 1 runs to do" in relahash("sweep", *QUICK, "--epochs", 2, "--metrics", "own:lengths")[1]
    for metric in ("images", "precision_at_100"):
        code, printed, _ = relahash("report", "--metric", metric)
        scores = read_report(CONFIG)
        value = (scores["metrics"] | scores["scores"])[metric]
        assert code == 0 and f"| {value:.4f} |" in printed
    code, _, error = relahash("report", "--metric", "imagse")
    assert code == 2 and error.count("\n") == 1 and "'imagse'" in error and "did you mean images" in error


def test_scores_that_fail_after_the_training_do_not_lose_it(own, relahash):
    code, _, error = relahash("sweep", *QUICK, "--epochs", 2, "--metrics", "own:fails_later")
    assert code == 0, error
    assert not read_report(CONFIG)["metrics"]
    assert "KeyError" in (run_folder(CONFIG) / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["raises", "gives_a_number", "gives_a_text", "takes_a_name_of_ours", "nothing"])
def test_a_function_that_cannot_be_used_is_refused_before_the_work(name, own, relahash):
    code, printed, error = relahash("sweep", *QUICK, "--metrics", f"own:{name}")
    assert code == 2 and not printed and error.count("\n") == 1 and f"own:{name}" in error
    assert not Path("results").exists()


def test_the_page_s_score_is_that_of_a_loop():
    import numpy as np

    (block,) = blocks_of("A score")
    names = {}
    exec(compile(block, "docs/extend.md", "exec"), names)
    generator = np.random.default_rng(0)
    query, database = np.sign(generator.standard_normal((8, 64))), np.sign(generator.standard_normal((40, 64)))
    query_targets, database_targets = generator.integers(0, 2, (8, 5)), generator.integers(0, 2, (40, 5))
    query_targets[0] = 0  # a query without a relevant item
    expected = []
    for code, labels in zip(query, query_targets, strict=True):
        order = sorted(range(40), key=lambda item: (int((code != database[item]).sum()), item))
        relevant = [bool((labels & database_targets[item]).any()) for item in order]
        count = sum(relevant)
        expected.append(sum(relevant[:count]) / count if count else 0.0)
    scores = names["r_precision"](query, database, query_targets, database_targets)
    assert scores["r_precision"] == pytest.approx(np.mean(expected))


# Callbacks


def test_a_callback_gets_the_record_of_each_epoch_and_names_no_run(own, relahash):
    assert relahash("sweep", *QUICK, "--epochs", 2, "--callback", "own:keep")[0] == 0
    records = eval(Path("records.txt").read_text(encoding="utf-8"))
    assert [record["epoch"] for record in records] == [1, 2] and records[1]["loss"] > 0
    assert CONFIG.replace(callback="own:keep").run_id == CONFIG.run_id


def test_a_callback_that_fails_loses_no_training(own, relahash):
    assert relahash("sweep", *QUICK, "--epochs", 2, "--callback", "own:breaks")[0] == 0
    log = (run_folder(CONFIG) / "log.txt").read_text(encoding="utf-8")
    assert log.count("ConnectionError: offline") == 2 and find_run(CONFIG) is not None


def test_a_callback_that_is_none_is_a_failed_run_of_one_line(own, relahash):
    code, _, error = relahash("sweep", *QUICK, "--callback", "own:is_no_function")
    assert code == 1 and "own:is_no_function" in error and "Traceback" not in error
    code, _, error = relahash("sweep", *QUICK, "--callback", "own:nothing")
    assert code == 2 and error.count("\n") == 1


def test_the_page_s_callback_writes_for_tensorboard(own, relahash):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    block, _ = blocks_of("A callback")
    Path("logger.py").write_text(block, encoding="utf-8")
    sys.modules.pop("logger", None)
    code, _, error = relahash("sweep", *QUICK, "--epochs", 2, "--callback", "logger:to_tensorboard")
    assert code == 0, error
    events = EventAccumulator(str(run_folder(CONFIG) / "tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("loss")]
    with (run_folder(CONFIG) / "history.csv").open(encoding="utf-8") as file:
        history = [line.split(",") for line in file.read().splitlines()]
    column = history[0].index("loss")
    assert losses == pytest.approx([float(row[column]) for row in history[1:]])


def test_the_page_s_callback_writes_for_weights_and_biases_without_a_network(own, relahash):
    pytest.importorskip("wandb")
    _, block = blocks_of("A callback")
    Path("logger.py").write_text(block, encoding="utf-8")
    sys.modules.pop("logger", None)
    code, _, error = relahash("sweep", *QUICK, "--epochs", 2, "--callback", "logger:to_wandb")
    assert code == 0, error
    (file,) = run_folder(CONFIG).rglob("*.wandb")
    assert file.stat().st_size > 0 and json.loads((run_folder(CONFIG) / "run.json").read_text(encoding="utf-8"))

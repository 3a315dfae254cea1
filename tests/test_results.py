"""A run is there as a whole or not at all, its files are enough to score it again, and tables of runs are typed."""

import io
import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Finding, Pool, Split
from relahash_nb.files import write
from relahash_nb.metrics import retrieval_scores, unpack
from relahash_nb.plots import set_style
from relahash_nb.results import (
    Finished,
    Report,
    describe_hardware,
    find_run,
    finished_runs,
    load_histories,
    load_run,
    load_runs,
    load_shown,
    lock_run,
    read_table,
    save_figure,
    save_run,
    saving,
    select_runs,
)
from relahash_nb.results import runs as runs_module
from relahash_nb.results.tables import NEWER_SCORES, SETTING, distinct, matching, report, summarize

PUBLISHED = Path(__file__).parent.parent / "docs" / "results"


class Model:
    def save(self, path, config):
        if config.save_weights != "none":
            write(path, lambda file: file.write_bytes(b"tensors"))


@pytest.fixture
def finished(tmp_path):
    """A run of made-up codes: 40 database items, 12 queries, 3 classes, 20 bits."""
    generator = np.random.default_rng(0)
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(52) % 3]
    images = torch.from_numpy(generator.integers(0, 256, (52, 3, 80, 80), dtype=np.uint8))
    pool = Pool(images, targets, np.array([f"image {number}" for number in range(52)]), 80)
    rows = dict(train=range(20), database=range(40), query=range(40, 52))
    data = Dataset.from_pool("toy", ("a", "b", "c"), pool, rows)
    data = replace(data, findings=(Finding("no item", "train: few"),))
    codes = {
        name: generator.standard_normal((len(getattr(data, name)), 20)).astype(np.float32)
        for name in ("query", "database")
    }
    config = RunConfig(bits=20, results_dir=str(tmp_path))
    scores = retrieval_scores(codes["query"], codes["database"], data.query.targets, data.database.targets)
    history = [{"epoch": 1, "loss": 2.0, "seconds": 0.5}, {"epoch": 2, "loss": 1.5, "seconds": 0.5}]

    def save(**options):
        result = Finished(codes, scores, history, np.where(np.eye(3, 20), 1, -1), {"encoding": 0.5})
        return save_run(config.replace(**options), data, Model(), result)

    return save, data, codes, scores


def test_what_is_saved_is_enough_to_score_again(finished):
    save, data, codes, scores = finished
    run = load_run(save())
    arrays = run.arrays
    again = retrieval_scores(
        unpack(arrays["query_codes"], 20),
        unpack(arrays["database_codes"], 20),
        np.unpackbits(arrays["query_targets"], axis=1, count=3),
        np.unpackbits(arrays["database_targets"], axis=1, count=3),
    )
    assert again.mean_average_precision == scores.mean_average_precision
    assert run.report.scores.mean_average_precision == scores.mean_average_precision
    assert arrays["query_ids"].tolist() == data.query.ids.tolist()
    assert np.abs(arrays["query_raw"] - codes["query"]).max() < 2e-3  # float16
    assert np.array_equal(np.sign(arrays["sample_raw"]), np.sign(codes["database"][arrays["sample_rows"]]))
    assert run.history.to_dict("list") == {"epoch": [1, 2], "loss": [2.0, 1.5], "seconds": [0.5, 0.5]}
    assert run.config.bits == 20 and run.config.beta is None


def test_new_images_are_scored_without_the_training_images_in_the_database(finished):
    save, data, codes, scores = finished
    run = load_run(save())
    labels = [split.targets for split in (data.query, data.database)]
    alone = retrieval_scores(codes["query"], codes["database"][20:], labels[0], labels[1][20:])  # 0 to 19 are trained
    found = run.report.scores
    assert found.new_images == alone.mean_average_precision != scores.mean_average_precision
    assert (found.new_images_worst, found.new_images_best) == (alone.worst, alone.best)
    assert np.allclose(run.arrays["new_images_average_precision"], alone.average_precision)
    by_floats = [
        retrieval_scores(codes["query"], codes["database"][rows], labels[0], labels[1][rows], distance="asymmetric")
        for rows in (slice(None), slice(20, None))
    ]
    assert found.asymmetric == by_floats[0].mean_average_precision
    assert found.new_images_asymmetric == by_floats[1].mean_average_precision


@pytest.mark.parametrize(("train", "are_scored"), [(range(20), True), (range(52), False)])
def test_new_images_are_all_where_none_is_trained_on_and_missing_where_all_are(tmp_path, finished, train, are_scored):
    _, data, codes, _ = finished
    held_out = Split(data.pool, torch.arange(20, 40))
    other = replace(data, train=Split(data.pool, torch.tensor(train)), database=held_out)
    codes = {"query": codes["query"], "database": codes["database"][20:]}
    scores = retrieval_scores(codes["query"], codes["database"], data.query.targets, held_out.targets)
    result = Finished(codes, scores, [], np.ones((3, 20)), {})
    found = load_run(save_run(RunConfig(bits=20, results_dir=str(tmp_path)), other, Model(), result))
    expected = found.report.scores.mean_average_precision if are_scored else None
    assert found.report.scores.new_images == expected
    assert ("new_images_average_precision" in found.arrays) == are_scored


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # its quantization error is NaN
def test_a_run_with_infinite_codes_is_not_lost(finished):
    save, _, codes, scores = finished
    codes["query"][0, 0] = np.inf
    found = load_run(save()).report.scores
    assert found.mean_average_precision == scores.mean_average_precision and found.asymmetric is None


def test_a_run_of_an_earlier_version_has_no_score_on_new_images(finished):
    save, *_ = finished
    folder = save()
    report = json.loads((folder / "run.json").read_text())
    for name in NEWER_SCORES:
        del report["scores"][name]
    (folder / "run.json").write_text(json.dumps(report))
    save(seed=1)
    runs = load_runs(folder.parent.parent).set_index("seed")
    assert runs["new_images"].isna().tolist() == [True, False]
    assert np.isnan(read_table(PUBLISHED / "summary.csv")["new_images"]).any()


def test_a_report_shows_new_images_first_where_a_database_holds_training_images(finished):
    save, *_ = finished
    results_dir = save().parent.parent
    header, _, row = report(results_dir).splitlines()
    run = load_runs(results_dir).iloc[0]
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert columns[-2:] == ["20 bits, new images", "20 bits, protocol"]
    assert cells[-2:] == [f"{run['new_images']:.4f}", f"{run['mean_average_precision']:.4f}"]
    whole = pd.read_csv(io.StringIO(report(results_dir, format="csv")))
    assert whole[NEWER_SCORES].iloc[0].tolist() == pytest.approx(run[NEWER_SCORES].tolist())


def test_query_accuracy_is_the_share_of_queries_nearest_to_the_centroid_of_their_class(finished):
    save, data, codes, _ = finished
    run = load_run(save())
    right = []
    for code, target in zip(codes["query"], data.query.targets, strict=True):
        distances = [np.linalg.norm(code - centroid) for centroid in run.arrays["centroids"]]
        right.append(bool(target[np.argmin(distances)]))
    assert 0 < np.mean(right) < 1
    assert run.report.scores.query_accuracy == np.mean(right)


def test_neighbours_are_the_nearest_items_and_marked_by_label(finished):
    save, data, codes, _ = finished
    run = load_run(save())
    queries, nearest, relevant, names, shown_distances = run.neighbours(most=5)
    assert queries.shape == (5, 3, 64, 64) and nearest.shape == (5, 10, 3, 64, 64) and relevant.shape == (5, 10)
    assert len(set(names[:3])) == 3  # one of each class first
    rows = run.arrays["nearest"]
    signs = {name: np.where(values >= 0, 1, -1) for name, values in codes.items()}
    for query in range(12):
        distances = (signs["query"][query] != signs["database"]).sum(1)
        assert (np.diff(distances[rows[query]]) >= 0).all()
        assert distances[rows[query]].max() <= np.sort(distances)[9]
    first = int(data.query.targets[:, 0].argmax())
    assert relevant[0].tolist() == (data.database.targets[rows[first]].argmax(1) == 0).tolist()
    assert shown_distances[0].tolist() == (signs["query"][first] != signs["database"][rows[first]]).sum(1).tolist()


@pytest.mark.parametrize("drop", [False, True])
def test_a_query_is_not_its_own_neighbour_where_self_matches_are_dropped(finished, drop):
    _, data, codes, _ = finished
    rows = np.arange(5, 17)  # of the database, which are the queries too
    data = replace(data, query=Split(data.pool, data.database.indices[rows]))
    codes = {"query": codes["database"][rows], "database": codes["database"]}  # no two are the same
    config = RunConfig(bits=20, drop_self_matches=drop)
    nearest = saving.collect_arrays(config, data, codes, np.ones((3, 20)))["nearest"]
    assert (nearest == rows[:, None]).any(1).tolist() == [not drop] * 12


def test_codes_and_labels_of_a_run(finished):
    save, data, codes, _ = finished
    run = load_run(save())
    binary, labels = run.codes("database")
    assert np.array_equal(binary, np.where(codes["database"] >= 0, 1, -1))
    assert np.array_equal(labels, data.database.targets)
    raw, labels = run.codes_before_sign()
    assert np.abs(raw - np.concatenate([codes["query"], codes["database"]])).max() < 2e-3
    assert np.array_equal(labels, np.concatenate([data.query.targets, data.database.targets]))


def test_run_json_is_the_last_file_and_a_run_without_it_is_none(finished, tmp_path, monkeypatch):
    save, *_ = finished
    written = []

    def fails_at_the_end(path, writer):
        if path.name == "run.json":
            raise OSError(28, "No space left on device")
        written.append(path.name)
        write(path, writer)

    save()
    monkeypatch.setattr(saving, "write", fails_at_the_end)
    with pytest.raises(OSError, match="No space left"):
        save()  # the run that was there is gone too
    assert written == ["config.json", "history.csv", "codes.npz"]
    assert find_run(RunConfig(bits=20, results_dir=str(tmp_path))) is None


def test_where_a_result_came_from_is_written_down(finished):
    save, data, *_ = finished
    saved = load_run(save()).report
    assert saved.data.fingerprint == data.fingerprint()
    assert [finding.model_dump() for finding in saved.data.findings] == [
        dict(rule="no item", level="warning", text="train: few")
    ]
    assert (saved.data.train, saved.data.query, saved.data.database, saved.data.validation) == (20, 12, 40, 0)
    assert saved.data.class_names == ["a", "b", "c"]
    assert saved.versions.keys() >= {"python", "torch", "numpy", "relahash-nb"}
    assert saved.hardware.cores >= 1
    assert saved.seconds == {"encoding": 0.5, "training": 1.0}  # those of training are the history's


def test_names_with_anything_in_them_are_written_and_shown(finished, tmp_path):
    _, data, codes, scores = finished
    odd = replace(data, class_names=("$\\frac$", "b\udcff", "c\nd"))
    root = tmp_path / "a|b\n\x1bc"
    config = RunConfig(bits=20, dataset="lists", root=str(root), results_dir=str(tmp_path), save_weights="none")
    model = type("Model", (), {"save": lambda *_: None})()
    run = load_run(save_run(config, odd, model, Finished(codes, scores, [], np.ones((3, 20)), {})))
    assert run.report.data.class_names == ["$\\frac$", "b\\udcff", "c\\nd"] and run.history.empty
    lines = report(tmp_path).splitlines()
    assert len(lines) == 3 and lines[2].startswith("| lists a\\|b\\n\\x1bc |")


@pytest.fixture
def saved():
    """A `run.json` as a dictionary, of a version whose config had a field that is gone and lacked others."""
    return {
        "schema": 2,
        "run_id": "fashion_mini-16bits-relahash-seed0-0123abcd",
        "finished": "2026-01-01T00:00:00+0000",
        "config": {"bits": 16, "loss": "relahash", "beta": 8.0, "gone": False, "epochs": 20},
        "loss_options": {"beta": 8.0, "margin": 0.5},
        "weights_digest": "",
        "sources": {},
        "scores": {
            "mean_average_precision": 0.5,
            "best": 0.6,
            "worst": 0.4,
            "query_accuracy": 0.6,
            "precision_at_100": 0.5,
            "precision_within_2": 0.5,
            "recall_within_2": 0.5,
            "quantization_error": 0.1,
            "quantization_error_centred": 0.1,
            "constant_bits": 0,
            "distinct_codes": 9,
        },
        "data": {
            "name": "fashion_mini",
            "multi_label": False,
            "fingerprint": "f",
            "train": 3,
            "query": 2,
            "database": 4,
            "validation": 0,
            "class_names": ["a", "b"],
            "findings": [],
        },
        "hardware": {"processor": "p", "cores": 2, "threads": 2, "accelerator": None},
        "versions": {"python": "3.11"},
        "seconds": {"training": 2.0},
    }


def put(place, run_id, text):
    """A `run.json` in its folder."""
    folder = place / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    return folder


def test_a_run_json_is_read_and_written_without_a_change(saved):
    text = json.dumps(saved, indent=1)
    assert Report.from_json(text).to_json() == text


def test_a_run_stays_readable_when_the_config_or_the_report_gains_or_loses_a_field(saved, tmp_path):
    saved["later"] = {"a": 1}
    saved["scores"]["later"] = 0.5
    folder = put(tmp_path, saved["run_id"], json.dumps(saved))
    run = load_run(saved["run_id"], tmp_path)
    assert run.folder == folder and run.config.bits == 16 and run.config.seed == 0
    assert load_runs(tmp_path)["mean_average_precision"].tolist() == [0.5]
    assert select_runs(tmp_path)[0]["method"].tolist() == ["relahash"]


def test_a_run_that_does_not_know_its_query_accuracy_stays_readable(saved, tmp_path):
    del saved["scores"]["query_accuracy"]
    put(tmp_path, saved["run_id"], json.dumps(saved))
    assert load_runs(tmp_path)["query_accuracy"].isna().tolist() == [True]
    table = pd.read_csv(io.StringIO(report(tmp_path, "csv")))
    assert table["query_accuracy"].isna().tolist() == [True] and table["mean"].tolist() == [0.5]
    assert read_table(PUBLISHED / "summary.csv")["query_accuracy"].dtype == "float64"


def damage(report, kind):
    """A `run.json` that cannot be read, as text."""
    if kind == "no scores":
        report["scores"] = {}
    elif kind == "newer":
        report["schema"] = 3
    elif kind == "another run":
        report["run_id"] = "another"
    elif kind == "config":
        report["config"] = {"bits": "x"}
    elif kind == "no fingerprint":
        del report["data"]["fingerprint"]
    elif kind == "NaN":
        report["scores"]["worst"] = float("nan")
    elif kind == "above 1":
        report["scores"]["best"] = 1.5
    texts = {"empty": "", "torn": "{", "a list": "[]", "nested": "[" * 200_000}
    return texts.get(kind) if kind in texts else json.dumps(report)


DAMAGES = ("no scores", "newer", "another run", "config", "no fingerprint", "NaN", "above 1")
TORN = ("empty", "torn", "a list", "nested", "pipe")


@pytest.mark.parametrize("kind", [*DAMAGES, *TORN])
def test_a_damaged_run_is_named_in_one_line_and_the_others_are_shown(kind, saved, tmp_path, capfd):
    put(tmp_path, saved["run_id"], json.dumps(saved))
    folder = put(tmp_path, "damaged", damage(saved | {"run_id": "damaged"}, kind))
    if kind == "pipe":
        (folder / "run.json").unlink()
        os.mkfifo(folder / "run.json")
    assert "0.5000" in report(tmp_path)
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and str(folder / "run.json") in said
    assert len(select_runs(tmp_path)[0]) == len(finished_runs(tmp_path)) == 1
    with pytest.raises(ValueError, match=r"run.json: damaged") as error:
        load_run(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "said"), [("newer", "schema: 3"), ("above 1", "scores.best: 1.5"), ("no fingerprint", "data.fingerprint")]
)
def test_what_is_wrong_in_a_run_json_is_said_with_its_place(kind, said, saved, tmp_path):
    with pytest.raises(ValueError, match=said):
        load_run(put(tmp_path, saved["run_id"], damage(saved, kind)))


@pytest.mark.parametrize("kind", ["truncated", "a key less", "none"])
def test_damaged_codes_name_the_run(kind, finished):
    save, *_ = finished
    run = load_run(save())
    file = run.folder / "codes.npz"
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-300])
    elif kind == "none":
        file.unlink()
    else:
        np.savez(file, **{name: values for name, values in run.arrays.items() if name != "nearest"})
    with pytest.raises(ValueError, match=rf"{run.folder.name}/codes.npz: damaged"):
        load_run(run.folder).codes("query")


def test_a_run_is_loaded_by_id_or_folder_and_a_missing_one_names_the_nearest(finished):
    save, *_ = finished
    folder = save()
    results = folder.parent.parent
    for name in (folder, str(folder)):
        assert load_run(name).folder == folder
    assert load_run(folder.name, str(results)).folder == folder
    with pytest.raises(ValueError, match=folder.name):
        load_run(folder.name[:-1] + "x", results)


def test_a_run_that_kept_less_or_scored_elsewhere_is_not_the_one_asked_for(finished, monkeypatch):
    save, *_ = finished
    folder = save(save_weights="trained")
    monkeypatch.setattr(runs_module, "run_folder", lambda config: folder)
    asked = load_run(folder).config
    assert find_run(asked) is not None and find_run(asked.replace(save_weights="none")) is not None
    assert find_run(asked.replace(save_weights="all")) is None
    assert find_run(asked.replace(eval_interval=1)) is None and find_run(asked.replace(epochs=3)) is None


def test_a_lock_is_held_until_it_is_dropped_and_the_same_process_may_ask_again(finished, tmp_path):
    _, data, *_ = finished
    config = RunConfig(bits=20, results_dir=str(tmp_path))
    lock = lock_run(config, data)
    assert lock_run(config, data, seconds=0.1) is lock and lock.is_locked
    lock.release()
    assert not lock.is_locked


def test_the_accelerator_is_the_one_that_was_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"card {device}")
    names = [describe_hardware(device)["accelerator"] for device in ("cuda:1", "auto", "cpu")]
    assert names == ["card cuda:1", "card None", None]


def test_all_runs_are_one_table(finished):
    save, *_ = finished
    folders = [save(), save(seed=1), save(seed=2)]
    (folders[2] / "run.json").unlink()
    runs = load_runs(folders[0].parent.parent)
    assert sorted(runs["seed"]) == [0, 1]
    assert {"run_id", "bits", "mean_average_precision", "best", "worst", "seconds_training", "folder"} <= set(runs)


def test_a_table_is_typed_and_the_same_again_from_its_file(finished):
    """Numbers are numbers, a missing one is missing, options are JSON; from the runs, and from the file they become."""
    save, *_ = finished
    save(loss="csq", loss_options={"quantization": 0.1, "batch_norm": True})
    save(tuning="24 trials", lr=0.01, centroid_seed=None, top_k=1000)
    runs = summarize(load_runs(save().parent.parent))
    text = runs.to_csv(index=False)
    pd.testing.assert_frame_equal(read_table(io.StringIO(text)), runs)
    types = runs.dtypes.astype(str)
    assert types[["bits", "epochs", "lr", "finetune"]].tolist() == ["int64", "Int64", "float64", "boolean"]
    csq = runs[runs["loss"] == "csq"].iloc[0]
    assert csq["loss_options"] == '{"batch_norm": true, "quantization": 0.1}'
    assert np.isnan(csq["beta"]) and csq["tuning"] is None and pd.isna(csq["eval_interval"])
    assert set(runs["top_k"]) == {"all", "1000"}


def test_what_a_search_chose_is_missing_and_its_runs_are_one_setting(finished):
    save, *_ = finished
    save(tuning="24 trials", lr=0.01, epochs=3)
    save(tuning="24 trials", lr=0.02, epochs=4, seed=1)
    runs = distinct(summarize(load_runs(save().parent.parent)))
    tuned = runs[runs["tuning"].notna()]
    assert len(tuned) == 2 and tuned["method"].tolist() == ["relahash", "relahash"]
    assert tuned[["lr", "epochs", "beta", "loss_options"]].isna().all(axis=None)
    assert len(tuned.drop_duplicates(list(SETTING))) == 1
    assert matching(runs, {"tuning": None})["lr"].tolist() == [0.003]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"epochs": 3}, 2),
        ({"epochs": "three"}, 0),
        ({"lr": [0.01, 0.003]}, 3),
        ({"seed": range(9)}, 3),
        ({"top_k": 1000}, 1),
        ({"finetune": False}, 0),
        ({"tuning": None}, 2),
        ({"tuning": [None, "24 trials"]}, 3),
        ({"loss": "csq", "beta": None}, 1),
        ({"loss_options": {"batch_norm": True, "quantization": 0.1}}, 1),
        ({"dataset": "fashion_mini", "bits": 20}, 3),
    ],
    ids=str,
)
def test_filters_are_compared_by_value(filters, count, finished):
    save, *_ = finished
    save(epochs=3, tuning="24 trials", lr=0.01)
    save(epochs=3, loss="csq", loss_options={"quantization": 0.1, "batch_norm": True})
    runs = load_runs(save(top_k=1000).parent.parent)
    assert len(matching(runs, filters)) == count


def test_of_several_runs_of_one_setting_and_seed_the_latest_counts(finished):
    save, *_ = finished
    runs = load_runs(save().parent.parent)
    twice = pd.concat([runs.assign(finished="2027-01-02"), runs.assign(finished="2027-01-01"), runs], ignore_index=True)
    twice.loc[2, "finished"] = None
    assert distinct(twice)["finished"].tolist() == ["2027-01-02"]
    twice["finished"] = ["2027-01-01T23:30:00-0500", "2027-01-02T02:00:00+0100", "2027-01-01T12:00:00Z"]
    assert distinct(twice)["finished"].tolist() == ["2027-01-01T23:30:00-0500"]  # by the clock, not by the letters


@pytest.mark.parametrize("name", ["summary.csv", "phase.csv"])
def test_published_tables_are_read_with_the_types_of_runs(name, finished):
    save, *_ = finished
    runs = summarize(load_runs(save().parent.parent))
    table = read_table(PUBLISHED / name)
    shared = [column for column in runs if column in table]
    assert set(SETTING) <= set(shared)
    assert (table.dtypes[shared] == runs.dtypes[shared]).all()
    assert distinct(table)["method"].notna().all() and len(table) == len(distinct(table))


def test_rows_of_a_loss_that_has_another_name_now_are_shown():
    table = read_table(PUBLISHED / "summary.csv")
    assert "cross_entropy_plain" in set(distinct(table)["method"])


def test_runs_that_can_be_compared_are_selected(tiny_results):
    runs, others = select_runs(tiny_results)
    assert list(zip(runs["loss"], runs["bits"], runs["seed"], strict=True)) == [
        ("relahash", 16, 0),
        ("relahash", 16, 1),
        ("relahash", 32, 0),
        ("math:sqrt", 16, 0),
    ]
    assert others.empty
    assert select_runs(tiny_results, losses=["math:sqrt", "relahash"], bits=16)[0]["loss"].tolist()[0] == "math:sqrt"
    assert {loss: run.config.bits for loss, run in load_shown(runs).items()} == {"relahash": 16, "math:sqrt": 16}
    assert list(load_shown(runs, bits=32)) == ["relahash"]
    assert load_histories(runs).groupby("run_id")["epoch"].max().tolist() == [2] * 4
    with pytest.raises(ValueError, match="shown_bits: 64 given; allowed: 16, 32"):
        load_shown(runs, bits=64)


def test_of_several_settings_the_one_of_most_runs_is_taken_and_the_others_are_returned(finished):
    save, *_ = finished
    for options in (dict(epochs=3), dict(epochs=3, seed=1), dict(epochs=5), dict(epochs=3, beta=50.0)):
        folder = save(**options)
    results = folder.parent.parent
    runs, others = select_runs(results)
    assert runs["epochs"].tolist() == [3, 3] and runs["method"].tolist() == ["relahash"] * 2
    assert others.sort_values("beta")[["epochs", "beta"]].to_numpy().tolist() == [[5, 8], [3, 50]]
    assert select_runs(results, epochs=5)[0]["epochs"].tolist() == [5]
    assert select_runs(results, beta=50)[0]["method"].tolist() == ["relahash (beta 50)"]
    assert select_runs(results, variants=True)[0]["method"].nunique() == 2
    with pytest.raises(ValueError, match="bitz: "):
        select_runs(results, bitz=5)


def test_a_constant_that_was_not_given_is_shown_as_the_one_that_was_used(finished):
    """Of relahash β 8 and m .5; of csq, which has neither, none; another recorded value goes before the default."""
    save, *_ = finished
    folder = save()
    save(beta=50.0, seed=1), save(loss="csq"), save(seed=2)
    results = folder.parent.parent
    rows = pd.read_csv(io.StringIO(report(results, "csv", loss="relahash")))
    assert rows["beta"].tolist() == [8, 50] and "margin" not in rows and rows["seeds"].tolist() == [2, 1]
    assert report(results, beta=8) == report(results, loss="relahash", beta=[8.0])
    methods = select_runs(results, variants=True)[0]["method"].tolist()
    assert methods == ["relahash"] * 2 + ["relahash (beta 50)", "csq"]
    text = json.loads((folder / "run.json").read_text())
    text["loss_options"]["beta"] = 7.0  # as of a version with another default
    (folder / "run.json").write_text(json.dumps(text))
    assert pd.read_csv(io.StringIO(report(results, "csv", loss="relahash")))["beta"].tolist() == [7, 8, 50]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (dict(dataset="lists corel", bits=[16]), "relahash sweep --dataset lists --root path/to/corel --bits 16"),
        (dict(losses=["csq"], seeds=[7]), "relahash sweep --loss csq --seed 7"),
    ],
)
def test_what_is_missing_is_said_with_the_command_that_makes_it(arguments, command, tiny_results):
    with pytest.raises(ValueError, match="no finished run") as error:
        select_runs(tiny_results, **arguments)
    assert f"{command} --results-dir {tiny_results}" in str(error.value)


def test_the_summary_holds_no_absolute_path(finished, tmp_path):
    save, *_ = finished
    folder = save(
        dataset="lists", root="/home/me/it's", weights="/home/me/w.safetensors", results_dir=str(tmp_path / "it's")
    )
    summary = summarize(load_runs(folder.parent.parent))
    text = summary.to_csv()
    assert "/home" not in text and str(tmp_path) not in text and ".../w.safetensors" in text
    assert summary["data"].tolist() == ["lists it's"] and "--root" in summary["command"][0]
    assert not {"root", "device", "data_dir", "results_dir", "folder"} & set(summary)
    with pytest.raises(ValueError) as error:
        select_runs(folder.parent.parent, "none")
    assert shlex.split(str(error.value).split("this makes it: ")[1])[-1] == str(tmp_path / "it's")


def test_a_relative_folder_is_the_project_s_own(tmp_path, monkeypatch, tiny_results):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "relahash-nb"\n[tool.relahash]\naddress = ""\n')
    (tmp_path / "results").symlink_to(tiny_results)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert len(finished_runs("results")) == len(select_runs()[0]) == 4


def test_a_figure_is_kept_as_png_and_svg_with_its_runs_and_the_same_bytes_from_the_same_data(tmp_path):
    import matplotlib.pyplot as plt
    from PIL import Image

    set_style()
    before = []
    for _ in range(2):
        ax = plt.subplots()[1]
        ax.plot([1, 2])
        png = save_figure(ax, "lists corel: error", tmp_path, ["run-a", "run-b"])
        files = sorted(png.parent.iterdir())
        before.append([file.read_bytes() for file in files])
    assert before[0] == before[1]
    assert [file.name for file in files] == ["lists.corel.error.png", "lists.corel.error.svg"]
    assert Image.open(png).text["Source"] == "run-a run-b" and "run-a run-b" in files[1].read_text()


def test_what_fails_while_it_is_written_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    write(path, lambda temporary: temporary.write_text("old"))

    def breaks(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(path, breaks)
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_nothing_that_is_written_by_default_is_tracked():
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    written = ["results/summary.csv", "results/figures/x.png", "results/runs/x/run.json", "results/02.ipynb"]
    git = ["git", "-C", str(root)]
    ignored = subprocess.run([*git, "check-ignore", *written], capture_output=True, text=True).stdout.split()
    assert ignored == written
    tracked = subprocess.run([*git, "ls-files", "results"], capture_output=True, text=True).stdout.split()
    assert tracked == ["results/README.md"]

"""The grid: planned, shared, gone on with, and honest about what failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from relahash_nb import sweep
from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from relahash_nb.files import run_folder, write
from relahash_nb.results import Run, find_run, load_run, lock_run
from relahash_nb.results.runs import describe_hardware
from relahash_nb.results.tables import describe_setting
from relahash_nb.sweep import Outcome, RunFailed, attempt, discard, execute, expand, plan, read_grid, run_serial

TINY = ["--epochs", "1", "--image-size", "14"]


def command(*arguments):
    return [sys.executable, "-m", "relahash_nb.cli", "sweep", *TINY, *map(str, arguments)]


def fake(config, mean=0.8):
    """A finished run's `run.json`, without the work."""
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    report = {"schema": 2, "run_id": config.run_id, "config": config.to_dict(), "seconds": {"training": 20.0}}
    report |= {"finished": "2026-01-01T00:00:00+0000", "loss_options": {}, "weights_digest": "", "versions": {}}
    report["scores"] = dict(mean_average_precision=mean, best=0.9, worst=0.7, precision_at_100=0.5)
    report["scores"] |= dict(precision_within_2=0.5, recall_within_2=0.5, quantization_error=0.1)
    report["scores"] |= dict(quantization_error_centred=0.1, constant_bits=0, distinct_codes=9)
    report["data"] = dict(name="toy", multi_label=False, fingerprint="0", class_names=["a"], findings=[])
    report["data"] |= dict(train=1, query=1, database=1, validation=0)
    report["hardware"] = describe_hardware("cpu")
    write(folder / "run.json", lambda path: path.write_text(json.dumps(report)))
    return load_run(folder)


@pytest.fixture
def configs(tmp_path):
    return expand({"bits": [16, 32, 64], "results_dir": [str(tmp_path)]})


def test_a_run_of_another_config_does_not_count(configs):
    run = fake(configs[0])
    assert find_run(configs[0]) is not None
    report = run.report.model_copy(update={"config": run.report.config | {"epochs": 7}})
    (run.folder / "run.json").write_text(report.to_json())
    assert find_run(configs[0]) is None


def test_what_another_sweep_writes_is_waited_for_and_not_run_twice(configs, monkeypatch):
    """The first run is locked by somebody else, who finishes it after the others are done here."""
    executed = []
    other = FileLock(run_folder(configs[0]) / ".sweep.lock")
    run_folder(configs[0]).mkdir(parents=True)
    other.acquire()

    def execute(config, output, minutes):
        executed.append(config.bits)
        return fake(config)

    def somebody_finishes(seconds):
        fake(configs[0], mean=0.5)
        other.release()

    monkeypatch.setattr(sweep, "execute", execute)
    monkeypatch.setattr(sweep.time, "sleep", somebody_finishes)
    outcomes = list(run_serial(configs, None))
    assert executed == [32, 64]
    assert [outcome.config.bits for outcome in outcomes] == [32, 64, 16]
    assert outcomes[-1].run.report["scores"]["mean_average_precision"] == 0.5


def test_a_failure_is_kept_with_the_end_of_its_log_and_forgotten_when_it_works(configs, monkeypatch):
    def breaks(config, output, minutes):
        output.write("".join(f"line {number}\n" for number in range(40)))
        raise RunFailed("ValueError: broken\nThe partial notebook: there")

    monkeypatch.setattr(sweep, "execute", breaks)
    assert attempt(configs[0]) == Outcome(configs[0], None, "ValueError: broken\nThe partial notebook: there")
    text = (run_folder(configs[0]) / "failed.txt").read_text()
    assert text.startswith("ValueError: broken") and "line 39" in text and "line 24\n" not in text
    monkeypatch.setattr(sweep, "execute", lambda config, output, minutes: fake(config))
    assert attempt(configs[0]).run is not None
    assert not (run_folder(configs[0]) / "failed.txt").exists()


def test_the_plan_knows_what_is_done_and_what_the_rest_takes(configs):
    fake(configs[0])
    row = describe_setting(configs[0]) | describe_hardware("auto") | {"seconds_training": 20.0, "seconds_encoding": 1.0}
    lines = plan(configs, pd.DataFrame([row])).splitlines()
    assert lines[0] == f"{configs[0].run_id}: done"
    assert lines[1] == f"{configs[1].run_id}: to do, about 21 s"
    assert lines[3] == "1 done, 2 to do: about 42 s"
    other = expand({"epochs": [3], "results_dir": [configs[0].results_dir]})
    assert "no time is known for 1 of them" in plan(other, pd.DataFrame([row]))
    elsewhere = pd.DataFrame([row | {"processor": "another"}])
    assert "no time is known for 2 of them" in plan(configs, elsewhere)


def test_a_kernel_does_not_inherit_the_memory_setting_of_a_dask_worker(configs, monkeypatch):
    seen = []
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as Dask starts its workers
    monkeypatch.setattr(sweep, "execute", lambda config, *_: seen.append(dict(os.environ)))
    with pytest.raises(sweep.RunFailed):
        sweep.attempt_on_worker(configs[0].to_dict(), None)
    assert len(seen) == 1 and "MALLOC_TRIM_THRESHOLD_" not in seen[0]


def test_a_yaml_file_is_a_grid(tmp_path):
    (tmp_path / "grid.yml").write_text("bits: [16, 32]\nlr: 1e-3\ndataset: fashion_mini\nseed: [0, 1]\n")
    assert read_grid(tmp_path / "grid.yml") == dict(bits=[16, 32], lr=[1e-3], dataset=["fashion_mini"], seed=[0, 1])
    with pytest.raises(ValueError) as error:
        read_grid(tmp_path / "none.yml")
    assert str(error.value) == f"{tmp_path / 'none.yml'}: No such file or directory"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"- 1", "expected names and values, as in 'bits: [16, 32]'"),
        (b"bits: [", "while parsing"),
        (b"bits: 16\nseed: 1\nbits: 32", "bits: given twice"),
        (b"bits: []", "bits: expected a value, or a list of values"),
        (b"bits: &a [16, *a]", "bits: expected a value, or a list of values"),
        (b"1: [16]", "expected names and values"),
        (b"{{a: 1}: 2}", "unhashable"),
        (b"dataset: caf\xe9", "codec can't decode"),
        (b"bits: " + 3000 * b"[", "recursion"),
        (b"bits: 0", "bits: 0 given; allowed: an integer from 1 to 4096"),
        (b"seed: 1e23", "seed: 1e+23 given; allowed: an integer from 0 to"),
        (b"bitz: 1", "bitz: no such parameter (did you mean bits?)"),
    ],
)
def test_a_wrong_yaml_file_is_one_line_that_names_it(text, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("grid.yml").write_bytes(text)
    assert main(["sweep", "--file", "grid.yml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("relahash sweep: grid.yml: ") and said in err and err.count("\n") == 1 and len(err) < 600


def test_a_grid_has_one_results_folder():
    with pytest.raises(ValueError, match="results_dir: a, b given; a sweep has one"):
        expand({"results_dir": ["a", "b"]})


def test_a_grid_that_is_too_large_is_refused_by_its_count():
    with pytest.raises(ValueError, match="1,000,000,000,000 runs given; allowed: 10,000"):
        expand({name: range(10_000) for name in ("seed", "split_seed", "centroid_seed")})


def test_an_interrupted_run_removes_nothing_of_another_process(configs):
    """A notebook in Jupyter holds the run's lock, while `relahash train` on the same run is interrupted."""
    folder = run_folder(configs[0])
    folder.mkdir(parents=True)
    jupyter = FileLock(folder / ".run.lock")
    jupyter.acquire()
    (folder / "log.txt").write_text("")
    discard(folder)
    assert {path.name for path in folder.iterdir()} == {".run.lock", "log.txt"}
    jupyter.release()
    discard(folder)
    assert not folder.exists()


def test_train_waits_for_no_sweep_at_the_same_run(configs, monkeypatch):
    folder = run_folder(configs[0])
    folder.mkdir(parents=True)
    monkeypatch.setattr(sweep, "execute_notebook", lambda *_: pytest.fail("the other process has it"))
    with FileLock(folder / ".sweep.lock"), pytest.raises(RunFailed, match="another process is at this run"):
        execute(configs[0])
    assert (folder / ".sweep.lock").exists()


def test_two_folders_with_one_last_name_are_refused_in_one_grid():
    with pytest.raises(ValueError, match="root: 'a/images' and 'b/images' end in one name"):
        expand({"dataset": ["folder"], "root": ["a/images", "b/images"]})


def test_a_grid_names_a_run_once(tmp_path):
    assert len(expand({"bits": [16, 16], "device": ["cpu", "auto"]})) == 1


class Data:
    """All that `lock_run` asks of a data set."""

    def __init__(self, fingerprint="0"):
        self.fingerprint = lambda: fingerprint


def test_a_run_has_one_writer(configs, tmp_path):
    code = f"""
import time
from relahash_nb.config import RunConfig
from relahash_nb.results import lock_run
lock = lock_run(RunConfig(bits=16, results_dir={str(tmp_path)!r}), None)
print("locked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="another process is writing this run"):
            lock_run(configs[0], Data(), seconds=0.1)
        lock_run(configs[1], Data(), seconds=0.1)
        other.kill()
        other.wait()
    lock_run(configs[0], Data(), seconds=10)  # a dead process does not hold it
    lock_run(configs[0], Data(), seconds=0.1)  # and the same process may ask again


def test_a_run_on_other_data_is_not_taken_for_this_one_nor_written_over(tmp_path):
    """Two folders with one last name give one run id."""
    here_, there = (
        RunConfig(dataset="folder", root=str(tmp_path / place / "images"), results_dir=str(tmp_path)) for place in "ab"
    )
    assert here_.run_id == there.run_id
    fake(here_)
    assert find_run(here_) is not None and find_run(there) is None
    lock_run(here_, Data("0"))
    with pytest.raises(ValueError, match="is a finished run on other data, and stays"):
        lock_run(there, Data("1"))


@pytest.mark.parametrize("place", ["/proc/none", "taken/results"], ids=["read-only", "a file is in the way"])
def test_a_place_that_cannot_be_written_is_a_line_a_run(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    config = RunConfig(results_dir=place)
    outcome = attempt(config)
    assert outcome.run is None and place.split("/")[1] in outcome.error and "\n" not in outcome.error
    with pytest.raises(RunFailed, match=place):
        execute(config)


def test_a_full_disk_leaves_nothing_torn_and_names_the_file(tmp_path):
    """A limit on the size of files stands in for a small disk: the notebook still fits, the codes do not."""
    limit = 500_000
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from relahash_nb.cli import main; sys.exit(main())"
    )
    full = subprocess.run(
        [sys.executable, "-c", code, "sweep", *TINY], cwd=tmp_path, capture_output=True, text=True
    )  # fmt: skip
    assert full.returncode == 1
    assert "File too large: 'results/runs/fashion_mini" in full.stderr and "codes.npz'" in full.stderr
    assert "Traceback" not in full.stderr
    (folder,) = Path(tmp_path, "results", "runs").iterdir()
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert left == {"01_train.ipynb", "config.json", "history.csv", "log.txt", "failed.txt"}
    assert not list(folder.glob(".*codes.npz"))


def test_a_mount_without_locks_is_served(configs, monkeypatch):
    def no_locks(self, **options):
        raise NotImplementedError("flock")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    monkeypatch.setattr(sweep, "execute", lambda config, output, minutes: fake(config))
    assert attempt(configs[0]).run is not None


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_ctrl_c_stops_at_once_leaves_no_half_result_and_the_same_command_goes_on(tmp_path):
    done = fake(RunConfig(bits=16, epochs=1, image_size=14, results_dir=str(tmp_path / "results")))
    notebooks = tmp_path / "results" / "runs"
    process = subprocess.Popen(
        command("--bits", 16, 20), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for(lambda: list(notebooks.glob("*20bits*/*.ipynb")))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        err.strip()
        == "interrupted: no half result was left; the same command again does what is missing, "
        + "and goes on from a checkpoint where there is one"
    )
    assert [folder.name for folder in notebooks.iterdir()] == [done.folder.name]
    again = subprocess.run(command("--bits", 16, 20), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (
        f"{done.folder.name}: done before, mAP 0.8000" in again.stdout and "[1/1] fashion_mini-20bits" in again.stdout
    )


def test_failing_runs_do_not_stop_the_others(tmp_path):
    """One raises, one runs out of time, one's kernel dies, one works; the end says what failed and how to retry it."""
    (tmp_path / "own.py").write_text(
        "import os, time\n"
        "from relahash_nb.datasets import fashion_mini\n"
        "def raises(config): raise ValueError('no such data')\n"
        "def hangs(config): time.sleep(600)\n"
        "def dies(config): os.kill(os.getpid(), 9)\n"
        "def starves(config): return bytearray(1 << 60)\n"
        "def works(config): return fashion_mini(config)\n"
    )
    names = [f"own:{name}" for name in ("raises", "hangs", "dies", "starves", "works")]
    done = subprocess.run(
        command("--dataset", *names, "--recipe", "quick", "--minutes", 0.5),
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    for said in ("ValueError: no such data", "a cell took longer than 0.5 minutes", "the kernel died", "MemoryError"):
        assert said in done.stdout and said in done.stderr
    assert "4 of 5 runs failed" in done.stderr
    assert "relahash train --recipe quick --dataset own:raises" in done.stderr
    assert "Traceback" not in done.stderr
    folders = {folder.name.split("-")[0]: folder for folder in Path(tmp_path, "results", "runs").iterdir()}
    for name in ("own.raises", "own.hangs", "own.dies", "own.starves"):
        assert {"failed.txt", "log.txt", "01_train.ipynb"} <= {file.name for file in folders[name].iterdir()}
        assert not (folders[name] / "run.json").exists()
    assert isinstance(load_run(folders["own.works"]), Run)


def test_runs_without_a_notebook_are_those_with_one_bit_for_bit(tmp_path, capsys):
    """Two losses after one another in this process; the second of them also in a notebook."""
    grid = dict(finetune=[False], epochs=[1], bits=[16], loss=["orthohash", "csq"], centroids=["semantic"])
    direct = sweep.sweep(expand(grid | {"results_dir": [str(tmp_path / "direct")]}), notebooks=False)
    assert [outcome.error for outcome in direct] == ["", ""]
    assert not list(tmp_path.rglob("*.ipynb")) and "epoch   1/1" in (direct[1].run.folder / "log.txt").read_text()
    (executed,) = sweep.sweep(expand(grid | {"loss": ["csq"], "results_dir": [str(tmp_path / "executed")]}))
    one, other = direct[1].run.arrays, executed.run.arrays
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert direct[1].run.report["seconds"].keys() >= {"training", "encoding", "scoring"}


def test_a_run_without_a_notebook_that_fails_says_why_in_a_line(tmp_path, capsys):
    (outcome,) = sweep.sweep(expand(dict(lr=[1e30], epochs=[1], results_dir=[str(tmp_path)])), notebooks=False)
    assert outcome.run is None and "the loss is nan at epoch 1" in outcome.error and "\n" not in outcome.error


@pytest.mark.parametrize("cluster", [dict(workers=3), dict(scheduler="tcp://host:8786")])
def test_a_cluster_is_asked_for_as_it_was_named(cluster, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(sweep, "on_cluster", lambda *given: asked.append(given) or [])
    config = RunConfig(results_dir=str(tmp_path))
    sweep.sweep([config], minutes=5.0, **cluster)
    ((call, arguments, *named),) = asked
    assert call is sweep.attempt_on_worker and arguments == {config.run_id: (config.to_dict(), 5.0)}
    assert named == [cluster.get("workers"), cluster.get("scheduler")]

"""The grid: planned, shared, gone on with, honest about what failed. `tests/slow` has the same with real kernels."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from relahash_nb.config import RunConfig
from relahash_nb.results import find_run, load_run, lock_run
from tests.conftest import read_report

ROOT = Path(__file__).parent.parent
BITS = (16, 32, 64)
# A process that sweeps over the same runs; its one notebook goes on until a file `go` is there.
NEIGHBOUR = """
import sys, time
from pathlib import Path
import papermill
from relahash_nb.cli import main
from relahash_nb.config import RunConfig
from tests.conftest import made_up_data, np, save_made_up_run

def execute_notebook(source, target, parameters, **options):
    values = dict(parameters)
    config = RunConfig(**values.pop("options", {}), **values)
    print("started", flush=True)
    while not Path("go").exists():
        time.sleep(0.05)
    save_made_up_run(config, made_up_data(), np.random.default_rng(5))

papermill.execute_notebook = execute_notebook
sys.exit(main(["sweep", "--bits", "16"]))
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files_of(folder):
    """The names of a run's files; locks and what else begins with a dot are for the program alone."""
    return {path.name for path in Path(folder).iterdir() if not path.name.startswith(".")}


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


# What is to do


def planned(printed):
    """The run ids that `--plan` prints, with what it says of each."""
    lines = [line.partition(":") for line in printed.splitlines()]
    return {name: said for name, _, said in lines if "bits-" in name}


def test_the_plan_names_each_run_once_and_tells_the_finished_from_the_others(relahash, finish_run):
    finish_run(RunConfig(bits=16))
    code, printed, _ = relahash("sweep", "--bits", 16, 32, 32, "--seed", 0, "--device", "cpu", "auto", "--plan")
    said = planned(printed)
    assert code == 0 and list(said) == [RunConfig(bits=bits).run_id for bits in (16, 32)]
    assert said[RunConfig(bits=16).run_id] != said[RunConfig(bits=32).run_id]
    assert not Path("results", "runs", RunConfig(bits=32).run_id).exists()


def test_every_combination_is_planned_and_the_first_name_varies_slowest(relahash):
    _, printed, _ = relahash("sweep", "--bits", 16, 32, "--seed", 0, 1, 2, "--dataset", "fashion_mini", "--plan")
    expected = [RunConfig(bits=bits, seed=seed).run_id for bits in (16, 32) for seed in (0, 1, 2)]
    assert list(planned(printed)) == expected


def test_a_yaml_file_is_a_grid(relahash):
    Path("grid.yml").write_text("bits: [16, 32]\nlr: 1e-3\ndataset: fashion_mini\nseed: [0, 1]\n", encoding="utf-8")
    code, printed, _ = relahash("sweep", "--file", "grid.yml", "--plan")
    expected = [RunConfig(bits=bits, lr=1e-3, seed=seed).run_id for bits in (16, 32) for seed in (0, 1)]
    assert code == 0 and list(planned(printed)) == expected


def test_the_command_line_goes_before_the_file_even_where_it_gives_a_default(relahash):
    Path("grid.yml").write_text("bits: [16, 32]\nloss: [csq, dpn]\nseed: [0, 1]\n", encoding="utf-8")
    code, printed, _ = relahash("sweep", "--file", "grid.yml", "--loss", "relahash", "--seed", 0, "--plan")
    assert code == 0 and list(planned(printed)) == [RunConfig(bits=bits).run_id for bits in (16, 32)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"- 1", ""),
        (b"bits: [", "line 1"),
        (b"bits: 8\nseed: [1\nlr: 1", "line 3"),
        (b"results_dir: s3://bucket", "s3://bucket"),
        (b"bits: 16\nseed: 1\nbits: 32", "bits"),
        (b"bits: []", "bits"),
        (b"bits: &a [16, *a]", "bits"),
        (b"1: [16]", ""),
        (b"{{a: 1}: 2}", ""),
        (b"dataset: caf\xe9", ""),
        (b"bits: " + 3000 * b"[", ""),
        (b"bits: 0", "bits"),
        (b"seed: 1e23", "seed"),
        (b"bitz: 1", "bitz"),
        (None, ""),
    ],
)
def test_a_wrong_yaml_file_is_one_line_that_names_it(text, named, relahash):
    if text is not None:
        Path("grid.yml").write_bytes(text)
    code, printed, error = relahash("sweep", "--file", "grid.yml")
    assert code == 2 and not printed
    assert error.count("\n") == 1 and len(error) < 600
    assert "grid.yml" in error and named in error


MANY = [str(number) for number in range(1001)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--results-dir", "a", "b"], "results_dir"),
        (["--dataset", "folder", "--root", "a/images", "b/images"], "root"),
        (["--seed", *MANY, "--split-seed", *MANY, "--centroid-seed", *MANY], "1,003,003,001"),
    ],
    ids=["two results folders", "two roots of one last name", "a thousand million runs"],
)
def test_a_grid_that_makes_no_sense_is_refused_in_a_line(arguments, named, relahash):
    for folder in ("a/images", "b/images"):
        Path(folder).mkdir(parents=True)
    code, printed, error = relahash("sweep", *arguments)
    assert code == 2 and not printed
    assert error.count("\n") == 1 and named in error


# What is done


def test_finished_runs_are_left_alone_and_a_failure_does_not_stop_the_others(relahash, without_kernels, finish_run):
    def break_one(config, output):
        if config.bits == 32:
            raise PapermillExecutionError(1, 1, "", "ValueError", "broken", [])
        finish_run(config)

    done = finish_run(RunConfig(bits=16))
    before = (done / "run.json").read_bytes()
    asked = without_kernels(break_one)
    code, printed, error = relahash("sweep", "--bits", *BITS)
    assert code == 1 and sorted(config.bits for config in asked) == [32, 64]
    assert (done / "run.json").read_bytes() == before and find_run(RunConfig(bits=64)) is not None
    assert all(RunConfig(bits=bits).run_id in printed for bits in BITS)
    assert "ValueError: broken" in printed and "ValueError: broken" in error
    assert RunConfig(bits=32).command in error  # which tries it again
    code, _, error = relahash("sweep", "--bits", *BITS)
    assert code == 1 and sorted(config.bits for config in asked) == [32, 32, 64]


def test_a_run_of_another_config_does_not_count(relahash, without_kernels, finish_run):
    folder = finish_run(RunConfig(bits=16))
    assert find_run(RunConfig(bits=16)) is not None
    report = json.loads((folder / "run.json").read_text())
    report["config"]["epochs"] = 7
    (folder / "run.json").write_text(json.dumps(report))
    assert find_run(RunConfig(bits=16)) is None
    asked = without_kernels(finish_run)
    assert relahash("sweep", "--bits", 16)[0] == 0
    assert len(asked) == 1 and find_run(RunConfig(bits=16)) is not None


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (PapermillExecutionError(1, 1, "", "ValueError", "no such data", []), "ValueError: no such data"),
        (PapermillExecutionError(1, 1, "", "MemoryError", "", []), "MemoryError"),
        (CellTimeoutError(), "minutes"),
        (DeadKernelError(), "kernel"),
    ],
    ids=["raises", "starves", "hangs", "dies"],
)
def test_a_failure_is_kept_with_the_end_of_its_log_and_forgotten_when_it_works(
    failure, said, relahash, without_kernels, finish_run
):
    def fail(config, output):
        output.write("".join(f"line {number}\n" for number in range(400)))
        raise failure

    without_kernels(fail)
    code, printed, error = relahash("sweep", "--bits", 16, "--minutes", 1)
    assert code == 1 and said in printed and said in error and "Traceback" not in error
    folder = Path("results", "runs", RunConfig(bits=16).run_id)
    kept = (folder / "failed.txt").read_text()
    assert said in kept and "line 399" in kept and "line 0\n" not in kept
    assert files_of(folder) == {"failed.txt", "log.txt", "01_train.partial.ipynb"}
    without_kernels(finish_run)
    assert relahash("sweep", "--bits", 16)[0] == 0
    assert "failed.txt" not in files_of(folder)


def test_an_interrupted_sweep_keeps_what_is_finished_and_the_same_command_goes_on(
    relahash, without_kernels, finish_run
):
    def interrupt_the_last(config, output):
        if config.bits == 64:
            raise KeyboardInterrupt
        finish_run(config)

    without_kernels(interrupt_the_last)
    code, _, error = relahash("sweep", "--bits", *BITS)
    assert code == 130 and error.strip() and "Traceback" not in error
    assert not Path("results", "runs", RunConfig(bits=64).run_id).exists()
    missing = [bits for bits in BITS if find_run(RunConfig(bits=bits)) is None]
    asked = without_kernels(finish_run)
    assert relahash("sweep", "--bits", *BITS)[0] == 0
    assert 16 not in missing and sorted(config.bits for config in asked) == missing


@pytest.mark.parametrize("place", ["/proc/none", "taken/results"], ids=["read-only", "a file is in the way"])
@pytest.mark.parametrize("command", ["sweep", "train"])
def test_a_place_that_cannot_be_written_is_a_line(command, place, relahash, without_kernels):
    Path("taken").write_text("", encoding="utf-8")
    asked = without_kernels(lambda config, output: None)
    code, _, error = relahash(command, "--results-dir", place)
    assert code == 1 and not asked
    assert place.split("/")[1] in error and "Traceback" not in error


def test_training_again_keeps_the_finished_run_and_its_notebook_until_it_is_done(relahash, without_kernels, finish_run):
    without_kernels(finish_run)
    assert relahash("train", "--bits", 16)[0] == 0
    folder = find_run(RunConfig(bits=16)).folder
    (folder / "log.txt").write_text("of a sweep", encoding="utf-8")
    before = {name: (folder / name).read_bytes() for name in files_of(folder)}

    def fail(config, output):
        raise PapermillExecutionError(1, 1, "", "ValueError", "broken", [])

    def interrupt(config, output):
        raise KeyboardInterrupt

    for action, expected in ((fail, 1), (interrupt, 130)):
        without_kernels(action)
        assert relahash("train", "--bits", 16)[0] == expected
        assert before == {name: (folder / name).read_bytes() for name in before}
    assert files_of(folder) == before.keys()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_is_said_before_the_training(number, relahash, without_kernels, monkeypatch):
    def refuse(path, content):
        raise OSError(number, os.strerror(number))

    asked = without_kernels(lambda config, output: None)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    for command in ("train", "sweep"):
        code, _, error = relahash(command, "--bits", 16)
        assert code == 1 and not asked and "results_dir" in error and os.strerror(number) in error


@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("charmap", "−", 0, 1, "character maps to <undefined>"),
        ValueError("of papermill"),
        KeyError("of Jupyter"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_while_a_run_goes_on_is_a_failed_run(error, relahash, without_kernels):
    def fail(config, output):
        raise error

    without_kernels(fail)
    code, _, said = relahash("train", "--bits", 16)
    assert code == 1 and type(error).__name__ in said and "Traceback" not in said
    code, _, said = relahash("sweep", "--bits", 16)
    assert code == 1 and list(Path("results").rglob("failed.txt"))


def test_an_error_that_an_interrupt_brings_about_is_the_interrupt(relahash, without_kernels):
    """As an event loop raises it, which Ctrl-C closes while a kernel starts."""

    def interrupt(config, output):
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("Invalid file descriptor: -1")

    without_kernels(interrupt)
    assert relahash("train", "--bits", 16)[0] == 130


# Without notebooks

QUICK = ("--dataset", "own:toy", "--recipe", "quick", "--image-size", "8", "--batch-size", "8", "--epochs", "1")


def test_runs_without_a_notebook_are_those_with_one_bit_for_bit(trained, relahash):
    """The second of two losses after one another in this process, and the run that the notebook made."""
    grid = ["--bits", 16, "--epochs", 1, "--image-size", 14, "--loss", "orthohash", "relahash", "--device", "cpu"]
    code, _, error = relahash("sweep", *grid, "--direct")
    assert code == 0, error
    config = RunConfig(bits=16, epochs=1, image_size=14)
    direct = find_run(config)
    executed = load_run(trained.results / "runs" / config.run_id)
    assert all(np.array_equal(direct.arrays[name], executed.arrays[name]) for name in executed.arrays)
    report = read_report(config)
    assert report["scores"] == read_report(config.replace(results_dir=str(trained.results)))["scores"]
    assert report["seconds"].keys() >= {"training", "encoding", "scoring"}
    assert not list(Path("results").rglob("*.ipynb")) and (direct.folder / "log.txt").read_text()


def test_a_run_without_a_notebook_that_fails_says_why_in_a_line(toy_module, relahash):
    code, printed, error = relahash("sweep", *QUICK, "--lr", "1e30", "1e-3", "--direct")
    assert code == 1 and "nan" in printed and "nan" in error and "Traceback" not in error
    (failed,) = Path("results").rglob("failed.txt")
    assert "nan" in failed.read_text() and not (failed.parent / "run.json").exists()
    assert len(list(Path("results").rglob("run.json"))) == 1


OWN_LOSSES = """

import sys

from torch import nn


class Good(nn.Module):
    def __init__(self, centroids):
        super().__init__()
        self.register_buffer("centroids", centroids)

    def forward(self, codes, targets):
        return (codes - targets.float() @ self.centroids).square().mean()


class NoKey(Good):
    def forward(self, codes, targets):
        return {}["nothing"]


class NoText(Good):
    def forward(self, codes, targets):
        raise ValueError


class NoEncoding(Good):
    def forward(self, codes, targets):
        raise RuntimeError("caf\\udce9 − ")


class NoMore(Good):
    def forward(self, codes, targets):
        sys.exit(3)


class NoMemory(Good):
    def forward(self, codes, targets):
        raise MemoryError
"""


def test_whatever_a_loss_of_one_s_own_raises_the_others_go_on(toy_module, relahash):
    toy_module(OWN_LOSSES)
    errors = {
        "NoKey": "KeyError",
        "NoText": "ValueError",
        "NoEncoding": "caf",
        "NoMore": "3",
        "NoMemory": "MemoryError",
    }
    losses = [f"own:{name}" for name in (*errors, "Good")]
    code, printed, error = relahash("sweep", *QUICK, "--loss", *losses, "--direct")
    assert code == 1 and "Traceback" not in printed + error and "5 of 6 runs failed" in error
    folders = {folder.name.split("-")[2]: folder for folder in Path("results", "runs").iterdir()}
    assert (folders.pop("own.Good") / "run.json").exists()
    for name, said in errors.items():
        kept = (folders[f"own.{name}"] / "failed.txt").read_text(encoding="utf-8")
        assert said in kept.splitlines()[0] and not (folders[f"own.{name}"] / "run.json").exists()
    assert "own.py:" in (folders["own.NoKey"] / "failed.txt").read_text(encoding="utf-8")  # where it was raised


def test_what_failed_is_forgotten_whoever_finishes_the_run(finish_run):
    folder = finish_run(RunConfig(bits=16))
    (folder / "failed.txt").write_text("of an earlier sweep", encoding="utf-8")
    assert "failed.txt" not in files_of(finish_run(RunConfig(bits=16)))


def test_a_full_disk_leaves_nothing_torn_and_names_the_file(toy_module):
    """A limit on the size of files stands in for a small disk: the log still fits, the codes do not."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))\n"
        "from relahash_nb.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "sweep", *QUICK, "--direct"]
    full = subprocess.run(command, capture_output=True, text=True)
    assert full.returncode == 1
    assert "codes.npz" in full.stderr and "Traceback" not in full.stderr
    (folder,) = Path("results", "runs").iterdir()
    assert not {"run.json", "codes.npz"} & files_of(folder)
    assert not list(folder.glob(".*codes.npz"))


# Several processes


def test_what_another_sweep_is_at_is_waited_for_and_refused_to_train(relahash, without_kernels, finish_run):
    config = RunConfig(bits=16)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    other = subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdout=subprocess.PIPE, text=True, env=environment)
    asked = without_kernels(finish_run)
    try:
        wait_for(lambda: "started" in other.stdout.readline())
        code, _, error = relahash("train", "--bits", 16)
        assert code == 1 and config.run_id in error and not asked
        threading.Timer(1, Path("go").touch).start()  # meanwhile this sweep does the others
        assert relahash("sweep", "--bits", *BITS)[0] == 0
        assert other.wait(60) == 0
    finally:
        other.kill()
    assert sorted(config.bits for config in asked) == [32, 64]
    assert len(list(Path("results").rglob("run.json"))) == 3


def test_what_a_notebook_in_jupyter_is_writing_is_waited_for(relahash, without_kernels, finish_run, tmp_path):
    config = RunConfig(bits=16)
    code = (
        "import sys; from relahash_nb.config import RunConfig; from relahash_nb.results import lock_run\n"
        "lock = lock_run(RunConfig(bits=16), None); print('locked', flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    asked = without_kernels(finish_run)
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as other:
        assert other.stdout.readline() == "locked\n"

        def finish():
            finish_run(config)  # as the notebook does
            other.stdin.close()

        threading.Timer(1, finish).start()
        code, printed, error = relahash("sweep", "--bits", 16, 32)
    assert code == 0, error
    assert [config.bits for config in asked] == [32] and "waiting for other processes" in printed
    assert not list(Path("results").rglob("failed.txt"))


class Data:
    """All that `lock_run` asks of a data set."""

    def __init__(self, fingerprint="0"):
        self.fingerprint = lambda: fingerprint


def test_a_run_has_one_writer_whose_files_an_interrupted_process_leaves(relahash, without_kernels):
    """A notebook in Jupyter holds the run, while `relahash train` on the same run is interrupted."""

    def interrupt(config, output):
        raise KeyboardInterrupt

    config = RunConfig(bits=16)
    code = (
        "import time; from relahash_nb.config import RunConfig; from relahash_nb.results import lock_run\n"
        "lock = lock_run(RunConfig(bits=16), None); print('locked', flush=True); time.sleep(60)"
    )
    folder = Path("results", "runs", config.run_id)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError):
            lock_run(config, Data(), seconds=0.1)
        locks = [lock_run(RunConfig(bits=32), Data(), seconds=0.1)]
        (folder / "log.txt").write_text("of the notebook in Jupyter")
        without_kernels(interrupt)
        assert relahash("train", "--bits", 16)[0] == 130
        assert "log.txt" in files_of(folder)
        other.kill()
        other.wait()
    locks.append(lock_run(config, Data(), seconds=10))  # a dead process does not hold it
    locks.append(lock_run(config, Data(), seconds=0.1))  # and the same process may ask again


def test_a_run_on_other_data_is_not_taken_for_this_one_nor_written_over(finish_run, tmp_path):
    """Two folders with one last name give one run id."""
    configs = []
    for place in ("a", "b"):
        (tmp_path / place / "images").mkdir(parents=True)
        configs.append(RunConfig(dataset="folder", root=str(tmp_path / place / "images")))
    first, second = configs
    assert first.run_id == second.run_id
    finish_run(first)
    assert find_run(first) is not None and find_run(second) is None
    lock = lock_run(first, Data(read_report(first)["data"]["fingerprint"]))
    with pytest.raises(ValueError):
        lock_run(second, Data("another"))
    del lock


@pytest.mark.parametrize("error", [NotImplementedError("flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_mount_without_locks_is_served_and_said(error, toy_module, relahash, monkeypatch, tmp_path):
    def no_locks(self, **options):
        raise error

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    code, printed, _ = relahash("sweep", *QUICK, "--finetune", "False", "--data-dir", tmp_path / "cache", "--direct")
    assert code == 0 and printed.count("no file locks") == 1
    (folder,) = Path("results", "runs").iterdir()
    log = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    places = [line.partition(":")[0] for line in log if "no file locks" in line]
    assert (folder / "run.json").exists() and places == [f"{tmp_path}/cache/features", str(folder)]

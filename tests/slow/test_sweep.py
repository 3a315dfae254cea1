"""Sweeps with real kernels that fail, and a sweep that is interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relahash_nb.config import RunConfig
from relahash_nb.results import Run, load_run

pytestmark = pytest.mark.slow
TINY = ["--epochs", "1", "--image-size", "14"]
FAILING = """
import os, time


def raises(config):
    raise ValueError("no such data")


def hangs(config):
    time.sleep(600)


def dies(config):
    os.kill(os.getpid(), 9)


def starves(config):
    return bytearray(1 << 60)
"""


def command(*arguments):
    return [sys.executable, "-m", "relahash_nb.cli", "sweep", *TINY, *map(str, arguments)]


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_failing_runs_do_not_stop_the_others(toy_module):
    """One raises, one runs out of time, one's kernel dies, one works; the end says what failed and how to retry it."""
    toy_module(FAILING)
    names = [f"own:{name}" for name in ("raises", "hangs", "dies", "starves", "toy")]
    quick = ["--recipe", "quick", "--batch-size", "8", "--minutes", "0.5"]
    done = subprocess.run(command("--dataset", *names, *quick), capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for said in ("ValueError: no such data", "minutes", "kernel died", "MemoryError"):
        assert said in done.stdout and said in done.stderr
    folders = {folder.name.split("-")[0]: folder for folder in Path("results", "runs").iterdir()}
    for name in ("own.raises", "own.hangs", "own.dies", "own.starves"):
        assert name.replace(".", ":") in done.stderr
        assert {"failed.txt", "log.txt", "01_train.partial.ipynb"} <= {file.name for file in folders[name].iterdir()}
        assert not (folders[name] / "run.json").exists()
    assert isinstance(load_run(folders["own.toy"]), Run)


def test_ctrl_c_stops_at_once_leaves_no_half_result_and_the_same_command_goes_on(tmp_path, finish_run):
    results = tmp_path / "results"
    done = finish_run(RunConfig(bits=16, epochs=1, image_size=14, results_dir=str(results)))
    sweep = command("--bits", 16, 20)
    process = subprocess.Popen(
        sweep,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: list(results.glob("runs/*20bits*/*.ipynb")))
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.strip() and "Traceback" not in error
    assert [folder.name for folder in (results / "runs").iterdir()] == [done.name]
    before = (done / "run.json").read_bytes()
    again = subprocess.run(sweep, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (done / "run.json").read_bytes() == before
    assert len(list(results.glob("runs/*/run.json"))) == 2

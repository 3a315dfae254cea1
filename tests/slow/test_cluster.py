"""Runs on a Dask cluster: a local one, and one whose scheduler and worker were started by hand."""

import importlib.util
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HAS_DASK = importlib.util.find_spec("distributed") is not None
pytestmark = [pytest.mark.server, pytest.mark.skipif(not HAS_DASK, reason="the extra [cluster] is not installed")]
# Dask has its workers give freed memory back at once, which halves the speed of a kernel that inherits it.
CAREFUL = """


def careful(config):
    import os

    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    return toy(config)
"""
QUICK = ["--dataset", "own:careful", "--recipe", "quick", "--image-size", "8", "--batch-size", "8", "--epochs", "1"]


def sweep(*arguments):
    command = [sys.executable, "-m", "relahash_nb.cli", "sweep", *QUICK, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def finished():
    return sorted(path.parent.name.split("-")[1] for path in Path("results").glob("runs/*/run.json"))


def test_the_workers_of_a_local_cluster_share_the_runs_and_a_failure_is_one_of_them(toy_module):
    toy_module(CAREFUL)
    done = sweep("--bits", "16", "24", "--lr", "1e-3", "1e30", "--workers", "2")
    assert done.returncode == 1 and "nan" in done.stderr and "Traceback" not in done.stderr
    assert finished() == ["16bits", "24bits"]
    assert len(list(Path("results").glob("runs/*/failed.txt"))) == 2


def test_a_scheduler_s_workers_do_the_runs(toy_module, tmp_path):
    toy_module(CAREFUL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = ["scheduler", "--host", address, "--no-dashboard", "--scheduler-file", "scheduler.json"]
    worker = ["worker", address, "--nthreads", "1", "--resources", "GPU=1", "--no-dashboard"]
    with (tmp_path / "dask.log").open("w") as log:
        processes = [subprocess.Popen([*dask, *words], stdout=log, stderr=log) for words in (scheduler, worker)]
    try:
        end = time.monotonic() + 60
        while not Path("scheduler.json").exists():
            assert time.monotonic() < end, (tmp_path / "dask.log").read_text()
            time.sleep(0.2)
        done = sweep("--bits", "16", "--scheduler", address)
        assert done.returncode == 0, done.stderr
        assert finished() == ["16bits"]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)

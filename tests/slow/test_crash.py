"""A sweep killed at twenty moments ends in the results of an undisturbed one, and no run is completed twice."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from relahash_nb.results import load_run

GRID = [
    "--bits",
    "16",
    "24",
    "32",
    "--seed",
    "0",
    "1",
    "--epochs",
    "5",
    "--image-size",
    "14",
    "--checkpoint-minutes",
    "0.001",
]
KILLS = 20
# One thread, since the last bits of a sum depend on their number, and Dask gives its workers one each.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "relahash_nb.cli", "sweep", *GRID, "--results-dir", str(folder), *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of every finished run."""
    runs = [load_run(path) for path in sorted((folder / "runs").iterdir())]
    return {run.folder.name: run.arrays for run in runs if run is not None}


def victims(process: psutil.Process, what: str) -> list[psutil.Process]:
    """The sweep itself, the kernels below it, or its Dask workers."""
    if what == "sweep":
        return [process]
    word = {"kernel": "ipykernel_launcher", "worker": "spawn_main"}[what]
    return [child for child in process.children(recursive=True) if word in " ".join(child.cmdline())]


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    assert start(tmp_path / "calm").wait() == 0
    calm = outcome(tmp_path / "calm")
    assert len(calm) == 6
    chance = random.Random(0)
    stormy, completed, killed = tmp_path / "stormy", {}, {"sweep": 0, "kernel": 0, "worker": 0}
    while sum(killed.values()) < KILLS:
        what = list(killed)[sum(killed.values()) % 3]
        process = start(stormy, *(["--workers", "2"] if what == "worker" else []))
        time.sleep(chance.uniform(4, 14))
        try:
            chosen = victims(psutil.Process(process.pid), what)
            if chosen:
                chance.choice(chosen).kill()
                killed[what] += 1
                time.sleep(chance.uniform(0, 2))  # sometimes the next sweep meets what the last one has left
            psutil.Process(process.pid).kill()
        except psutil.NoSuchProcess:
            pass
        process.wait()
        for path in (stormy / "runs").glob("*/run.json"):
            completed.setdefault(path, path.read_bytes())
        if len(completed) == 6:  # all done before the kills are used up: one is taken away, to go on with
            path = chance.choice(sorted(completed))
            path.unlink()
            del completed[path]
    last = start(stormy)
    assert last.wait() == 0, last.stdout.read()
    for path, text in completed.items():
        assert path.read_bytes() == text, f"{path} was written twice"
    assert min(killed.values()) >= 6
    ended = outcome(stormy)
    assert ended.keys() == calm.keys()
    for name, arrays in calm.items():
        for key, array in arrays.items():
            assert np.array_equal(array, ended[name][key]), (name, key)
    assert not list(stormy.glob("runs/*/checkpoint*"))

"""A sweep killed at twenty moments ends in the results of an undisturbed one, and no run is completed twice."""

import itertools
import os
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from relahash_nb.results import load_run

GRID = shlex.split("--bits 16 24 32 --seed 0 1 --epochs 12 --image-size 14 --checkpoint-minutes 0.001")
KILLS = 20
# One thread, since the last bits of a sum depend on their number, and Dask gives its workers one each.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
KERNEL, WORKER = "ipykernel_launcher", "spawn_main"  # in the command lines of a kernel and of a Dask worker


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "relahash_nb.cli", "sweep", *GRID, "--results-dir", str(folder), *arguments]
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)


def outcome(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of every finished run."""
    runs = [load_run(path) for path in sorted((folder / "runs").iterdir()) if (path / "run.json").exists()]
    return {run.folder.name: run.arrays for run in runs}


def below(process: psutil.Process, word: str) -> list[psutil.Process]:
    """The processes started by it whose command line has a word."""
    return [child for child in process.children(recursive=True) if word in " ".join(child.cmdline())]


def kill_one(sweep: subprocess.Popen, what: str, chance: random.Random) -> bool:
    """Kills the sweep, a kernel or a worker at a random moment after a kernel has started; whether it came to that."""
    try:
        process = psutil.Process(sweep.pid)
        while not below(process, KERNEL):
            time.sleep(0.1)
        time.sleep(chance.uniform(0, 12))
        victims = [process] if what == "sweep" else below(process, KERNEL if what == "kernel" else WORKER)
        if not victims or sweep.poll() is not None:
            return False
        chance.choice(victims).kill()
    except psutil.NoSuchProcess:
        return False  # it had come to its end
    return True


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    calm_folder = tmp_path / "calm"
    assert start(calm_folder).wait() == 0
    calm = outcome(calm_folder)
    assert len(calm) == 6
    chance, kills = random.Random(0), 0
    whats = itertools.cycle(["sweep", "kernel", "worker"])
    for storm in itertools.count():  # where all runs are done before the kills are used up, another folder is begun
        folder, completed = tmp_path / f"storm{storm}", {}
        while kills < KILLS and len(completed) < 6:
            what = next(whats)
            sweep = start(folder, *(["--workers", "2"] if what == "worker" else []))
            killed = kill_one(sweep, what, chance)
            kills += killed
            print(f"storm {storm}, kill {kills}: {what if killed else 'nothing'}, {len(completed)} runs complete")
            if what != "sweep":
                time.sleep(chance.uniform(0, 5))  # for what is left to notice the loss, and to go on
            sweep.kill()  # its kernels outlive it for a moment; the next sweep may meet them
            sweep.wait()
            for path in folder.glob("runs/*/run.json"):
                text = completed.setdefault(path, path.read_bytes())
                assert path.read_bytes() == text, f"{path} was written twice"
        assert start(folder).wait() == 0, (tmp_path / f"{folder.name}.log").read_text()
        for path, text in completed.items():
            assert path.read_bytes() == text, f"{path} was written twice"
        stormy = outcome(folder)
        assert stormy.keys() == calm.keys()
        for name, arrays in calm.items():
            for key, array in arrays.items():
                assert np.array_equal(array, stormy[name][key]), (name, key)
        assert not list(folder.glob("runs/*/checkpoint*"))
        if kills >= KILLS:
            return

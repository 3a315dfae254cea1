"""Two writers and a reader of one index are killed twenty times: nothing that was kept is lost; the rest follows."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relahash_search.index import Index
from tests.search_data import draw, list_files, nearest_by_hand, tiny_model

ROOT = Path(__file__).parents[2]
KILLS = 20
WRITER = """
import sys
from relahash_search import reading
from relahash_search.index import Index
reading.COMMIT = 2
index = Index(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
index.update(sys.argv[2])
"""
READER = """
import sys
from relahash_search.index import Index
index = Index(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
count = 0
while True:
    assert len(index) >= count  # what was kept stays
    count = len(index)
    found = index.search(sys.argv[2], 12)
    assert len(found) >= min(12, count)
    assert len({match.path for match in found}) == len(found)
    assert [match.distance for match in found] == sorted(match.distance for match in found)
"""


def start(code: str, location: str, path: Path) -> subprocess.Popen:
    """A process that is ready to begin."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", code, location, path], stdin=pipe, stdout=pipe, stderr=pipe, env=environment, text=True
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


@pytest.mark.slow
def test_twenty_kills_of_two_writers_and_a_reader(location, tmp_path):
    folder = draw(tmp_path / "photos", 600)
    halves = [folder / "a", folder]  # what one reads, the other may have kept
    query = list_files(folder)[7]
    Index.begin(location, tiny_model()).update(draw(tmp_path / "more", 2, seed=1))
    chance = random.Random(0)
    count = 0
    for kill in range(KILLS):
        processes = [start(WRITER, location, half) for half in halves] + [start(READER, location, query)]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(chance.uniform(0, 1.5))
        chance.shuffle(processes)
        for process in processes:
            process.send_signal(signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.1))
        for process in processes:
            code = process.wait()
            errors = process.stderr.read()
            assert code in (-signal.SIGKILL, 0) or "the same command again goes on" in errors, errors
        found = len(Index(location))
        print(f"kill {kill + 1}: {found} pictures")
        assert found >= count
        count = found
    assert count > 2
    index = Index(location)
    index.update(folder)
    assert index.remove(tmp_path / "more") == 2
    assert [folder.place for folder in index.tables.folders()] == [str(folder)]
    paths, _ = index.codes()
    assert paths == [str(file) for file in list_files(folder)]
    for file in list_files(folder)[::97]:
        assert [(match.distance, match.path) for match in index.search(file, 12)] == nearest_by_hand(folder, file, 12)

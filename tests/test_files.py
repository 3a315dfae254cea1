"""A file is there whole, or as it was before; a folder is tried before the work; a drive without locks is served."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import Timeout

from relahash_nb import files
from relahash_nb.files import check_writable, lock_file, timed, write

NO_FLOCK = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int operation) { errno = atoi(getenv("NO_FLOCK")); return -1; }
"""
LOCK = """
from pathlib import Path
from relahash_nb.files import lock_file
with lock_file(Path("work.lock"), unguarded="take care") as is_locked:
    print(is_locked)
"""


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(temporary):
        temporary.write_text("ne")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(path, half)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [FileExistsError, PermissionError])
def test_a_mount_that_renames_over_no_existing_file_is_served(error, tmp_path, monkeypatch):
    def refuse(self, target):
        if Path(target).exists():
            raise error(f"cannot rename over {target}")
        return self.rename(target)

    monkeypatch.setattr(Path, "replace", refuse)
    path = tmp_path / "table.csv"
    for text in ("old", "new"):
        write(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]


def test_the_seconds_of_a_stage_add_up_in_the_caller_s_dict():
    seconds = {}
    for _ in range(2):
        with timed(seconds, "encoding"):
            time.sleep(0.01)
    assert seconds.keys() == {"encoding"} and seconds["encoding"] >= 0.02


# A disk that is full, or can only be read


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_is_written_to_before_the_work(number, tmp_path, monkeypatch):
    def refuse(path, content):
        raise OSError(number, os.strerror(number))

    check_writable(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir() and not list((tmp_path / "new" / "folder").iterdir())
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError) as error:
        check_writable(tmp_path / "full")
    assert error.value.errno == number and error.value.filename == str(tmp_path / "full")
    assert not list((tmp_path / "full").iterdir())


def test_a_limit_on_the_size_of_files_is_a_disk_that_is_full(tmp_path):
    resource = pytest.importorskip("resource")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from relahash_nb.cli import main; sys.exit(main())"
    )
    assert resource.RLIM_INFINITY
    command = [sys.executable, "-c", code, "train", "--bits", "16"]
    full = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert full.returncode == 1 and full.stderr.count("\n") == 1
    assert "results_dir" in full.stderr and not list(tmp_path.rglob("*.ipynb"))


# Locks


@pytest.mark.parametrize("number", sorted(files.NO_LOCKS))
def test_a_drive_without_locks_is_served_and_a_line_says_what_is_not_guarded(number, tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_file(tmp_path / "work.lock", unguarded="take care") as is_locked:
        printed = capsys.readouterr().out
    if number != errno.ENOSYS or not is_locked:  # newer versions of filelock lock by the file itself then
        assert printed.count("\n") == 1 and "take care" in printed and str(tmp_path) in printed


def test_what_is_no_lack_of_locks_is_an_error(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output"), lock_file(tmp_path / "work.lock", unguarded="take care"):
        pass


@pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs a C compiler on Linux"
)
def test_a_system_without_locks_is_served(tmp_path):
    (tmp_path / "no_flock.c").write_text(NO_FLOCK, encoding="utf-8")
    library = tmp_path / "no_flock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "no_flock.c"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "NO_FLOCK": str(errno.EOPNOTSUPP)}
    environment["PYTHONPATH"] = str(Path(files.__file__).parent.parent)
    command = [sys.executable, "-c", LOCK]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    said, is_locked = done.stdout.splitlines()
    assert "take care" in said and is_locked == "False"


def test_another_process_s_lock_is_waited_for_or_refused(tmp_path, capsys):
    code = LOCK + "    import sys; sys.stdout.flush(); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parent.parent)}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, **pipes) as other:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(Timeout), lock_file(tmp_path / "work.lock"):
            pass
        other.stdin.close()
        with lock_file(tmp_path / "work.lock", waiting="waiting") as is_locked:
            assert is_locked
    assert capsys.readouterr().out in ("", "waiting\n")

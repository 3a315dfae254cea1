#!/usr/bin/env bash
# On a drive without file locks, filelock raises an error or takes another kind of lock, depending on the error's number.
# Expected: one behaviour for the three numbers by which a drive says so: ENOLCK, EOPNOTSUPP, ENOSYS.
# Seen: with ENOSYS the lock becomes the existence of a file, which a killed process leaves behind; the others raise.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: filelock==4.0.8
"$folder/venv/bin/python" - "$folder" <<'PY'
import errno
import fcntl
import sys
import warnings
from importlib import metadata
from pathlib import Path

import filelock

seen = {}
for name in ("ENOLCK", "EOPNOTSUPP", "ENOSYS"):

    def refuse(*arguments, number=getattr(errno, name)):  # as the system call does on such a drive
        raise OSError(number, name)

    fcntl.flock = refuse
    lock = filelock.FileLock(Path(sys.argv[1], f"{name}.lock"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            lock.acquire(timeout=0)
            seen[name] = f"is held: {lock.is_locked}, {type(lock).__name__}, {len(said)} warning"
        except Exception as error:
            seen[name] = f"{type(error).__name__}"
print("filelock", metadata.version("filelock"))
for name, what in seen.items():
    print(f"{name}: {what}")
assert "True" in seen["ENOSYS"] and "True" not in seen["ENOLCK"] + seen["EOPNOTSUPP"], "one behaviour now"
PY

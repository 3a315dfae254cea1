#!/usr/bin/env bash
# NumKong's hamming of uint8 arrays counts bytes that differ, and its dtype 'u1' does too.
# Expected: bits, as for a packed code, at least with dtype='u1', which its help text lists for bits.
# Seen: bytes, without a warning; only dtype='uint1' counts bits.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 numkong==7.8.6
"$folder/venv/bin/python" - <<'PY'
import numkong
import numpy as np

first = np.array([0, 0, 255], dtype=np.uint8)
second = np.array([1, 0, 0], dtype=np.uint8)
bits = int(np.bitwise_count(first ^ second).sum())
found = {name: int(numkong.hamming(first, second, name)) for name in ("u1", "uint1")}
default = int(numkong.hamming(first, second))
print("numkong", numkong.__version__)
print(f"bits that differ: {bits}; hamming: {default}; with 'u1': {found['u1']}; with 'uint1': {found['uint1']}")
assert (bits, default, found["u1"], found["uint1"]) == (9, 2, 2, 9)
PY

#!/usr/bin/env bash
# NumPy's packbits takes codes of -1 and +1 and sets every bit.
# Expected: an error, or a bit for each +1.
# Seen: -1 is not zero, so it is a set bit: all codes become equal, and every distance is 0.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np

codes = np.array([[-1, 1, -1, -1, 1, 1, 1, -1], [1, -1, 1, 1, -1, -1, -1, 1]], dtype=np.int8)
packed = np.packbits(codes, axis=1)
distance = int(np.bitwise_count(packed[0] ^ packed[1]).sum())
right = np.packbits(codes > 0, axis=1)
print("numpy", np.__version__)
print("two opposite codes of 8 bits:", codes.tolist())
print("packbits(codes):", packed.ravel().tolist(), "Hamming distance", distance)
print("packbits(codes > 0):", right.ravel().tolist(), "Hamming distance", int(np.bitwise_count(right[0] ^ right[1]).sum()))
assert packed.ravel().tolist() == [255, 255] and distance == 0
PY

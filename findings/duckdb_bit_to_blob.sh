#!/usr/bin/env bash
# DuckDB pads a bit string on the left when it becomes a BLOB; NumPy's packbits pads on the right.
# Expected: the bytes of numpy.packbits, and the same bit string after the way back.
# Seen: other bytes, and 12 bits come back as 16; codes of both routes in one table are compared with a shift of 4 bits.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 duckdb==2.0.1
"$folder/venv/bin/python" - <<'PY'
import duckdb
import numpy as np

bits = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0], dtype=np.uint8)
text = "".join(map(str, bits))
question = f"SELECT '{text}'::BIT::BLOB, '{text}'::BIT::BLOB::BIT::VARCHAR"
blob, back = duckdb.connect().execute(question).fetchone()
packed = np.packbits(bits).tobytes()
print("duckdb", duckdb.__version__, "numpy", np.__version__)
print(f"{text}: DuckDB {blob.hex()}, packbits {packed.hex()}, back as a bit string {back}")
assert blob.hex() == "0b2e" and packed.hex() == "b2e0" and back == "0000" + text
PY

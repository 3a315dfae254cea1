#!/usr/bin/env bash
# NumPy's bitwise_count of signed integers counts the bits of the absolute value.
# Expected: the set bits of the stored word, 64 for -1, as PostgreSQL, DuckDB and a processor's popcnt give.
# Seen: 1 for -1. Codes of 64 bits that were read as int64 get wrong Hamming distances wherever the highest bits differ.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 duckdb==2.0.1
"$folder/venv/bin/python" - <<'PY'
import duckdb
import numpy as np

generator = np.random.default_rng(0)
codes = generator.integers(0, 2**64, 1000, dtype=np.uint64)
xor = codes[:500] ^ codes[500:]
right = np.bitwise_count(xor).astype(int)
signed = np.bitwise_count(xor.view(np.int64)).astype(int)
database = duckdb.connect().execute("SELECT bit_count((-1)::BIGINT)").fetchone()[0]
wrong = int((right != signed).sum())
print("numpy", np.__version__, "duckdb", duckdb.__version__)
print("bit_count(-1): numpy int64", int(np.bitwise_count(np.int64(-1))), "- DuckDB BIGINT", database)
print(f"{wrong} of 500 distances of random 64-bit codes are wrong as int64, by up to {int(np.abs(right - signed).max())} bits")
assert int(np.bitwise_count(np.int64(-1))) == 1 and database == 64
assert 200 < wrong < 300
PY

#!/usr/bin/env bash
# usearch's exact search gives other ids after the same codes were added once more.
# Expected: exact=True compares with every code, so two equal builds give equal answers.
# Seen: threads add in any order, and ties follow it: nearly every build gives other ids, and never the lowest ones; threads=1 repeats.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 usearch==2.26.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import usearch
from usearch.index import Index

codes = np.random.default_rng(0).integers(0, 16, (20_000, 1), dtype=np.uint8)  # 16 different codes


def ask(threads):
    index = Index(ndim=8, metric="hamming", dtype="b1")
    index.add(np.arange(len(codes)), codes, threads=threads)
    return tuple(index.search(codes[:1], 10, exact=True).keys.tolist())


several = {ask(2) for _ in range(8)}
single = {ask(1) for _ in range(3)}
lowest = np.flatnonzero(codes[:, 0] == codes[0, 0])[:10].tolist()
print("usearch", usearch.__version__)
print("different answers of 8 builds by two threads:", len(several), "- of 3 builds by one thread:", len(single))
print("one thread:", list(next(iter(single))), "- the lowest ids at distance 0:", lowest)
assert len(several) > 1 and len(single) == 1
assert list(next(iter(single))) != lowest
PY

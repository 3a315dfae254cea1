#!/usr/bin/env bash
# ranx orders tied documents by how many there are: up to 15 as inserted, above that as its sort leaves them.
# Expected: one rule for ties, by id or by insertion.
# Seen: a relevant document that was inserted first among tied ones has average precision 1.0 in a list of 15 and 0.0667 in one of 16.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 ranx==0.3.21
"$folder/venv/bin/python" - <<'PY'
import ranx
from importlib.metadata import version
from ranx import Qrels, Run, evaluate

qrels = Qrels({"query": {"relevant": 1}})


def average_precision(count, first):
    others = {f"d{number:03d}": 1.0 for number in range(count - 1)}
    documents = {"relevant": 1.0} | others if first else others | {"relevant": 1.0}
    return float(evaluate(qrels, Run({"query": documents}), "map"))


found = {count: (average_precision(count, True), average_precision(count, False)) for count in (10, 15, 16, 17, 100)}
print("ranx", version("ranx"))
for count, (first, last) in found.items():
    print(f"{count} tied documents: average precision {first:.4f} if the relevant one was inserted first, {last:.4f} if last")
assert found[10] == (1.0, 0.1) and found[15][0] == 1.0
assert found[16][0] < 0.5
PY

#!/usr/bin/env bash
# pytrec_eval breaks ties by the text of the document ids, so numbering from 9 changes the score.
# Expected: equal scores give one average precision, whatever the documents are called.
# Seen: twelve tied documents, the first relevant: 1.0 if they are numbered from 9, 0.0833 if from 0: ids are compared as text, the highest first.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 pytrec-eval-terrier==0.5.11
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import pytrec_eval


def average_precision(first):
    ids = [str(number) for number in range(first, first + 12)]
    qrels = {"query": {name: int(name == ids[0]) for name in ids}}
    run = {"query": dict.fromkeys(ids, 1.0)}
    return pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(run)["query"]["map"]


found = {first: round(average_precision(first), 4) for first in (0, 5, 9, 100)}
print("pytrec-eval-terrier", version("pytrec-eval-terrier"))
for first, value in found.items():
    print(f"documents {first} to {first + 11}, all tied, the first one relevant: average precision {value}")
assert found[0] == 0.0833 and found[9] == 1.0
PY

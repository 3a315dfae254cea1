#!/usr/bin/env bash
# Chroma does not find a code that it holds 150 times.
# Expected: a hundred rows at distance 0 for each class code of a perfect hash: 100 codes, each 150 times.
# Seen: for some codes no row is at distance 0, for some fewer than a hundred rows come back; how many varies by build. Each code once: all found.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 chromadb==1.5.9
"$folder/venv/bin/python" - <<'PY'
import chromadb
import numpy as np

classes = np.random.default_rng(0).integers(0, 2, (100, 64)).astype(np.float32)
client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))


def nearest(name, rows):
    collection = client.create_collection(name, configuration={"hnsw": {"space": "l2"}})
    for start in range(0, len(rows), 5000):
        part = rows[start : start + 5000]
        collection.add(ids=[str(start + i) for i in range(len(part))], embeddings=part)
    found = collection.query(query_embeddings=classes, n_results=min(100, len(rows)), include=["distances"])
    return [row[0] if row else None for row in found["distances"]], [len(row) for row in found["distances"]]


repeated, rows = nearest("repeated", np.repeat(classes, 150, axis=0))
distinct, _ = nearest("distinct", classes)
missed = [distance for distance in repeated if distance != 0]
print("chromadb", chromadb.__version__)
print(f"each code 150 times: for {len(missed)} of 100 codes the nearest row is at distance {missed}")
print(f"rows for 100 asked: {min(rows)} to {max(rows)}")
print("each code once: nearest distances", set(distinct))
assert missed and set(distinct) == {0.0}
PY

#!/usr/bin/env bash
# A matrix product gives equal items different scores: ties of a ranking by cosine are broken by where an item stands.
# Expected: columns that are equal bit by bit give equal products within one call.
# Seen: a query's scores of seven copies of one item take two values, for some numbers of copies and dimensions.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np

generator = np.random.default_rng(0)
print("numpy", np.__version__)
shown = []
for kind, bits in ((np.float64, 64), (np.float32, 512), (np.float32, 1280)):
    queries = generator.standard_normal((9, bits)).astype(kind)
    item = generator.standard_normal(bits).astype(kind)
    for copies in range(2, 40):
        scores = queries @ np.tile(item, (copies, 1)).T  # (9, copies): each row should hold one number
        values = max(len(np.unique(row)) for row in scores)
        if values > 1:
            shown.append((kind.__name__, bits, copies, values))
            break
for kind, bits, copies, values in shown:
    print(f"{kind}, {bits} dimensions: {copies} copies of an item have {values} different scores for a query")
assert shown, "equal items have equal scores now, or on this processor"
PY

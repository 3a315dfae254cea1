#!/usr/bin/env bash
# A float32 matrix product of a row alone differs from the same row in a batch.
# Expected: the same numbers: a row's result does not depend on the rows beside it.
# Seen: nine results of ten differ in their last digits; signs flip only where a result is within 1e-4 of zero: none of 1.3 million here.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np

generator = np.random.default_rng(0)
weights = generator.standard_normal((512, 64), dtype=np.float32)
features = generator.standard_normal((20_000, 512), dtype=np.float32)
batch = features @ weights
alone = np.concatenate([row[None] @ weights for row in features])
differ = float((batch != alone).mean())
flipped = int(((batch >= 0) != (alone >= 0)).sum())
print("numpy", np.__version__)
print(f"{100 * differ:.1f} % of {batch.size:,} results differ, by at most {np.abs(batch - alone).max():.1e}; {flipped} signs flip")
assert differ > 0.01, "the same numbers now, or on this processor"
PY

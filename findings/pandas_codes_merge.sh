#!/usr/bin/env bash
# A pandas merge turns uint64 codes into floats when one row has no partner, and their low bits are lost.
# Expected: a missing value, and the other codes as they were.
# Seen: float64 without a warning: up to 11 of the 64 bits of every code are rounded away, also of those that had a partner.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 pandas==3.0.0
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import pandas as pd

codes = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
stored = pd.DataFrame({"picture": np.arange(1000), "code": codes})
asked = pd.DataFrame({"picture": np.arange(1001)})  # one picture more than there are codes
merged = asked.merge(stored, how="left")
rounded = np.array([int(value) % 2**64 for value in merged["code"][:1000]], dtype=np.uint64)
wrong = np.bitwise_count(rounded ^ codes)
print("pandas", pd.__version__)
print(f"uint64 becomes {merged['code'].dtype}; {int((wrong > 0).sum())} of 1000 codes changed, by {wrong.mean():.1f} bits on average")
whole = asked.merge(stored.astype({"code": "UInt64"}), how="left")["code"]
print("as UInt64:", int((whole[:1000].to_numpy(dtype=np.uint64) != codes).sum()), "changed")
assert str(merged["code"].dtype) == "float64" and (wrong > 0).mean() > 0.99
PY

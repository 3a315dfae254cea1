#!/usr/bin/env bash
# FAISS's binary range_search keeps only distances below the radius, not at it.
# Expected: radius 0 finds the equal codes, as OpenCV's radiusMatch finds what lies at its radius.
# Seen: radius 0 finds nothing, not even the code itself; radius r + 1 is needed for all within r.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 faiss-cpu==1.15.1 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PY'
import cv2
import faiss
import numpy as np

codes = np.random.default_rng(0).integers(0, 256, (2000, 8), dtype=np.uint8)
index = faiss.IndexBinaryFlat(64)
index.add(codes)
distances = np.bitwise_count(codes[:1] ^ codes).sum(1)
radius = int(np.sort(distances)[5])
counts = {r: int(index.range_search(codes[:1], r)[0][1]) for r in (0, 1, radius, radius + 1)}
opencv = len(cv2.BFMatcher(cv2.NORM_HAMMING).radiusMatch(codes[:1], codes, maxDistance=radius)[0])
print("faiss", faiss.__version__, "opencv", cv2.__version__)
print("rows by radius:", counts, f"- items within {radius}: {int((distances <= radius).sum())}, OpenCV's radiusMatch({radius}): {opencv}")
assert counts[0] == 0 and counts[1] == 1
assert counts[radius] == (distances < radius).sum() < (distances <= radius).sum() == counts[radius + 1] == opencv
PY

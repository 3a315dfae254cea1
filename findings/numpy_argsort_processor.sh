#!/usr/bin/env bash
# NumPy's argsort and argpartition break ties by the processor's instruction set.
# Expected: ties in some fixed order: one program, one input, one answer.
# Seen: three orders, and three sets of the first 100, with AVX-512, with AVX2 and with neither: average precision at 100 is .59, .47 or .54.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6
cat > "$folder/rank.py" <<'PY'
import numpy as np

generator = np.random.default_rng(0)
distances = generator.integers(0, 17, 5000)
relevant = generator.random(5000) < np.where(distances < 6, 0.5, 0.1)
order = np.argsort(distances)
first = np.sort(np.argpartition(distances, 100)[:100])
hits = relevant[order][:100]
precision = (np.cumsum(hits) / np.arange(1, 101))[hits].mean()
print("first ids", order[:4].tolist(), "of the partition", first[:4].tolist(), f"AP@100 {precision:.4f}")
PY
run() { NPY_DISABLE_CPU_FEATURES="$1" "$folder/venv/bin/python" -W ignore "$folder/rank.py"; }
"$folder/venv/bin/python" -c 'import numpy; print("numpy", numpy.__version__)'
all=$(run "")
avx2=$(run "X86_V4 AVX512_ICL AVX512_SPR")
neither=$(run "X86_V4 AVX512_ICL AVX512_SPR X86_V3")
echo "all instructions: $all"
echo "without AVX-512:  $avx2"
echo "without AVX2 too: $neither"
[ "$avx2" != "$neither" ] || { echo "the same order: NumPy changed, or this processor has no AVX2"; exit 1; }

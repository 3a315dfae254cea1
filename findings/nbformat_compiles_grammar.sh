#!/usr/bin/env bash
# Reading a notebook with nbformat compiles a grammar of web addresses first, if JupyterLab is installed beside it.
# Expected: the import takes as long as without JupyterLab, since no address is looked at.
# Seen: jupyter-events asks for jsonschema's formats; jsonschema then imports rfc3987-syntax, which parses its grammar with
# lark at the import: .1 s become one to two, in every process that executes a notebook by papermill or nbclient.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() {
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "$@"
}
look() {
  "$folder/venv/bin/python" - "$1" <<'PY'
import subprocess
import sys
import time
from importlib.metadata import version

subprocess.run([sys.executable, "-c", "import nbformat"], check=True)  # compiled to bytecode
start = time.perf_counter()
names = "import sys, nbformat; print('lark' in sys.modules)"
lark = subprocess.run([sys.executable, "-c", names], check=True, capture_output=True, text=True).stdout.strip()
seconds = time.perf_counter() - start
print(f"{sys.argv[1]}: nbformat {version('nbformat')}, jsonschema {version('jsonschema')}: {seconds:.2f} s, lark imported: {lark}")
assert lark == {"alone": "False", "with jupyter-events": "True"}[sys.argv[1]]
PY
}
install nbformat==5.11.1 jsonschema==4.26.0
look alone
install jupyter-events==0.12.1 rfc3987-syntax==1.1.0
look "with jupyter-events"

#!/usr/bin/env bash
# Reading a notebook with nbformat compiles a grammar of web addresses first, if JupyterLab is installed beside it.
# Expected: the import takes as long as without JupyterLab, since no address is looked at.
# Seen: jupyter-events asks for jsonschema's formats; jsonschema then imports rfc3987-syntax, which parses its grammar with
# lark at the import: .1 s become one to two, in every process that executes a notebook by papermill or nbclient.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/look.py" <<'PY'
import subprocess
import sys
import time
from importlib.metadata import version

beside, expected = sys.argv[1:]
statement = "import sys, nbformat; print('lark' in sys.modules)"
subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)  # compiled to bytecode
start = time.perf_counter()
printed = subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True, text=True).stdout
seconds = time.perf_counter() - start
print(f"nbformat {version('nbformat')}, jsonschema {version('jsonschema')}, {beside}: {seconds:.2f} s, lark imported: {printed.strip()}")
assert printed.strip() == expected
PY
for environment in plain events; do python3 -m venv "$folder/$environment"; done
"$folder/plain/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: nbformat==5.11.1 jsonschema==4.26.0
"$folder/events/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: nbformat==5.11.1 jsonschema==4.26.0 jupyter-events==0.12.1 rfc3987-syntax==1.1.0 lark==1.3.1
"$folder/plain/bin/python" "$folder/look.py" "alone" False
"$folder/events/bin/python" "$folder/look.py" "beside jupyter-events 0.12.1" True

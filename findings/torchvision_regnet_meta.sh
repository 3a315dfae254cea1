#!/usr/bin/env bash
# torchvision's RegNets cannot be built on torch's meta device, on which the shapes of a saved model are compared.
# Expected: a network without weights can be built where no memory is taken, as torchvision's other networks can.
# Seen: "Cannot copy out of meta tensor" for all 15 regnet_* builders; the initial weights are computed from Python numbers.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
  torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
import torchvision
from torchvision import models

failed, built = [], []
for name in models.list_models(module=models):
    if not name.startswith(("regnet", "resnet", "efficientnet", "vgg")):
        continue
    try:
        with torch.device("meta"):
            models.get_model(name, weights=None)
        built.append(name)
    except NotImplementedError as error:
        failed.append(name)
        reason = str(error).splitlines()[0]
print("torch", torch.__version__, "torchvision", torchvision.__version__)
print(f"{len(built)} built on the meta device; {len(failed)} not, such as {failed[0]}: {reason}")
assert len(failed) == 15 and all(name.startswith("regnet") for name in failed), "they can be built now"
PY

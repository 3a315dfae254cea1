#!/usr/bin/env bash
# milvus-lite takes a list of 64 numbers 0 and 1 for a code of 64 bits and keeps the first 8 as bytes.
# Expected: an error, since a binary vector of 64 bits is 8 bytes, or the code itself.
# Seen: accepted; each number is taken for a byte, so the stored code is not the one that was given.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 milvus-lite==2.5.1 pymilvus==2.6.17 setuptools==80.9.0
"$folder/venv/bin/python" - <<'PY'
import tempfile
from importlib.metadata import version

import numpy as np
from pymilvus import DataType, MilvusClient

bits = np.random.default_rng(0).integers(0, 2, 64, dtype=np.uint8)
packed = np.packbits(bits).tobytes()
with tempfile.TemporaryDirectory() as folder:
    client = MilvusClient(f"{folder}/codes.db")
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("code", DataType.BINARY_VECTOR, dim=64)
    index = client.prepare_index_params()
    index.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection("codes", schema=schema, index_params=index)
    client.insert("codes", [{"id": 1, "code": packed}])
    client.insert("codes", [{"id": 2, "code": bits.tolist()}])
    hits = client.search("codes", [packed], limit=2)[0]
    distances = {hit["id"]: hit["distance"] for hit in hits}
    client.close()
wrong = int(np.bitwise_count(np.frombuffer(packed, np.uint8) ^ bits[:8]).sum())
print("milvus-lite", version("milvus-lite"), "pymilvus", version("pymilvus"))
print(f"distance to the code as 8 bytes: {distances[1]}; as 64 numbers: {distances[2]}; to its first 8 numbers as bytes: {wrong}")
assert distances[1] == 0 and distances[2] == wrong > 0
PY

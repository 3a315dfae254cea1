"""milvus-lite: a binary vector field with BIN_FLAT."""

import tempfile
from pathlib import Path

import numpy as np
from harness import attempt, main
from pymilvus import DataType, MilvusClient


def fill(folder, codes, bits):
    client = MilvusClient(str(Path(folder) / "codes.db"))
    # given
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("code", DataType.BINARY_VECTOR, dim=bits)
    index = client.prepare_index_params()
    index.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection("codes", schema=schema, index_params=index)
    client.insert("codes", [{"id": number, "code": code.tobytes()} for number, code in enumerate(codes)])
    # end
    return client


def milvus_lite(codes, queries, bits, k):
    with tempfile.TemporaryDirectory() as folder:
        client = fill(folder, codes, 8 * codes.shape[1])
        # given
        found = client.search("codes", [query.tobytes() for query in queries], limit=k)
        # end
        client.close()
    return [[hit["id"] for hit in row] for row in found], [[hit["distance"] for hit in row] for row in found]


def traps(sets):
    codes, _, _ = sets["trained64"]
    with tempfile.TemporaryDirectory() as folder:
        twenty = attempt(lambda: fill(folder, codes[:10, :3], 20))
    with tempfile.TemporaryDirectory() as folder:
        client = fill(folder, codes[:10], 64)
        numbers = np.unpackbits(codes[0]).tolist()
        unpacked = attempt(lambda: client.insert("codes", [{"id": 99, "code": numbers}]))
        distances = {}
        if not isinstance(unpacked, str):
            hits = client.search("codes", [codes[0].tobytes()], limit=20)[0]
            distances = {hit["id"]: hit["distance"] for hit in hits}
        many = attempt(lambda: client.search("codes", [codes[0].tobytes()], limit=20_000))
        client.close()
    return {
        "K = 20": twenty if isinstance(twenty, str) else "accepted",
        "64 numbers 0/1": unpacked if isinstance(unpacked, str) else "accepted",
        "64 numbers 0/1: distance to the same code packed": distances.get(99, "none"),
        "limit 20000": many if isinstance(many, str) else "accepted",
    }


if __name__ == "__main__":
    main({"milvus_lite": milvus_lite}, traps, ["milvus-lite", "pymilvus"])

"""Chroma: squared Euclidean distance of 0/1 columns."""

import uuid

import chromadb
import numpy as np
from harness import attempt, main

CLIENT = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))


def chroma(codes, queries, bits, k):
    # given
    collection = CLIENT.create_collection(uuid.uuid4().hex, configuration={"hnsw": {"space": "l2"}})
    rows = np.unpackbits(codes, axis=1)[:, :bits].astype(np.float32)
    # end
    names = [str(number) for number in range(len(rows))]
    # given
    for start in range(0, len(rows), 5000):
        collection.add(ids=names[start : start + 5000], embeddings=rows[start : start + 5000])
    asked = np.unpackbits(queries, axis=1)[:, :bits].astype(np.float32)
    found = collection.query(query_embeddings=asked, n_results=k, include=["distances"])
    # end
    return [[int(name) for name in row] for row in found["ids"]], found["distances"]


def traps(sets):
    space = {"hnsw": {"space": "hamming"}}
    return {"space hamming": str(attempt(lambda: CLIENT.create_collection("h", configuration=space)))[:160]}


if __name__ == "__main__":
    main({"chroma": chroma}, traps, ["chromadb"])

"""NGT: its graph (ANNG) over packed bytes."""

import tempfile

import ngtpy
import numpy as np
from harness import main


def ngt(codes, queries, bits, k):
    with tempfile.TemporaryDirectory() as folder:
        # given
        ngtpy.create(f"{folder}/index", codes.shape[1], distance_type="Hamming", object_type="Byte")
        index = ngtpy.Index(f"{folder}/index")
        index.batch_insert(codes)
        found = [index.search(query, k) for query in queries]
        # end
        index.close()
    return [[row[0] for row in rows] for rows in found], [[row[1] for row in rows] for rows in found]


def traps(sets):
    codes, queries, _ = sets["trained64"]
    with tempfile.TemporaryDirectory() as folder:
        ngtpy.create(f"{folder}/index", 8, distance_type="Hamming", object_type="Byte")
        index = ngtpy.Index(f"{folder}/index")
        index.batch_insert(codes)
        rows = {epsilon: [len(index.search(query, 100, epsilon)) for query in queries] for epsilon in (0.1, 0.5)}
        index.close()
    return {f"queries short at epsilon {e}": int((np.array(r) < 100).sum()) for e, r in rows.items()}


if __name__ == "__main__":
    main({"ngt": ngt}, traps, ["ngt"])

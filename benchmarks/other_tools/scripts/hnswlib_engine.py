"""hnswlib (Chroma's fork, which comes as a wheel): squared Euclidean distance of 0/1 columns."""

import hnswlib
import numpy as np
from harness import attempt, main


def hnswlib_l2(codes, queries, bits, k):
    # given
    rows = np.unpackbits(codes, axis=1)[:, :bits].astype(np.float32)
    index = hnswlib.Index("l2", bits)
    index.init_index(len(rows), M=16, ef_construction=200)
    index.add_items(rows, np.arange(len(rows)))
    index.set_ef(128)
    # end
    asked = np.unpackbits(queries, axis=1)[:, :bits].astype(np.float32)
    answers = [ask(index, row, k) for row in asked]
    return [ids for ids, _ in answers], [distances for _, distances in answers]


def ask(index, row, k):
    """One query; none of its rows where the index says that it cannot fill them."""
    try:
        # given
        ids, distances = index.knn_query(row, k)
        # end
    except RuntimeError:
        return [], []
    return ids[0].astype(np.int64), distances[0]


def traps(sets):
    codes, queries, bits = sets["trained64"]
    rows = np.unpackbits(codes, axis=1).astype(np.float32)
    index = hnswlib.Index("l2", bits)
    index.init_index(len(rows), M=16, ef_construction=200)
    index.add_items(rows, np.arange(len(rows)))
    found = {}
    for ef in (128, 512, 2048):
        index.set_ef(ef)
        asked = np.unpackbits(queries, axis=1).astype(np.float32)
        found[f"queries of 500 that raise an error at ef {ef}"] = sum(
            len(ask(index, row, 100)[0]) == 0 for row in asked
        )
    index.set_ef(128)
    found["error"] = str(attempt(index.knn_query, np.unpackbits(queries, axis=1).astype(np.float32), 100))
    return found


if __name__ == "__main__":
    main({"hnswlib": hnswlib_l2}, traps, ["chroma-hnswlib"])

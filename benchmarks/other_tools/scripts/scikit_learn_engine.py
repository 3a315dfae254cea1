"""scikit-learn: NearestNeighbors with the metric "hamming"."""

import numpy as np
from harness import hamming, main, measure
from sklearn.neighbors import NearestNeighbors


def scikit_learn(codes, queries, bits, k):
    # given
    rows = np.unpackbits(codes, axis=1)[:, :bits]
    neighbors = NearestNeighbors(metric="hamming", algorithm="brute").fit(rows)
    distances, ids = neighbors.kneighbors(np.unpackbits(queries, axis=1)[:, :bits], k)
    # end
    return ids, distances * bits


def traps(sets):
    found = {}
    for name in ("trained64", "uniform64"):
        codes, queries, _ = sets[name]
        distances, ids = NearestNeighbors(metric="hamming", algorithm="brute").fit(codes).kneighbors(queries, 100)
        packed = measure(ids, distances * 64, hamming(queries, codes), 100)
        found[f"packed bytes, {name}: recall"] = packed["recall"]
        found[f"packed bytes, {name}: wrong distances of 50,000"] = packed["wrong_distances"]
    return found


if __name__ == "__main__":
    main({"scikit_learn": scikit_learn}, traps, ["scikit-learn"])

"""Usearch: its HNSW over packed bits, and its exact search."""

import numpy as np
from harness import K, hamming, main, measure
from usearch.index import Index


def usearch(codes, queries, bits, k):
    # given
    index = Index(ndim=bits, metric="hamming", dtype="b1")
    index.add(np.arange(len(codes)), codes)
    found = index.search(queries, k)
    # end
    return [match.keys for match in found], [match.distances for match in found]


def usearch_exact(codes, queries, bits, k):
    # given
    index = Index(ndim=bits, metric="hamming", dtype="b1")
    index.add(np.arange(len(codes)), codes)
    found = index.search(queries, k, exact=True)
    # end
    return [match.keys for match in found], [match.distances for match in found]


def traps(sets):
    found = {}
    ones = Index(ndim=20, metric="hamming", dtype="b1")
    ones.add(0, np.array([0, 0, 0], dtype=np.uint8))
    padded = np.array([0, 0, 15], dtype=np.uint8)
    found["four padding bits that are not zero add"] = float(ones.search(padded, 1).distances[0])
    for name, (codes, queries, bits) in sets.items():
        measured = measure(*by_one_thread(codes, queries, bits), hamming(queries, codes), K)
        found[f"recall of {name} added by one thread"] = measured["recall"]
    return found


def by_one_thread(codes, queries, bits):
    index = Index(ndim=bits, metric="hamming", dtype="b1")
    index.add(np.arange(len(codes)), codes, threads=1)
    matches = index.search(queries, K)
    return [match.keys for match in matches], [match.distances for match in matches]


if __name__ == "__main__":
    main({"usearch": usearch, "usearch_exact": usearch_exact}, traps, ["usearch", "numkong"])

"""Annoy: forests over bits; source distribution only."""

import numpy as np
from annoy import AnnoyIndex
from harness import main


def annoy(codes, queries, bits, k):
    rows = np.unpackbits(codes, axis=1)[:, :bits]
    asked = np.unpackbits(queries, axis=1)[:, :bits]
    # given
    index = AnnoyIndex(bits, "hamming")
    for number, row in enumerate(rows):
        index.add_item(number, row)
    index.build(10)
    found = [index.get_nns_by_vector(row, k, include_distances=True) for row in asked]
    # end
    return [ids for ids, _ in found], [distances for _, distances in found]


def traps(sets):
    return {}


if __name__ == "__main__":
    main({"annoy": annoy}, traps, ["annoy"])

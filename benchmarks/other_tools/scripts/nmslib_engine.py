"""nmslib: HNSW in its space of bit vectors."""

import nmslib
import numpy as np
from harness import main


def nmslib_hnsw(codes, queries, bits, k):
    texts = [" ".join(map(str, row)) for row in np.unpackbits(codes, axis=1)[:, :bits]]
    asked = [" ".join(map(str, row)) for row in np.unpackbits(queries, axis=1)[:, :bits]]
    # given
    objects = nmslib.DataType.OBJECT_AS_STRING
    index = nmslib.init(method="hnsw", space="bit_hamming", data_type=objects, dtype=nmslib.DistType.INT)
    index.addDataPointBatch(texts)
    index.createIndex({"M": 16})
    index.setQueryTimeParams({"ef": 128})
    found = index.knnQueryBatch(asked, k)
    # end
    return [ids for ids, _ in found], [distances for _, distances in found]


def traps(sets):
    return {}


if __name__ == "__main__":
    main({"nmslib": nmslib_hnsw}, traps, ["nmslib"])

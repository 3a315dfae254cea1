"""LanceDB: a column of packed bytes, without an index and with IVF_FLAT."""

import tempfile

import lancedb
import numpy as np
import pyarrow as pa
from harness import attempt, main


def make_table(folder, codes):
    # given
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1])
    data = pa.table({"id": np.arange(len(codes)), "vector": vectors})
    table = lancedb.connect(folder).create_table("codes", data)
    # end
    return table


def search(table, queries, k):
    # given
    answers = [table.search(query).distance_type("hamming").limit(k).to_arrow() for query in queries]
    # end
    return [rows["id"].to_numpy() for rows in answers], [rows["_distance"].to_numpy() for rows in answers]


def lancedb_flat(codes, queries, bits, k):
    with tempfile.TemporaryDirectory() as folder:
        return search(make_table(folder, codes), queries, k)


def lancedb_ivf(codes, queries, bits, k):
    with tempfile.TemporaryDirectory() as folder:
        table = make_table(folder, codes)
        # given
        table.create_index(vector_column_name="vector", metric="hamming", index_type="IVF_FLAT", num_partitions=64)
        # end
        return search(table, queries, k)


def traps(sets):
    codes, queries, _ = sets["trained64"]
    with tempfile.TemporaryDirectory() as folder:
        table = make_table(folder, codes)
        unnamed = table.search(queries[0]).limit(5).to_arrow()["_distance"].to_pylist()
        named = table.search(queries[0]).distance_type("hamming").limit(5).to_arrow()["_distance"].to_pylist()
        euclidean = attempt(lambda: table.search(queries[0]).distance_type("l2").limit(5).to_arrow())
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(codes.view(np.int8).ravel()), 8)
        data = pa.table({"id": np.arange(len(codes)), "vector": vectors})
        signed = lancedb.connect(folder).create_table("signed", data)
        as_int8 = attempt(lambda: signed.search(queries[0].view(np.int8)).limit(5).to_arrow())
    return {
        "without a distance type": "Hamming" if unnamed == named else str(unnamed),
        "l2 on uint8": euclidean if isinstance(euclidean, str) else "accepted",
        "int8": as_int8 if isinstance(as_int8, str) else "accepted",
    }


if __name__ == "__main__":
    main({"lancedb": lancedb_flat, "lancedb_ivf": lancedb_ivf}, traps, ["lancedb"])

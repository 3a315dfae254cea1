"""DuckDB: XOR and bit_count over a column of unsigned integers, or of bit strings."""

import duckdb
import numpy as np
from harness import attempt, main


def connect(codes):
    database = duckdb.connect()
    database.execute("SET threads = 2")
    padded = np.zeros((len(codes), 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    columns = {"id": np.arange(len(codes)), "code": padded.view(np.uint64).ravel()}  # noqa: F841 (read by name)
    # given
    database.execute("CREATE TABLE codes AS SELECT * FROM columns")
    # end
    return database


def numbers(queries):
    padded = np.zeros((len(queries), 8), dtype=np.uint8)
    padded[:, : queries.shape[1]] = queries
    return padded.view(np.uint64).ravel().tolist()


def duckdb_xor(codes, queries, bits, k):
    database = connect(codes)
    # given
    question = "SELECT id, bit_count(xor(code, ?::UBIGINT)) AS d FROM codes ORDER BY d LIMIT ?"
    answers = [database.execute(question, (query, k)).fetchall() for query in numbers(queries)]
    # end
    return [[row[0] for row in rows] for rows in answers], [[row[1] for row in rows] for rows in answers]


def traps(sets):
    codes, queries, _ = sets["trained64"]
    database = connect(np.tile(codes, (40, 1)))
    loose = "SELECT id FROM codes ORDER BY bit_count(xor(code, ?::UBIGINT)) LIMIT 100"
    strict = "SELECT id FROM codes ORDER BY bit_count(xor(code, ?::UBIGINT)), id LIMIT 100"
    query = numbers(queries)[0]
    answers = {
        order: {tuple(database.execute(order, (query,)).fetchall()) for _ in range(10)} for order in (loose, strict)
    }
    blobs = "SELECT xor('a'::BLOB, 'b'::BLOB)"
    lengths = "SELECT xor('101'::BIT, '1010'::BIT)"
    twelve = np.packbits(np.ones(12, dtype=np.uint8)).tobytes()
    as_blob = bytes(database.execute("SELECT '111111111111'::BIT::BLOB").fetchone()[0])
    return {
        "different answers of 10, ORDER BY d": len(answers[loose]),
        "different answers of 10, ORDER BY d, id": len(answers[strict]),
        "12 ones as BIT, then BLOB": as_blob.hex(),
        "12 ones by packbits": twelve.hex(),
        "xor of BLOB": str(attempt(lambda: database.execute(blobs).fetchone())),
        "xor of BIT(3) and BIT(4)": str(attempt(lambda: database.execute(lengths).fetchone())),
    }


if __name__ == "__main__":
    main({"duckdb": duckdb_xor}, traps, ["duckdb"])

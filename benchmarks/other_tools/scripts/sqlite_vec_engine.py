"""sqlite-vec: a vec0 table with a bit column."""

import numpy as np
import pysqlite3 as sqlite3  # a Python may be built without loadable extensions; this one always has them
import sqlite_vec
from harness import attempt, main


def connect():
    database = sqlite3.connect(":memory:")
    database.enable_load_extension(True)
    sqlite_vec.load(database)
    return database


def sqlite_vec_bits(codes, queries, bits, k):
    database = connect()
    # given
    database.execute(f"CREATE VIRTUAL TABLE codes USING vec0(code bit[{8 * codes.shape[1]}])")
    rows = [(number, code.tobytes()) for number, code in enumerate(codes)]
    database.executemany("INSERT INTO codes(rowid, code) VALUES (?, vec_bit(?))", rows)
    # end
    return search(database, queries, k)


def search(database, queries, k):
    # given
    question = "SELECT rowid, distance FROM codes WHERE code MATCH vec_bit(?) AND k = ? ORDER BY distance"
    answers = [database.execute(question, (query.tobytes(), k)).fetchall() for query in queries]
    # end
    return [[row[0] for row in rows] for rows in answers], [[row[1] for row in rows] for rows in answers]


def traps(sets):
    codes, _, _ = sets["trained64"]
    database = connect()
    database.execute("CREATE VIRTUAL TABLE codes USING vec0(code bit[64])")
    rows = [(number, code.tobytes()) for number, code in enumerate(codes)]
    database.executemany("INSERT INTO codes(rowid, code) VALUES (?, vec_bit(?))", rows)
    one = codes[0].tobytes()
    question = "SELECT rowid FROM codes WHERE code MATCH vec_bit(?) AND k = {} ORDER BY {}"
    order = attempt(lambda: database.execute(question.format(10, "distance, rowid"), (one,)).fetchall())
    many = attempt(lambda: database.execute(question.format(5000, "distance"), (one,)).fetchall())
    bare = attempt(lambda: database.execute("INSERT INTO codes(rowid, code) VALUES (9999, ?)", (one,)))
    database.execute("CREATE VIRTUAL TABLE small USING vec0(code bit[20])")
    three = np.zeros(3, dtype=np.uint8).tobytes()
    twenty = attempt(lambda: database.execute("INSERT INTO small(code) VALUES (vec_bit(?))", (three,)))
    floats = np.where(np.unpackbits(codes[0]), 1.0, -1.0).astype(np.float32).tobytes()
    own = database.execute("SELECT vec_distance_hamming(vec_quantize_binary(?), vec_bit(?))", (floats, one))
    found = {
        "ORDER BY distance, rowid": order,
        "k = 5000": many,
        "a blob without vec_bit": bare,
        "K = 20": twenty,
        "distance of vec_quantize_binary(code) to packbits(code)": own.fetchone()[0],
    }
    return {name: value if isinstance(value, (str, float, int)) else "accepted" for name, value in found.items()}


if __name__ == "__main__":
    main({"sqlite_vec": sqlite_vec_bits}, traps, ["sqlite-vec"])

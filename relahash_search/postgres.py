"""The tables of an index in PostgreSQL with pgvector, for several machines or users."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from relahash_search.tables import Tables

# Of two processes that make the same table at once, one would fail: the second waits for the end of the first.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('relahash'))"
CREATE_MODEL = """
CREATE TABLE IF NOT EXISTS relahash_model (
    id int PRIMARY KEY, version int NOT NULL, state text NOT NULL, card text NOT NULL, content bytea NOT NULL
)
"""
CREATE = """
CREATE TABLE IF NOT EXISTS relahash_folders (id bigserial PRIMARY KEY, place text UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS relahash_codes (id bigserial PRIMARY KEY, code bit({bits}) UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS relahash_items (
    folder bigint NOT NULL REFERENCES relahash_folders (id),
    path text NOT NULL,
    digest text NOT NULL,
    size bigint NOT NULL,
    changed bigint NOT NULL,
    code bigint NOT NULL REFERENCES relahash_codes (id),
    PRIMARY KEY (folder, path)
);
CREATE INDEX IF NOT EXISTS relahash_items_digest ON relahash_items (digest);
CREATE INDEX IF NOT EXISTS relahash_items_code ON relahash_items (code);
"""
CREATE_HNSW = "CREATE INDEX IF NOT EXISTS relahash_hnsw ON relahash_codes USING hnsw (code bit_hamming_ops)"
OF_SCHEMA = "to_regclass(format('%%I.%%I', current_schema(), ?::text))"  # a table of the first schema, or NULL
CANDIDATES = 200  # codes that a search by hnsw keeps in sight, if no more are asked for
MOST_CANDIDATES = 1_000  # pgvector's limit
ADDRESS = "postgresql://USER@HOST/DATABASE"
RIGHTS = "GRANT USAGE, CREATE ON SCHEMA public TO INDEXER; GRANT SELECT ON ALL TABLES IN SCHEMA public TO READER"


class PostgresTables(Tables):
    """An index in the first schema of the address's `search_path`.

    The address may hold a password, so it is not kept, and stands in no message.

    Args:
        address: `postgresql://USER@HOST/DATABASE`.
        create: The tables may be made, which needs more rights than a search.

    Raises:
        ValueError: psycopg is not installed, PostgreSQL cannot be reached, or there is no index.
    """

    kinds = ("flat", "hnsw")

    def __init__(self, address: str, create: bool = False) -> None:
        self._psycopg = _import_psycopg()
        try:
            self.connection = self._psycopg.connect(address, autocommit=True)
        except self._psycopg.OperationalError as error:
            raise ValueError(f"index: PostgreSQL: {_one_line(error)}") from None
        except (self._psycopg.Error, ValueError):  # the message quotes what is no address
            raise ValueError(f"index: PostgreSQL: the address given is none; allowed: {ADDRESS}") from None
        self._check_version()
        if not create and not self._exists("relahash_model"):
            raise ValueError("index: PostgreSQL: there is none in this schema; relahash index FOLDER begins one")
        if self._exists("relahash_model"):
            self.read_card()

    def _exists(self, table: str) -> bool:
        return self.execute(f"SELECT {OF_SCHEMA}::text", (table,))[0][0] is not None

    def _check_version(self) -> None:
        if not self._exists("relahash_model"):
            return
        text = f"SELECT 1 FROM pg_attribute WHERE attrelid = {OF_SCHEMA} AND attname = 'version'"
        if not self.execute(text, ("relahash_model",)):
            remedy = "index the folders again into another schema or database; this one stays as it is"
            raise ValueError(f"index: PostgreSQL: the tables were made by an older version: {remedy}")

    def put_model(self, content: bytes, card: dict[str, Any]) -> None:
        """Make the tables where there are none, and keep the model."""
        self.card = card
        with self.begin():
            if not self.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
                self.execute("CREATE EXTENSION vector")
            self.execute(CREATE_MODEL)
            for text in CREATE.format(bits=8 * self.code_bytes).strip().split(";\n"):
                self.execute(text)
        super().put_model(content, card)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn PostgreSQL's errors into a ValueError of one line that says what is to be done."""
        errors = self._psycopg.errors
        try:
            yield
        except (errors.UndefinedFile, errors.FeatureNotSupported):
            remedy = "install it there, such as by apt install postgresql-16-pgvector"
            raise ValueError(f"index: PostgreSQL: the server has no pgvector; {remedy}") from None
        except errors.InsufficientPrivilege as error:
            raise ValueError(f"index: PostgreSQL: {_one_line(error)}; {_remedy(str(error))}") from None
        except errors.ForeignKeyViolation:
            remedy = "another process has changed its folders: the same command again goes on"
            raise ValueError(f"index: PostgreSQL: {remedy}") from None
        except errors.DiskFull:
            raise ValueError("index: PostgreSQL: the server's disk is full; nothing is lost, try again later") from None
        except self._psycopg.OperationalError as error:
            remedy = "nothing is lost, and the same command goes on"
            raise ValueError(f"index: PostgreSQL: {_one_line(error)}; {remedy}") from None
        except self._psycopg.Error as error:
            raise ValueError(f"index: PostgreSQL: {_one_line(error)}") from None

    def execute(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As `Tables` says."""
        with self._explained():
            cursor = self.connection.execute(text.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

    def execute_many(self, text: str, rows: Sequence[Sequence[Any]]) -> int:
        """As `Tables` says."""
        with self._explained():
            cursor = self.connection.cursor()
            cursor.executemany(text.replace("?", "%s"), rows)
            return cursor.rowcount

    @contextmanager
    def begin(self) -> Iterator[None]:
        """As `Tables` says."""
        with self._explained(), self.connection.transaction():
            self.connection.execute(LOCK)
            yield

    by_path = "(folders.place || '/' || items.path) COLLATE \"C\""

    @property
    def code_mark(self) -> str:  # type: ignore[override]
        """A code in hexadecimal digits after an x, as a value of bits."""
        return f"?::bit({8 * self.code_bytes})"

    def to_column(self, code: bytes) -> str:
        """As `Tables` says."""
        return f"x{code.hex()}"

    def from_column(self, value: str) -> bytes:
        """As `Tables` says; PostgreSQL gives zeros and ones."""
        return int(value, 2).to_bytes(self.code_bytes)

    def nearest_codes(self, code: bytes, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """As `Tables` says."""
        distance = f"code <~> {self.code_mark}"
        text = f"SELECT ({distance})::int, id FROM relahash_codes ORDER BY {distance} LIMIT ?"
        bits = self.to_column(code)
        with self.connection.transaction():
            for setting, value in self._settings(kind, count):
                self.execute("SELECT set_config(?, ?, true)", (setting, value))
            rows = self.execute(text, (bits, bits, count))
        found = np.array(rows, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _settings(self, kind: str, count: int) -> list[tuple[str, str]]:
        """Of PostgreSQL, for a search: `flat` uses no approximate index, even where there is one."""
        if kind == "flat":
            return [("enable_indexscan", "off")]
        candidates = min(MOST_CANDIDATES, max(count, CANDIDATES))
        return [("hnsw.ef_search", str(candidates))]

    def codes_at(self, code: bytes, distance: int) -> list[int]:
        """As `Tables` says."""
        text = f"SELECT id FROM relahash_codes WHERE code <~> {self.code_mark} = ?"
        return [number for (number,) in self.execute(text, (self.to_column(code), distance))]

    def prepare(self, kind: str) -> None:
        """As `Tables` says; PostgreSQL keeps its index up to date itself."""
        if kind == "hnsw":
            with self.begin():
                self.execute("SET LOCAL maintenance_work_mem = '1GB'")  # in less, a million codes take hours
                self.execute(CREATE_HNSW)

    def close(self) -> None:
        """As `Tables` says."""
        self.connection.close()


def _import_psycopg() -> Any:
    try:
        return importlib.import_module("psycopg")
    except ImportError:
        raise ValueError("index: psycopg is missing; pip install 'relahash-nb[search]'") from None


def _one_line(error: Exception) -> str:
    """The first line of PostgreSQL's message: the others are hints at its own functions."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def _remedy(message: str) -> str:
    """What an administrator has to say for a right that is missing."""
    if "extension" in message:
        return "its administrator says once, in this database: CREATE EXTENSION vector"
    return f"its administrator says: {RIGHTS}"

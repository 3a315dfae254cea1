"""An index in PostgreSQL: rights that are missing are a line with the remedy, and a reader's role can search."""

import re

import pytest

from relahash_search.index import Index, open_tables
from tests.search_data import draw, list_files, nearest_by_hand, tiny_model

pytestmark = pytest.mark.server
pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture
def photos(tmp_path):
    return draw(tmp_path / "photos", 12)


@pytest.fixture
def database(postgresql):
    """The address of a new database, and a function that executes SQL in it as its administrator."""
    import psycopg

    def execute(text, address=None):
        with psycopg.connect(address or made, autocommit=True) as connection:
            return connection.execute(text)

    execute("DROP DATABASE IF EXISTS pictures", postgresql)
    execute("DROP ROLE IF EXISTS someone", postgresql)
    execute("CREATE DATABASE pictures", postgresql)
    execute("CREATE ROLE someone LOGIN", postgresql)
    made = re.sub(r"/postgres(?=\?|$)", "/pictures", postgresql)
    yield made, execute
    execute("DROP DATABASE pictures WITH (FORCE)", postgresql)
    execute("DROP ROLE someone", postgresql)


def as_someone(address: str) -> str:
    """The address for a role that has few rights."""
    return re.sub(r"//[^@]*@", "//someone@", address)


def assert_one_line(caught, named: str) -> None:
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_extension_is_a_line_with_the_remedy(database):
    address, execute = database
    execute("GRANT USAGE, CREATE ON SCHEMA public TO someone")
    with pytest.raises(ValueError) as caught:
        Index.begin(as_someone(address), tiny_model())
    assert_one_line(caught, "CREATE EXTENSION vector")
    execute("CREATE EXTENSION vector")
    assert len(Index.begin(as_someone(address), tiny_model())) == 0


def test_a_missing_right_to_make_tables_is_a_line_with_the_remedy(database):
    address, execute = database
    execute("CREATE EXTENSION vector; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(ValueError) as caught:
        Index.begin(as_someone(address), tiny_model())
    assert_one_line(caught, "GRANT")
    assert open_tables(address, create=True).card is None


def test_a_reader_searches_and_cannot_write(database, photos):
    address, execute = database
    index = Index.begin(address, tiny_model(), "hnsw")
    index.update(photos)
    with pytest.raises(ValueError) as caught:
        Index(as_someone(address))
    assert_one_line(caught, "GRANT")
    execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO someone")
    query = list_files(photos)[3]
    for kind in ("flat", "hnsw"):
        reader = Index(as_someone(address), kind)
        found = reader.search(query, 12)
        assert [(match.distance, match.path) for match in found] == nearest_by_hand(photos, query, 12)
        assert reader.recall(3) == 1
    draw(photos, 14)
    with pytest.raises(ValueError) as caught:
        reader.update(photos)
    assert_one_line(caught, "GRANT")
    assert len(index) == 12


def test_tables_of_an_older_version_stay_as_they_are(database):
    address, execute = database
    execute("CREATE TABLE relahash_items (digest text)")
    execute("CREATE TABLE relahash_model (id int PRIMARY KEY, card text, content bytea)")
    for action in (lambda: Index(address), lambda: Index.begin(address, tiny_model())):
        with pytest.raises(ValueError) as caught:
            action()
        assert_one_line(caught, "older version")


def test_a_lost_connection_is_a_line_and_the_same_again_goes_on(database, photos):
    address, execute = database
    index = Index.begin(address, tiny_model())
    index.update(photos / "a")
    execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(ValueError) as caught:
        index.update(photos)
    assert_one_line(caught, "nothing is lost")
    assert Index(address).update(photos).counts()["unchanged"] == 6


def test_a_database_holds_several_indexes(database, photos):
    address, execute = database
    execute("CREATE EXTENSION vector; CREATE SCHEMA one; CREATE SCHEMA other")
    separator = "&" if "?" in address else "?"
    addresses = [f"{address}{separator}options=-csearch_path%3D{name}%2Cpublic" for name in ("one", "other")]
    Index.begin(addresses[0], tiny_model()).update(photos)
    Index.begin(addresses[1], tiny_model(seed=7)).update(photos / "a")
    assert [len(Index(address)) for address in addresses] == [12, 6]
    with pytest.raises(ValueError) as caught:
        Index(address)
    assert_one_line(caught, "none in this schema")


@pytest.mark.parametrize(
    "secret", ["secret@127.0.0.1:1/x?connect_timeout=2", "se cret@nowhere:port/x", "secret@host:x/y"]
)
def test_a_password_is_in_no_message(secret):
    with pytest.raises(ValueError, match="index") as caught:
        Index(f"postgresql://me:{secret}")
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__

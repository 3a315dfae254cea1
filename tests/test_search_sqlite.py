"""An index in a folder: whole or not at all; damage, a full disk and an older version are a line; nothing is lost."""

import shutil
import sqlite3

import numpy as np
import pytest

from relahash_search.index import Index, open_tables
from relahash_search.sqlite import NAME, OLD_NAME
from relahash_search.tables import File, Reading
from tests.search_data import add_folder, draw, list_files, tiny_model

pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture
def photos(tmp_path):
    return draw(tmp_path / "photos", 10)


@pytest.fixture
def folder(tmp_path, photos):
    """An index of ten pictures."""
    Index.begin(tmp_path / "index", tiny_model()).update(photos)
    return tmp_path / "index"


def assert_one_line(caught) -> None:
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_transaction_is_whole_or_not_at_all(folder):
    tables = open_tables(folder)
    (place,) = tables.folders()
    readings = [Reading(f"{number}.png", "0" * 64, File(1, 1), b"\1\2") for number in range(3)]
    broken = [*readings, Reading("x.png", None, File(1, 1), b"\3\4")]
    with pytest.raises(ValueError, match="index"):
        tables.put(place, broken)
    assert tables.count() == 10
    tables.put(place, readings)
    assert tables.count() == 13


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_damaged_file_is_one_line(folder, damage):
    path = folder / NAME
    content = path.read_bytes()
    path.write_bytes({"text": b"no database, and long enough " * 99, "cut": content[:5000], "empty": b""}[damage])
    with pytest.raises(ValueError, match="index") as caught:
        Index(folder).search(b"", 1)
    assert_one_line(caught)


def test_an_index_of_an_older_version_stays_as_it_is(tmp_path, photos):
    folder = tmp_path / "old"
    folder.mkdir()
    with sqlite3.connect(folder / OLD_NAME) as connection:
        connection.execute("CREATE TABLE relahash_items (id, digest, path, code)")
    before = (folder / OLD_NAME).read_bytes()
    for action in (lambda: Index(folder), lambda: Index.begin(folder, tiny_model())):
        with pytest.raises(ValueError, match="older version") as caught:
            action()
        assert_one_line(caught)
    assert [path.name for path in folder.iterdir()] == [OLD_NAME]
    assert (folder / OLD_NAME).read_bytes() == before


def test_a_full_disk_loses_nothing(folder, photos, tmp_path):
    index = Index(folder)
    draw(photos, 200)
    pages = index.tables.execute("PRAGMA page_count")[0][0]
    index.tables.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ValueError, match="disk is full") as caught:
        index.update(photos)
    assert_one_line(caught)
    index = Index(folder)
    assert len(index) >= 10
    index.update(photos)
    assert len(index) == 200


def test_an_index_that_cannot_be_written_to_can_be_searched(folder, photos):
    index = Index(folder)
    index.tables.execute("PRAGMA query_only = ON")
    assert len(index.search(list_files(photos)[0], 3)) == 3
    draw(photos, 12)
    with pytest.raises(ValueError, match="written") as caught:
        index.update(photos)
    assert_one_line(caught)


def test_no_index_is_one_line_and_makes_no_folder(tmp_path):
    with pytest.raises(ValueError, match="index") as caught:
        Index(tmp_path / "nothing")
    assert_one_line(caught)
    assert not list(tmp_path.iterdir())


def test_an_index_may_be_moved_and_is_searched_from_anywhere(folder, photos, tmp_path, monkeypatch):
    query = list_files(photos)[3]
    expected = Index(folder).search(query, 4)
    shutil.move(folder, tmp_path / "elsewhere")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert Index("../elsewhere").search(query, 4) == expected


def test_files_of_another_index_are_not_searched(folder, photos, tmp_path):
    others = draw(tmp_path / "others", 10, seed=1)
    Index.begin(tmp_path / "other", tiny_model()).update(others)
    query = list_files(photos)[3]
    expected = Index(folder).search(query, 4)
    (ours,) = folder.glob("flat-*.faiss")
    (foreign,) = (tmp_path / "other").glob("flat-*.faiss")
    shutil.copy(foreign, folder)
    assert Index(folder).search(query, 4) == expected
    ours.unlink()
    assert Index(folder).search(query, 4) == expected
    assert len(list(folder.glob("flat-*.faiss"))) == 1


def test_a_row_that_somebody_deleted_shifts_no_name(folder, photos):
    with sqlite3.connect(folder / NAME) as connection:
        connection.execute("DELETE FROM relahash_items WHERE path = 'a/002.png'")
    index = Index(folder)
    for query in list_files(photos):
        first = index.search(query, 1)[0]
        assert (first.path == str(query)) == (query.name != "002.png")


def test_codes_of_all_lengths_come_out_as_they_went_in(tmp_path):
    for bits in (1, 8, 9, 64, 1000):
        index = Index.begin(tmp_path / str(bits), tiny_model(bits))
        code = np.random.default_rng(bits).bytes(-(-bits // 8))
        index.tables.put(add_folder(index, "/x"), [Reading("a", "0" * 64, File(1, 1), code)])
        assert index.tables.known_code("0" * 64) == code
        assert index.tables.known_code("1" * 64) is None

"""An index follows the disk: what was moved, replaced, deleted, copied or renamed is so in the index afterwards."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from relahash_search import index as indexes
from relahash_search import reading
from relahash_search.index import Index
from relahash_search.model import Model
from tests.search_data import draw, list_files, nearest_by_hand, tiny_model

pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twelve pictures, six each in `a` and `b`."""
    return draw(tmp_path / "photos", 12)


@pytest.fixture
def index(location) -> Index:
    return Index.begin(location, tiny_model())


def counts(update) -> dict[str, int]:
    """The numbers that are not 0."""
    return {name: count for name, count in update.counts().items() if count}


def assert_follows(index: Index, *folders: Path) -> None:
    """The index has the files of these folders, with their codes, and nothing else."""
    files = sorted((file for folder in folders for file in list_files(folder)), key=str)
    paths, codes = index.codes()
    assert paths == [str(file) for file in files]
    model = Model.from_bytes(tiny_model())
    expected = np.array([model.hash(file) for file in files])
    np.testing.assert_array_equal(codes, expected)
    assert index.tables.count_codes() == len(np.unique(expected, axis=0))
    for item, _ in index.tables.items():
        assert indexes.state_of(item) == ""


def forbid_model(monkeypatch) -> None:
    """From now on no picture can be hashed."""

    def load(content):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Model, "from_bytes", load)


def test_what_has_not_changed_is_not_read(index, location, photos, monkeypatch):
    assert counts(index.update(photos)) == dict(added=12)
    assert_follows(index, photos)
    monkeypatch.setattr(reading, "digest_of", lambda path: pytest.fail("it was read"))
    forbid_model(monkeypatch)
    assert counts(Index(location).update(photos)) == dict(unchanged=12)


def test_moved_deleted_replaced_copied_and_new(index, photos, tmp_path, monkeypatch):
    index.update(photos)
    (photos / "2023").mkdir()
    (photos / "a" / "000.png").rename(photos / "2023" / "moved.png")
    (photos / "a" / "002.png").unlink()
    shutil.copy(photos / "a" / "004.png", photos / "copy.png")
    others = draw(tmp_path / "others", 4, seed=1)
    shutil.copy(others / "a" / "000.png", photos / "b" / "001.png")
    shutil.copy(others / "a" / "002.png", photos / "new.png")
    update = index.update(photos)
    assert counts(update) == dict(added=2, moved=1, replaced=1, gone=1, unchanged=9)
    assert_follows(index, photos)


def test_what_is_moved_needs_no_model(index, location, photos, monkeypatch):
    index.update(photos)
    (photos / "a").rename(photos / "c")
    forbid_model(monkeypatch)
    assert counts(Index(location).update(photos)) == dict(moved=6, unchanged=6)


def test_two_pictures_that_change_places(index, photos):
    index.update(photos)
    one, other, temporary = photos / "a" / "000.png", photos / "a" / "002.png", photos / "x.png"
    one.rename(temporary)
    other.rename(one)
    temporary.rename(other)
    assert counts(index.update(photos)) == dict(replaced=2, unchanged=10)
    assert_follows(index, photos)


def test_a_touched_picture_is_read_and_is_as_it_was(index, photos, location, monkeypatch):
    index.update(photos)
    os.utime(photos / "a" / "000.png")
    forbid_model(monkeypatch)
    assert counts(Index(location).update(photos)) == dict(unchanged=12)
    monkeypatch.setattr(reading, "digest_of", lambda path: pytest.fail("it was read"))
    assert counts(Index(location).update(photos)) == dict(unchanged=12)


@pytest.mark.parametrize("keeps_times", [True, False])
def test_a_renamed_folder(index, location, photos, tmp_path, monkeypatch, keeps_times):
    index.update(photos)
    renamed = tmp_path / "other name"
    if keeps_times:
        photos.rename(renamed)
    else:  # as an index and its pictures come to another machine
        shutil.copytree(photos, renamed, copy_function=shutil.copyfile)
        shutil.rmtree(photos)
    (renamed / "a" / "000.png").unlink()
    forbid_model(monkeypatch)
    update = Index(location).update(renamed)
    assert counts(update) == dict(moved=11, gone=1)
    monkeypatch.undo()
    assert [folder.place for folder in index.tables.folders()] == [str(renamed)]
    assert_follows(index, renamed)


def test_another_folder_is_no_renamed_one(index, photos, tmp_path):
    index.update(photos)
    shutil.rmtree(photos)  # or its drive is not there
    others = draw(tmp_path / "others", 10, seed=1, side=20)
    assert counts(index.update(others)) == dict(added=10)
    assert len(index) == 22


def test_two_folders_and_a_picture_that_goes_from_one_to_the_other(index, photos, tmp_path):
    others = draw(tmp_path / "others", 4, seed=1)
    index.update(photos)
    index.update(others)
    (photos / "a" / "000.png").rename(others / "from photos.png")
    assert counts(index.update(others)) == dict(moved=1, unchanged=4)
    assert counts(index.update(photos)) == dict(unchanged=11)
    assert_follows(index, photos, others)


def test_a_copy_in_another_folder_is_added_without_the_model(index, location, photos, tmp_path, monkeypatch):
    index.update(photos)
    copy = shutil.copytree(photos, tmp_path / "copy")
    forbid_model(monkeypatch)
    assert counts(Index(location).update(copy)) == dict(added=12)
    monkeypatch.undo()
    assert_follows(index, photos, copy)


def test_a_folder_within_one_that_is_indexed_is_a_part_of_it(index, photos):
    index.update(photos)
    draw(photos, 14)  # one more in each
    (photos / "b" / "001.png").unlink()
    assert counts(index.update(photos / "a")) == dict(added=1, unchanged=6)
    assert [folder.place for folder in index.tables.folders()] == [str(photos)]
    assert len(index) == 13  # nobody has looked into b
    assert counts(index.update(photos)) == dict(added=1, gone=1, unchanged=12)
    assert_follows(index, photos)


def test_a_folder_around_those_that_are_indexed_takes_them_in(index, location, photos, monkeypatch):
    index.update(photos / "a")
    index.update(photos / "b")
    forbid_model(monkeypatch)
    update = Index(location).update(photos)
    assert counts(update) == dict(unchanged=12)
    monkeypatch.undo()
    assert [folder.place for folder in index.tables.folders()] == [str(photos)]
    assert_follows(index, photos)


def test_two_processes_that_index_a_folder_and_one_within_it(index, location, photos, monkeypatch):
    """As kills have shown: neither sees the other's folder, and then the outer one is indexed again."""
    other = Index(location)
    index.update(photos / "a")
    monkeypatch.setattr(other.tables, "folders", lambda: [])
    other.update(photos)
    assert len(index.tables.folders()) == 2
    index.update(photos)
    assert [folder.place for folder in index.tables.folders()] == [str(photos)]
    assert_follows(index, photos)


def test_a_writer_whose_folder_is_taken_in_says_so(index, location, photos):
    index.update(photos / "a")
    (folder,) = index.tables.folders()
    Index(location).update(photos)
    with pytest.raises(ValueError, match="goes on") as caught:
        index.tables.put(folder, [reading.Reading("x", "0" * 64, reading.File(1, 1), b"12")])
    assert caught.value.__suppress_context__
    assert_follows(index, photos)


def test_a_folder_by_a_link_and_by_a_relative_path_is_one(index, photos, tmp_path, monkeypatch):
    index.update(photos)
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    for name in ("link", "photos", "./link/../photos/"):
        assert counts(index.update(name)) == dict(unchanged=12)


def test_names_that_are_like_one_another(index, tmp_path):
    one, other = draw(tmp_path / "a_b", 2), draw(tmp_path / "a%b", 4, seed=1)
    longer = draw(tmp_path / "a_b2", 2, seed=2)
    for folder in (one, other, longer):
        index.update(folder)
    assert_follows(index, other, one, longer)
    index.remove(one)
    assert_follows(index, other, longer)


def test_a_picture_that_was_replaced_by_none_is_taken_out(index, photos):
    index.update(photos)
    (photos / "a" / "000.png").write_bytes(b"")
    update = index.update(photos)
    assert counts(update) == dict(unchanged=11, skipped=1)
    assert len(index) == 11


def test_what_cannot_be_read_is_named_and_the_rest_is_there(index, photos):
    whole = (photos / "a" / "000.png").read_bytes()
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.png").write_text("no picture")
    (photos / "torn.png").write_bytes(whole[:60])
    os.mkfifo(photos / "pipe.png")
    with (photos / "holes.png").open("wb") as file:
        file.truncate(10**12)
    (photos / "nowhere.png").symlink_to(photos / "nothing")
    update = index.update(photos)
    assert update.added == 12
    named = {fault.path for fault in update.faults}
    assert {"empty.jpg", "text.png", "torn.png", "holes.png"} <= named
    assert named <= {"empty.jpg", "text.png", "torn.png", "holes.png", "nowhere.png"}
    for fault in update.faults:
        assert fault.reason and "\n" not in fault.reason
    assert len(index) == 12


def test_a_picture_that_is_written_while_it_is_read_is_skipped(index, photos, monkeypatch):
    digest_of = reading.digest_of

    def write_meanwhile(path):
        digest = digest_of(path)
        if path.name == "000.png":
            path.write_bytes((photos / "a" / "002.png").read_bytes() + b"more")
        return digest

    monkeypatch.setattr(reading, "digest_of", write_meanwhile)
    update = index.update(photos)
    assert [fault.path for fault in update.faults] == ["a/000.png"]
    monkeypatch.undo()
    assert counts(index.update(photos)) == dict(added=1, unchanged=11)


def test_an_empty_folder_is_an_error_and_nothing_is_lost(index, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nothing"):
        with pytest.raises(ValueError, match="folder"):
            index.update(folder)
    assert index.tables.folders() == []
    index.update(photos)
    for file in list_files(photos):
        file.unlink()
    with pytest.raises(ValueError, match="--remove"):  # a drive that is not there looks like this
        index.update(photos)
    assert len(index) == 12


def test_a_folder_is_taken_out(index, photos, tmp_path):
    others = draw(tmp_path / "others", 4, seed=1)
    index.update(photos)
    index.update(others)
    assert index.remove(photos) == 12
    assert_follows(index, others)
    with pytest.raises(ValueError, match="remove"):
        index.remove(photos)
    assert len(list_files(photos)) == 12


def test_strange_names(index, tmp_path):
    folder = draw(tmp_path / "it's; DROP TABLE relahash_items --", 2)
    for number, name in enumerate(["ü 日本.png", "a\nb.png", "%s ?.png", '"quoted".png', "-x.png"]):
        draw(tmp_path / "more", 2, seed=number + 5)
        shutil.copy(tmp_path / "more" / "a" / "000.png", folder / name)
    assert counts(index.update(folder)) == dict(added=7)
    assert_follows(index, folder)
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).write_bytes((folder / "-x.png").read_bytes())
    assert counts(index.update(folder)) == dict(unchanged=7, skipped=1)


@pytest.mark.server
def test_workers_of_a_cluster_share_the_pictures(index, photos, tmp_path, monkeypatch):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    (photos / "text.png").write_text("no picture")
    monkeypatch.setattr(indexes, "PART", 3)
    assert counts(index.update(photos, workers=2)) == dict(added=12, skipped=1)
    (photos / "text.png").unlink()
    assert_follows(index, photos)
    assert counts(index.update(photos, workers=2)) == dict(unchanged=12)


@pytest.mark.server
def test_a_scheduler_that_cannot_be_reached_is_one_line(tmp_path, photos):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    index = Index.begin(tmp_path / "index", tiny_model())
    with pytest.raises(ValueError, match="scheduler"):
        index.update(photos, scheduler="tcp://127.0.0.1:1")


def test_the_answers_follow(index, photos):
    index.update(photos)
    query = photos / "b" / "003.png"
    for name in ("000", "002", "004"):
        (photos / "a" / f"{name}.png").unlink()
    index.update(photos)
    found = [(match.distance, match.path) for match in index.search(query, 5)]
    assert found == nearest_by_hand(photos, query, 5)

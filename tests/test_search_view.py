"""What the search page shows: names are escaped, what is gone breaks nothing, uploads never overwrite."""

import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from relahash_search import page
from relahash_search.duplicates import find_duplicates
from relahash_search.index import Index, Match
from tests.search_data import draw, list_files, nearest_by_hand, tiny_model

pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture
def photos(tmp_path):
    return draw(tmp_path / "photos", 12)


@pytest.fixture
def index(tmp_path, photos):
    index = Index.begin(tmp_path / "index", tiny_model())
    index.update(photos)
    return index


def test_thumbnails_escape_names_and_hold_their_pictures(tmp_path):
    path = str(draw(tmp_path / "<script>alert(1)</script>" / "x", 1) / "a" / "000.png")
    matches = [Match(0, path, "", True), Match(3, "gone & away.png", "gone", False)]
    shown = page.answers_html({path: path, "b<i>": b""}, {path: matches, "b<i>": "<no>"})
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "gone &amp; away.png" in shown
    assert "3 bits, gone" in shown
    assert "b&lt;i&gt;: &lt;no&gt;" in shown
    assert shown.count("data:image/jpeg;base64,") == 2
    assert "http" not in shown


def test_a_distance_in_words():
    assert [page.in_bits(distance) for distance in (0, 1, 2)] == ["0 bits", "1 bit", "2 bits"]


def test_what_is_dropped_is_searched_with_anywidget_and_without(index, photos, monkeypatch):
    pytest.importorskip("anywidget")
    query = list_files(photos)[4]
    seen = []

    def answer(files):
        seen.append(page.nearest(index, files, 2))
        return page.answers_html(files, seen[-1])

    place, shown = page.drop_pictures(answer).children
    place._handle_custom_msg(["x.png"], [memoryview(query.read_bytes())])
    place._handle_custom_msg(["y.png"], [memoryview(b"")])
    assert "y.png" in shown.value
    monkeypatch.setitem(sys.modules, "anywidget", None)
    upload, _ = page.drop_pictures(answer).children
    file = {"name": "x.png", "content": query.read_bytes()}
    upload.notify_change(dict(name="value", type="change", new=(file,)))  # as ipywidgets 8 says it
    upload.notify_change(dict(name="value", type="change", new={"x.png": {"content": query.read_bytes()}}))  # and 7
    dropped, broken, uploaded, uploaded_in_7 = seen
    assert [(match.distance, match.path) for match in dropped["x.png"]] == nearest_by_hand(photos, query, 2)
    assert isinstance(broken["y.png"], str)
    assert uploaded == uploaded_in_7 == dropped


def test_uploads_never_overwrite(index, photos, tmp_path):
    one, other, *_ = draw(tmp_path / "more", 4, seed=3).rglob("*.png")
    folder = tmp_path / "uploads"
    page.add_pictures(index, {"image.png": one.read_bytes()}, folder)
    page.add_pictures(index, {"image.png": other.read_bytes()}, folder)
    said = page.add_pictures(index, {"../image.png": one.read_bytes(), "C:\\x\\image.png": one.read_bytes()}, folder)
    assert "14 pictures" in said
    assert sorted(path.name for path in folder.iterdir()) == ["image-2.png", "image.png"]
    assert (folder / "image.png").read_bytes() == one.read_bytes()
    assert (folder / "image-2.png").read_bytes() == other.read_bytes()
    assert index.search(other, 1)[0].path == str(folder / "image-2.png")


@pytest.mark.parametrize("name", ["", ".", "..", "/", ".hidden", "a" * 300 + ".png"])
def test_strange_names_of_uploads(tmp_path, name):
    folder = tmp_path / "uploads"
    folder.mkdir()
    path = page.save_upload(folder, name, b"x")
    assert path.parent == folder
    assert not path.name.startswith(".")
    assert path.read_bytes() == b"x"


def test_pictures_that_are_gone_break_nothing(index, photos):
    query, *rest = list_files(photos)
    content = query.read_bytes()
    shutil.rmtree(photos)
    answers = page.nearest(index, {"x.png": content, "gone.png": rest[0]}, 4)
    assert "gone" in page.answers_html({"x.png": content, "gone.png": rest[0]}, answers)
    assert page.small_images([str(path) for path in rest]).shape == (11, 3, 64, 64)
    assert "0 groups" in page.duplicates_html(index, 2)


def test_duplicates_are_drawn(index, photos):
    shutil.copy(photos / "a" / "000.png", photos / "copy.png")
    index.update(photos)
    groups = find_duplicates(index.tables, 3).groups
    shown = page.duplicates_html(index, 3, groups=1, k=2)
    assert f"{len(groups)} groups, {sum(len(group.copies) for group in groups)} pictures" in shown
    assert shown.count("<figure") == 2
    assert "same file" in shown
    slider, drawn = page.choose_radius(index, 0).children
    before = drawn.value
    slider.value = 3
    assert drawn.value != before


def test_small_images_are_squares_of_their_pictures(photos):
    paths = [str(path) for path in list_files(photos)[:3]]
    images = page.small_images(paths, side=8)
    assert images.shape == (3, 3, 8, 8)
    with Image.open(paths[1]) as image:
        means = np.asarray(image, dtype=float).mean(axis=(0, 1))  # (3,)
    np.testing.assert_allclose(images[1].mean(axis=(1, 2)), means, atol=16)


def test_folders_of_one_name_have_an_index_each(tmp_path):
    places = {page.index_folder(tmp_path, tmp_path / name / "photos", "model") for name in ("a", "b", "a/../c")}
    assert len(places) == 3
    assert page.index_folder(tmp_path, tmp_path / "a/../b/photos", "model") in places
    assert page.index_folder(tmp_path, tmp_path / "a/photos", "other model") not in places


def test_a_model_of_other_pictures_is_said():
    assert page.warn_of_dataset(dict(run=None, dataset=None)) == ""
    shown = page.warn_of_dataset(dict(run="x", dataset="<fashion>"))
    assert "&lt;fashion&gt;" in shown

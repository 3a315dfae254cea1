"""`relahash hash`, `index`, `search`, `duplicates`: what they print, exit codes, one line for what is wrong."""

import json
import shutil

import numpy as np
import pytest

from relahash_search.index import Index
from relahash_search.model import Model
from tests.search_data import BITS, draw, list_files, nearest_by_hand, tiny_model

pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(tiny_model())
    return path


@pytest.fixture
def photos(tmp_path):
    return draw(tmp_path / "photos", 12)


@pytest.fixture
def index(tmp_path, photos):
    """The location of an index of twelve pictures."""
    Index.begin(tmp_path / "index", tiny_model()).update(photos)
    return tmp_path / "index"


def test_index_counts_and_goes_on_with_its_model(relahash, photos, model, location):
    code, out, _ = relahash("index", photos, "--run", model, "--index", location)
    assert code == 0
    assert out.startswith("12 added, 0 moved, 0 replaced, 0 gone, 0 unchanged, 0 skipped; 12 in the index")
    (photos / "text.png").write_text("no picture")
    code, out, errors = relahash("index", photos, "--index", location)
    assert code == 0
    assert out.startswith("0 added, 0 moved, 0 replaced, 0 gone, 12 unchanged, 1 skipped; 12 in the index")
    assert "text.png" in errors
    assert relahash("index", photos, "--index", location, "--strict")[0] == 1
    assert relahash("index", photos, "--run", model, "--index", location)[0] == 0


def test_another_model_is_refused_and_both_are_named(relahash, photos, index, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_model(seed=7))
    for options, named in ((["--run", other], f"{7:016x}"), (["--bits", 64], "64"), (["--backbone", "b"], "'b'")):
        code, _, errors = relahash("index", photos, "--index", index, *options)
        assert code == 2
        assert named in errors
        assert f"{0:016x}" in errors
        assert errors.count("\n") == 1
    assert len(Index(index)) == 12


@pytest.mark.slow
def test_a_baseline_is_fitted_once(relahash, photos, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    options = ["--backbone", "small_cnn", "--weights", "none", "--bits", 8, "--image-size", 16]
    code, out, errors = relahash("index", photos, "--index", tmp_path / "index", *options)
    assert code == 0, errors
    before = Index(tmp_path / "index")
    paths, codes = before.codes()
    expected = [before.model().hash(path).tolist() for path in paths]
    assert codes.tolist() == expected
    monkeypatch.setattr(Model, "from_bytes", lambda content: pytest.fail("the model was loaded"))
    code, out, _ = relahash("index", photos, "--index", tmp_path / "index", *options)
    assert (code, out.split(";")[0][-30:]) == (0, " 0 gone, 12 unchanged, 0 skipped"[-30:])


def test_search_prints_answers_in_three_formats(relahash, photos, index):
    query = list_files(photos)[3]
    expected = nearest_by_hand(photos, query, 4)
    code, out, _ = relahash("search", query, "--index", index, "-k", 4)
    title, *rows = out.splitlines()
    assert code == 0
    assert title == str(query)
    found = [(int(row.split()[1]), row.split()[-1]) for row in rows]
    assert found == expected
    assert [row.split()[-1] for row in rows if "=" in row] == [str(query)]
    code, out, _ = relahash("search", query, "--index", index, "-k", 4, "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["distance"], line["path"]) for line in lines] == expected
    assert [line["rank"] for line in lines] == [1, 2, 3, 4]
    assert [line["path"] for line in lines if line["is_same_file"]] == [str(query)]
    code, out, _ = relahash("search", query, "--index", index, "--format", "html")
    assert out.startswith("<!doctype html>")
    assert out.count("data:image/jpeg;base64,") == 13
    assert "http" not in out


def test_a_query_that_cannot_be_read_is_named_and_the_others_are_answered(relahash, photos, index, tmp_path):
    query = list_files(photos)[3]
    (tmp_path / "empty.jpg").write_bytes(b"")
    code, out, errors = relahash("search", query, tmp_path / "empty.jpg", tmp_path, "nothing.jpg", "--index", index)
    assert code == 0
    assert out.splitlines()[0] == str(query)
    assert len(errors.splitlines()) == 3
    assert relahash("search", query, "nothing.jpg", "--index", index, "--strict")[0] == 1
    assert relahash("search", "nothing.jpg", "--index", index)[0] == 1


def test_a_search_marks_what_is_gone(relahash, photos, index):
    first, second, *_ = list_files(photos)
    first.unlink()
    _, out, _ = relahash("search", second, "--index", index)
    assert [line.split()[-2] for line in out.splitlines() if line.endswith("(gone)")] == [str(first)]


def test_approximate_kinds_say_their_recall(relahash, photos, index):
    for kind in ("ivf", "hnsw"):
        _, out, errors = relahash("search", list_files(photos)[0], "--index", index, "--kind", kind, "-k", 3)
        assert "recall@3 1.000" in errors
        assert len(out.splitlines()) == 4


def test_duplicates_in_three_formats(relahash, photos, index, tmp_path):
    shutil.copy(photos / "a" / "000.png", photos / "copy.png")
    relahash("index", photos, "--index", index)
    code, out, errors = relahash("duplicates", "--index", index, "--radius", 0)
    assert code == 0
    title, *rows = out.split("\n\n")[0].splitlines()
    assert title == "same file, 2 pictures"
    assert [row.split()[-1] for row in rows] == [str(photos / "a" / "000.png"), str(photos / "copy.png")]
    assert "1 groups of the same file" in errors
    code, out, _ = relahash("duplicates", "--index", index, "--format", "jsonl")
    line = json.loads(out.splitlines()[0])
    size = (photos / "copy.png").stat().st_size
    assert (line["kind"], line["distance"], line["size"], line["width"], line["height"]) == (
        "same file",
        0,
        size,
        16,
        20,
    )
    code, out, _ = relahash("duplicates", "--index", index, "--format", "html")
    assert out.startswith("<!doctype html>")


def test_folders_are_listed_and_taken_out(relahash, photos, index):
    code, out, _ = relahash("index", "--list", "--index", index)
    assert code == 0
    assert str(photos) in out and "12" in out
    code, out, _ = relahash("index", "--remove", photos, "--index", index)
    assert (code, out.split()[0]) == (0, "12")
    assert relahash("index", "--remove", photos, "--index", index)[0] == 2
    assert len(Index(index)) == 0


@pytest.mark.parametrize("of", ["folder", "index"])
def test_hash_writes_codes_paths_bit_order_and_card(relahash, photos, index, model, tmp_path, of):
    out = tmp_path / "codes.npz"
    (photos / "text.png").write_text("no picture")
    options = [photos, "--run", model] if of == "folder" else ["--index", index]
    code, _, errors = relahash("hash", *options, "--out", out)
    assert code == 0, errors
    with np.load(out, allow_pickle=False) as file:
        paths = file["paths"].tolist()
        assert paths == [str(path) for path in list_files(photos) if path.name != "text.png"]
        assert str(file["bit_order"]) == "big"
        assert json.loads(str(file["card"]))["bits"] == BITS
        expected = [Model.from_bytes(tiny_model()).hash(path) for path in paths]
        np.testing.assert_array_equal(file["codes"], expected)
        bits = np.unpackbits(file["codes"], axis=1, count=BITS, bitorder=str(file["bit_order"]))
        assert bits.shape == (12, BITS)
    assert ("text.png" in errors) == (of == "folder")


ADDRESS = "postgresql://me:secret@127.0.0.1:1/x?connect_timeout=2"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["search", "--index", "x"], "pictures"),
        (["search", "x.jpg"], "index"),
        (["search", "x.jpg", "--index", "nothing"], "'nothing'"),
        (["search", "x.jpg", "--index", "x", "--kind", "flatt"], "'flatt'"),
        (["hash", "nothing"], "'nothing'"),
        (["hash"], "folder"),
        (["hash", ".", "--index", "x"], "folder"),
        (["hash", ".", "--run", "none"], "folder"),
        (["index", "nothing", "--index", "x"], "'nothing'"),
        (["index", "--index", "x"], "folder"),
        (["index", "--list", "--index", "x"], "'x'"),
        (["index", ".", "--index", "x", "--backbone", "small_cnn", "--weights", "none"], "folder"),
        (["duplicates"], "index"),
        (["duplicates", "--index", "pgsql://me:secret@host/x"], "postgresql://"),
        (["index", ".", "--index", "host=h password=secret"], "postgresql://"),
        (["index", ADDRESS, "--index", "x"], "folder"),
        (["index", "--remove", ADDRESS, "--index", "x"], "'x'"),
        (["search", "x.jpg", "--index", ADDRESS], "PostgreSQL"),
        (["search", "x.jpg", "--index", "postgresql://me:se cret@nowhere:port/x"], "postgresql://"),
        (["search", "x.jpg", "--index", "postgresql://me:secret@host:99999/x"], "PostgreSQL"),
        (["search", "x.jpg", "--kind", ADDRESS, "--index", "x"], "kind"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_and_leaves_nothing(relahash, arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = relahash(*arguments)
    assert code == 2
    assert named in errors
    assert "cret" not in out + errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_query_that_is_an_address_shows_no_password(relahash, index):
    code, out, errors = relahash("search", ADDRESS, "--index", index)
    assert code == 1
    assert "secret" not in out + errors

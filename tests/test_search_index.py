"""A search gives what NumPy does, ties included, by distinct codes; approximate kinds never give fewer than k."""

import numpy as np
import pytest
from PIL import Image

from relahash_search import index as indexes
from relahash_search.index import Index, nearest_items, open_tables
from relahash_search.tables import File, Reading
from tests.search_data import add_folder, draw, list_files, nearest_by_hand, tiny_model

faiss = pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty pictures, twenty each in `a` and `b`."""
    return draw(tmp_path_factory.mktemp("photos"), 40)


def fill(location, codes: np.ndarray, kind: str = "flat") -> Index:
    """An index of made-up pictures with these packed codes (N, ⌈K/8⌉), whose names do not follow their numbers."""
    index = Index.begin(location, tiny_model(8 * codes.shape[1]))
    folder = add_folder(index, "/nowhere")
    names = np.random.default_rng(1).permutation(len(codes))
    readings = [
        Reading(f"{name:06d}", f"{name:064x}", File(1, 1), code.tobytes())
        for name, code in zip(names, codes, strict=True)
    ]
    for start in range(0, len(readings), 500):
        index.tables.put(folder, readings[start : start + 500])
    index.tables.prepare(kind)
    return Index(location, kind)


def by_hand(index: Index, code: np.ndarray, k: int) -> list[tuple[int, str]]:
    paths, codes = index.codes()
    distances = np.bitwise_count(codes ^ code).sum(axis=1).tolist()
    return sorted(zip(distances, paths, strict=True))[:k]


def answers(index: Index, code: np.ndarray, k: int) -> list[tuple[int, str]]:
    found = nearest_items(index.tables, code.tobytes(), k, index.kind)
    return [(distance, item.full_path) for distance, item in found]


def clustered(count: int, distinct: int, code_bytes: int, seed: int = 0) -> np.ndarray:
    """Codes (count, code_bytes) of few distinct ones that lie in heaps, as a trained model gives."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2, (8, 8 * code_bytes))
    flips = generator.random((distinct, 8 * code_bytes)) < 0.1
    kinds = np.packbits(centres[generator.integers(0, 8, distinct)] ^ flips, axis=1)
    return kinds[generator.integers(0, distinct, count)]


@pytest.mark.parametrize("k", [1, 7, 33, 500, 10_000])
def test_flat_equals_numpy_with_ties_in_order_of_paths(location, k):
    codes = clustered(600, 90, 2)
    index = fill(location, codes)
    for code in [*codes[:10], np.zeros(2, np.uint8)]:
        expected = by_hand(index, code, k)
        assert answers(index, code, k) == expected
        assert len(expected) == min(k, 600)


def test_pictures_are_searched_by_path_content_and_image(location, photos):
    index = Index.begin(location, tiny_model())
    index.update(photos)
    for query in list_files(photos)[:4]:
        expected = nearest_by_hand(photos, query, 6)
        with Image.open(query) as image:
            for source in (query, str(query), query.read_bytes(), image):
                found = index.search(source, 6)
                assert [(match.distance, match.path) for match in found] == expected
                same = [match.path for match in found if match.is_same_file]
                assert same == ([] if source is image else [str(query)])


def test_a_search_says_what_is_gone_and_what_has_changed(location, tmp_path):
    folder = draw(tmp_path / "photos", 4)
    index = Index.begin(location, tiny_model())
    index.update(folder)
    gone, changed, *_ = list_files(folder)
    content = gone.read_bytes()
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b"more")
    states = {match.path: match.state for match in index.search(content, 4)}
    assert states.pop(str(gone)) == "gone"
    assert states.pop(str(changed)) == "changed"
    assert set(states.values()) == {""}


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_kinds_give_k_answers_and_nearly_the_nearest(location, kind):
    codes = clustered(3_000, 400, 8)
    if kind not in open_tables(location, create=True).kinds:
        with pytest.raises(ValueError, match="kind: 'ivf'"):
            fill(location, codes, kind)
        return
    index = fill(location, codes, kind)
    for k in (1, 50, 2_999, 5_000):
        assert all(len(answers(index, code, k)) == min(k, 3_000) for code in codes[:5])
    assert index.recall(100) >= 0.99


def test_an_approximate_kind_that_finds_too_little_is_completed(location, monkeypatch):
    codes = clustered(300, 60, 2)
    index = fill(location, codes, "hnsw")
    nearest_codes = index.tables.nearest_codes

    def find_one(code, count, kind):
        distances, numbers = nearest_codes(code, count, kind)
        return (distances[:1], numbers[:1]) if kind == "hnsw" else (distances, numbers)

    monkeypatch.setattr(index.tables, "nearest_codes", find_one)
    assert answers(index, codes[0], 100) == by_hand(index, codes[0], 100)


def test_recall_counts_what_is_missed(location, monkeypatch):
    codes = np.random.default_rng(0).permutation(2**16)[:200].astype(np.uint16).view(np.uint8).reshape(-1, 2)
    index = fill(location, codes, "hnsw")
    nearest_codes = index.tables.nearest_codes

    def find_the_farthest(code, count, kind):
        if kind == "flat":
            return nearest_codes(code, count, kind)
        distances, numbers = nearest_codes(code, len(codes), "flat")
        return distances[-count:], numbers[-count:]

    assert index.recall(1) == 1
    monkeypatch.setattr(index.tables, "nearest_codes", find_the_farthest)
    assert index.recall(1) == 0


def test_what_another_process_adds_is_found(location, photos):
    index = Index.begin(location, tiny_model())
    index.update(photos / "a")
    query = photos / "b" / "001.png"
    assert index.search(query, 1)[0].path != str(query)
    Index(location).update(photos / "b")
    assert index.search(query, 1)[0].path == str(query)


def test_the_number_of_threads_changes_nothing(tmp_path):
    codes = clustered(2_000, 300, 8)
    found = []
    for threads in (1, 4):
        faiss.omp_set_num_threads(threads)
        index = fill(tmp_path / str(threads), codes)
        found.append([answers(index, code, 40) for code in codes[:20]])
    faiss.omp_set_num_threads(1)
    assert found[0] == found[1]


def test_the_model_of_an_index_is_its_own(location, photos):
    index = Index.begin(location, tiny_model())
    index.update(photos / "a")
    again = Index.begin(location, tiny_model())
    assert again.card == index.card
    with pytest.raises(ValueError, match="model") as caught:
        Index.begin(location, tiny_model(seed=7))
    for seed in (0, 7):
        assert f"{seed:016x}" in str(caught.value)
    assert len(Index(location)) == 20


def test_bytes_that_are_no_model_leave_no_index(location, tmp_path):
    with pytest.raises(ValueError):
        Index.begin(location, b"no model")
    with pytest.raises(ValueError, match="index"):
        Index(location)
    assert not list(tmp_path.iterdir())


def test_codes_are_those_of_the_paths(location):
    codes = clustered(50, 9, 2)
    index = fill(location, codes)
    paths, found = index.codes()
    names = np.random.default_rng(1).permutation(50)
    expected = dict(zip((f"/nowhere/{name:06d}" for name in names), codes.tolist(), strict=True))
    assert paths == sorted(expected)
    assert found.tolist() == [expected[path] for path in paths]


def test_an_index_without_pictures(location):
    index = Index.begin(location, tiny_model())
    assert len(index) == 0
    assert answers(index, np.zeros(2, np.uint8), 5) == []
    assert index.codes()[1].shape == (0, 2)
    for kind in index.tables.kinds:
        index.tables.prepare(kind)
        assert answers(Index(location, kind), np.zeros(2, np.uint8), 5) == []


def test_there_is_no_torch_in_a_search():
    import subprocess
    import sys

    code = "import sys, relahash_search.commands, relahash_search.index, relahash_search.sqlite, relahash_search.models"
    heavy = "('torch', 'pandas', 'matplotlib', 'scipy', 'IPython', 'papermill')"
    code += f"; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert indexes.PART > 0

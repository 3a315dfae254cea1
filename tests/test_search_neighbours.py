"""FAISS's file gives what NumPy does; a broken, foreign or stale one is made anew."""

import numpy as np
import pytest

from relahash_search import neighbours
from relahash_search.neighbours import KINDS, Neighbours

pytest.importorskip("faiss", reason="the extra [search] is not installed")
COUNT = 600


@pytest.fixture(scope="module")
def codes():
    """Numbers with gaps, and distinct codes of 16 bits."""
    generator = np.random.default_rng(0)
    values = generator.permutation(2**16)[:COUNT].astype(np.uint16)
    return np.arange(COUNT, dtype=np.int64) * 7 + 3, values.view(np.uint8).reshape(COUNT, 2)


def by_hand(codes, code, count):
    numbers, packed = codes
    distances = np.bitwise_count(packed ^ code).sum(axis=1)
    order = np.argsort(distances, kind="stable")[:count]
    return distances[order], numbers[order]


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_numpy_and_numbers_are_those_of_the_codes(kind, codes, tmp_path):
    numbers, packed = codes
    for _ in range(2):  # written, then read
        found = Neighbours.open(tmp_path, kind, "state", lambda: codes, 16)
        for code in packed[:20]:
            distances, answers = found.nearest(code, 9)
            expected, _ = by_hand(codes, code, 9)
            assert distances.tolist() == expected.tolist()
            rows = np.searchsorted(numbers, answers)
            assert np.bitwise_count(packed[rows] ^ code).sum(axis=1).tolist() == distances.tolist()


def test_all_codes_at_a_distance(codes, tmp_path):
    numbers, packed = codes
    found = Neighbours.open(tmp_path, "flat", "state", lambda: codes, 16)
    for distance in (0, 1, 5, 16):
        expected = numbers[np.bitwise_count(packed ^ packed[3]).sum(axis=1) == distance]
        assert sorted(found.at(packed[3], distance)) == expected.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_no_code_and_one_code(kind, tmp_path):
    for count in (0, 1):
        few = np.arange(count, dtype=np.int64), np.zeros((count, 2), np.uint8)
        found = Neighbours.open(tmp_path, kind, f"state{count}", lambda few=few: few, 16)
        distances, numbers = found.nearest(np.zeros(2, np.uint8), 5)
        assert distances.tolist() == numbers.tolist() == [0] * count


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_made_anew(kind, codes, tmp_path):
    Neighbours.open(tmp_path, kind, "state", lambda: codes, 16)
    (path,) = tmp_path.glob("*.faiss")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    for content in (b"", whole[:40], whole[:-1], bytes(flipped), b"x" * len(whole)):
        path.write_bytes(content)
        found = Neighbours.open(tmp_path, kind, "state", lambda: codes, 16)
        assert found.nearest(codes[1][0], 1)[1].tolist() == [3]
        assert path.read_bytes()[-4:] == whole[-4:] or kind == "hnsw"  # hnsw draws at random


def test_a_stale_file_is_not_searched_and_goes(codes, tmp_path):
    numbers, packed = codes
    Neighbours.open(tmp_path, "flat", "old", lambda: codes, 16)
    fewer = numbers[5:], packed[5:]
    found = Neighbours.open(tmp_path, "flat", "new", lambda: fewer, 16)
    assert 3 not in found.nearest(packed[0], 9)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["flat-new.faiss"]


def test_hnsw_is_extended_where_the_first_codes_are_the_same(codes, tmp_path, monkeypatch):
    numbers, packed = codes
    first = numbers[:400], packed[:400]
    Neighbours.open(tmp_path, "hnsw", "old", lambda: first, 16)
    builds = []
    build = neighbours._build
    monkeypatch.setattr(neighbours, "_build", lambda *arguments: builds.append(1) or build(*arguments))
    found = Neighbours.open(tmp_path, "hnsw", "new", lambda: codes, 16)
    assert builds == []
    assert found.nearest(packed[500], 1)[1].tolist() == [numbers[500]]
    others = numbers, np.roll(packed, 1, axis=0)
    found = Neighbours.open(tmp_path, "hnsw", "other", lambda: others, 16)
    assert builds == [1]
    assert found.nearest(packed[0], 1)[1].tolist() == [numbers[1]]


def test_a_folder_that_cannot_be_written_to_can_be_searched(codes, tmp_path, monkeypatch):
    def refuse(path, writer):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(neighbours, "write", refuse)
    found = Neighbours.open(tmp_path, "flat", "state", lambda: codes, 16)
    assert found.nearest(codes[1][2], 1)[1].tolist() == [17]
    assert not list(tmp_path.iterdir())

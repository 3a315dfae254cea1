"""Copies are found byte by byte, near ones within a radius of the group's first, without chains; what is gone not."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from relahash_search.duplicates import default_radius, find_duplicates
from relahash_search.index import Index
from relahash_search.reading import describe_file
from relahash_search.tables import Reading
from tests.search_data import add_folder, draw, list_files, tiny_model

pytest.importorskip("faiss", reason="the extra [search] is not installed")


@pytest.fixture
def photos(tmp_path):
    return draw(tmp_path / "photos", 8)


def fill(location, folder, codes: list[int], sizes: list[int] | None = None) -> Index:
    """An index of files `0`, `1`, … with these codes of 16 bits and sizes in bytes; equal sizes are no equal files."""
    index = Index.begin(location, tiny_model(16))
    folder.mkdir()
    readings = []
    for number, code in enumerate(codes):
        path = folder / str(number)
        path.write_bytes(b"x" * (sizes[number] if sizes else 1))
        readings.append(Reading(path.name, f"{number:064x}", describe_file(path), code.to_bytes(2)))
    index.tables.put(add_folder(index, str(folder)), readings)
    return index


def groups(index: Index, radius: int) -> list[list[tuple[str, int]]]:
    """Last part of the name and distance of each picture of each near group."""
    found = find_duplicates(index.tables, radius).groups
    return [[(copy.path[-1], copy.distance) for copy in group.copies] for group in found]


def test_there_are_no_chains(location, tmp_path):
    index = fill(location, tmp_path / "x", [0b0000, 0b0011, 0b1111, 0xFF00])
    assert groups(index, 2) == [[("0", 0), ("1", 2)]]  # 1 and 2 are near, 0 and 2 are not
    assert groups(index, 4) == [[("0", 0), ("1", 2), ("2", 4)]]
    assert groups(index, 0) == []


def test_the_largest_file_is_the_first(location, tmp_path):
    index = fill(location, tmp_path / "x", [0b0000, 0b0011, 0b1111], sizes=[1, 9, 5])
    assert groups(index, 2) == [[("1", 0), ("2", 2), ("0", 2)]]


def test_groups_equal_those_of_a_slow_loop(location, tmp_path):
    codes = np.random.default_rng(0).integers(0, 64, 300).tolist()
    sizes = np.random.default_rng(1).integers(1, 9, 300).tolist()
    index = fill(location, tmp_path / "x", codes, sizes)
    names = [str(tmp_path / "x" / str(number)) for number in range(300)]
    for radius in (0, 1, 2):
        free = sorted(range(300), key=lambda number: (-sizes[number], names[number]))
        expected = []
        while free:
            first = free[0]
            near = [number for number in free if (codes[number] ^ codes[first]).bit_count() <= radius]
            free = [number for number in free if number not in near]
            if len(near) > 1:
                expected.append((names[first], {names[number] for number in near}))
        found = [
            (group.copies[0].path, {copy.path for copy in group.copies})
            for group in find_duplicates(index.tables, radius).groups
        ]
        assert found == sorted(expected)


def test_copies_are_the_same_file_and_come_first(location, photos):
    first, second, *_ = list_files(photos)
    shutil.copy(first, photos / "copy.png")
    with Image.open(second) as image:
        image.resize((32, 40)).save(photos / "larger.png")
    index = Index.begin(location, tiny_model())
    index.update(photos)
    same, *near = find_duplicates(index.tables, 1).groups
    assert same.kind == "same file"
    assert [copy.path for copy in same.copies] == sorted([str(first), str(photos / "copy.png")])
    assert {(copy.distance, copy.size, copy.width, copy.height) for copy in same.copies} == {
        (0, first.stat().st_size, 16, 20)
    }
    (group,) = [group for group in near if str(second) in [copy.path for copy in group.copies]]
    assert group.kind == "near"
    assert (group.copies[0].path, group.copies[0].width) == (str(photos / "larger.png"), 32)
    for group in near:
        paths = [copy.path for copy in group.copies]
        assert not {str(first), str(photos / "copy.png")} <= set(paths)


def test_what_is_gone_or_has_changed_is_passed_over(location, photos):
    first, second, *_ = list_files(photos)
    for number, path in enumerate([first, second]):
        shutil.copy(path, photos / f"copy{number}.png")
    index = Index.begin(location, tiny_model())
    index.update(photos)
    first.unlink()
    second.write_bytes(second.read_bytes() + b"more")
    found = find_duplicates(index.tables, 0)
    assert found.passed_over == 2
    assert [group for group in found.groups if group.kind == "same file"] == []


def test_a_file_by_a_link_is_not_there_twice(location, photos):
    first, second, *_ = list_files(photos)
    (photos / "link.png").symlink_to(first)
    os.link(second, photos / "hard.png")
    index = Index.begin(location, tiny_model())
    index.update(photos)
    assert len(index) == 10
    assert [group for group in find_duplicates(index.tables, 0).groups if group.kind == "same file"] == []


def test_the_default_radius_is_a_share_of_the_bits():
    assert [default_radius(bits) for bits in (8, 64, 256)] == [0, 6, 25]


def test_an_empty_index_and_one_picture(location, tmp_path):
    index = fill(location, tmp_path / "x", [])
    assert groups(index, 3) == []
    index.tables.put(add_folder(index, "/x"), [Reading("a", "0" * 64, describe_file(tmp_path / __file__), b"12")])
    assert find_duplicates(index.tables, 3).passed_over == 1

"""`codes.npz` and `run.json` from elsewhere: a run and its codes, or one ValueError of one line."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relahash_nb.results import load_run
from relahash_nb.results.arrays import ARRAYS

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DTYPES = ("u1", "i1", "i8", "f2", "f8", "c8", "U3", "S2", "M8[s]", "?", "V4")


@pytest.fixture(scope="module")
def source(tiny_results):
    """The folder of a run of 16 bits, and its arrays."""
    run = load_run(next(iter(sorted((tiny_results / "runs").glob("*-16bits-relahash-seed0-*")))))
    return run.folder, run.arrays


@pytest.fixture
def copy(source, tmp_path):
    return shutil.copytree(source[0], tmp_path / source[0].name)


def read_or_refuse(folder):
    """All that a run gives of its codes, or None where it was refused in one line."""
    try:
        run = load_run(folder)
        return [*run.codes("query"), *run.codes("database"), *run.codes_before_sign(), *run.neighbours()]
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return None


def test_the_file_says_the_order_of_its_bits_and_an_older_one_does_not(source, copy):
    folder, arrays = source
    assert str(arrays["bit_order"]) == "big"
    bits = np.unpackbits(arrays["query_codes"], axis=1, count=16, bitorder=str(arrays["bit_order"]))
    assert np.array_equal(2.0 * bits - 1, load_run(folder).codes("query")[0])
    np.savez(copy / "codes.npz", **{name: array for name, array in arrays.items() if name != "bit_order"})
    assert np.array_equal(load_run(copy).codes("query")[0], load_run(folder).codes("query")[0])
    np.savez(copy / "codes.npz", **(arrays | {"bit_order": np.array("little")}))
    with pytest.raises(ValueError, match=r"codes\.npz: .*bit_order: 'little'"):
        load_run(copy).codes("query")


@QUICK
@given(data=st.data())
def test_an_array_of_another_kind_is_refused(data, source, copy):
    name = data.draw(st.sampled_from(sorted(ARRAYS)))
    array = source[1][name]
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(st.lists(st.integers(0, 20), max_size=5))
    other = np.zeros(shape, dtype)
    np.savez(copy / "codes.npz", **(source[1] | {name: other}))
    is_alike = other.shape == array.shape and dtype.kind in ARRAYS[name][0]
    assert read_or_refuse(copy) is None or is_alike or name == "thumbnails"  # of any height and width


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_a_missing_array_and_one_of_objects_are_refused(name, source, copy):
    np.savez(copy / "codes.npz", **{key: array for key, array in source[1].items() if key != name})
    with pytest.raises(ValueError, match=f"{name}: missing"):
        load_run(copy).codes("query")
    np.savez(copy / "codes.npz", **(source[1] | {name: np.array([{}, None], dtype=object)}))
    assert read_or_refuse(copy) is None


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("query_raw", (3, 2), np.nan),
        ("sample_raw", (0, 0), np.nan),
        ("centroids", (0, 0), 0),
        ("sample_rows", (1,), 200),
        ("nearest", (0, 3), -1),
        ("nearest_thumbnails", (0, 0), 10**6),
        ("shown_queries", (0,), 60),
        ("query_thumbnails", (0,), -5),
    ],
)
def test_a_value_that_cannot_be_is_refused(name, place, value, source, copy):
    array = source[1][name].copy()
    array[place] = value
    np.savez(copy / "codes.npz", **(source[1] | {name: array}))
    with pytest.raises(ValueError, match=rf"codes\.npz: .*{name}: "):
        load_run(copy).codes("query")


def test_a_header_that_asks_for_all_memory_is_refused_unread(source, copy):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 2), }"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    np.savez(copy / "codes.npz", **{name: array for name, array in source[1].items() if name != "database_codes"})
    with zipfile.ZipFile(copy / "codes.npz", "a") as file:
        file.writestr("database_codes.npy", content)
    with pytest.raises(ValueError, match=r"database_codes: has shape \(1000000000000, 2\)"):
        load_run(copy).codes("database")


@QUICK
@given(place=st.floats(0, 1), bit=st.integers(0, 7), keep=st.floats(0, 1), is_cut=st.booleans())
def test_a_flipped_bit_or_a_cut_file_is_found(place, bit, keep, is_cut, source, copy):
    content = bytearray((source[0] / "codes.npz").read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
    if is_cut:
        content = content[: int(keep * len(content))]
    (copy / "codes.npz").write_bytes(content)
    given_arrays = read_or_refuse(copy)
    if given_arrays is not None:
        for ours, expected in zip(given_arrays, read_or_refuse(source[0]), strict=True):
            assert np.array_equal(ours, expected)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(data=st.data())
def test_any_run_json_gives_a_run_or_one_line(data, source, copy):
    report = json.loads((source[0] / "run.json").read_text())
    place = report
    if data.draw(st.booleans()):
        place = report[data.draw(st.sampled_from([name for name, part in report.items() if isinstance(part, dict)]))]
    if place and data.draw(st.booleans()):
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    elif place:
        place.pop(data.draw(st.sampled_from(sorted(place))))
    (copy / "run.json").write_text(json.dumps(report))
    read_or_refuse(copy)


def test_a_split_that_is_none_is_named(source):
    with pytest.raises(ValueError, match=r"^split: 'gallery' given"):
        load_run(source[0]).codes("gallery")

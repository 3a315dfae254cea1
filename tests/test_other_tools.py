"""The page of outside tools equals its JSON files, recall means what it says, three engines still do the same."""

import doctest
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.other_tools import engines, files, numerics, page
from benchmarks.other_tools.guesses import ENGINES as EXPECTED
from benchmarks.other_tools.words import ENGINES as WORDS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(engines.SCRIPTS))
import harness  # noqa: E402 - the scripts' own module, beside them

FINDINGS = sorted((ROOT / "findings").glob("*.sh"))


def test_the_page_equals_its_files():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.page_text(text) == text


def test_each_row_has_a_guess_words_and_numbers():
    rows = files.read_results("engines")["rows"]
    declared = {row for script in engines.ENGINES.values() for row in script.rows}
    assert set(rows) == declared == set(WORDS) == set(EXPECTED)
    assert all(row["expected"] and row["observed"] and row["advice"] for row in rows.values())
    assert set(numerics.EXPECTED) <= set(numerics.SETTINGS) == set(files.read_results("numerics")["rows"])


def test_no_engine_gave_a_wrong_distance():
    """The page says so."""
    for row in files.read_results("engines")["rows"].values():
        for parts in row.get("measured", {}).values():
            if isinstance(parts, dict):
                assert all(part["wrong_distances"] == 0 for part in parts.values())


def test_the_page_s_search_of_distinct_codes_gives_the_true_order():
    (block,) = re.findall(r"```python\n(>>> import faiss.*?)```", page.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    test = doctest.DocTestParser().get_doctest(block, {}, "distinct codes", None, 0)
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(failed=0, attempted=len(test.examples))


def test_recall_by_hand():
    truth = np.array([[0, 2, 2, 3, 1]])  # the third nearest is at distance 2, which two items share
    exact = harness.measure([[0, 4, 1]], [[0, 1, 2]], truth, 3)
    assert (exact["recall"], exact["rows_worst"], exact["lowest_ids"]) == (1, 3, 1)
    other_tie = harness.measure([[0, 4, 2]], [[0, 1, 2]], truth, 3)
    assert (other_tie["recall"], other_tie["lowest_ids"]) == (1, 0)
    short = harness.measure([[0, 3, -1]], [[0, 3, 2**31]], truth, 3)
    assert (round(short["recall"], 2), short["rows_worst"], short["queries_short"]) == (0.33, 2, 1)
    repeated = harness.measure([[0, 0, 0]], [[0, 0, 0]], truth, 3)
    assert round(repeated["recall"], 2) == 0.33
    assert harness.measure([[0, 4, 1]], [[0, 1, 9]], truth, 3)["wrong_distances"] == 1


def test_hamming_of_packed_codes():
    codes = np.array([[0b10000000, 1], [0b11000000, 0]], dtype=np.uint8)
    assert harness.hamming(codes, codes).tolist() == [[0, 2], [2, 0]]


def test_codes_of_the_benchmark_are_those_of_trained_hashes():
    sets = harness.load(engines.CODES)
    assert {name: bits for name, (_, _, bits) in sets.items()} == {
        "trained64": 64,
        "trained16": 16,
        "trained20": 20,
        "uniform64": 64,
    }
    codes, queries, _ = sets["trained64"]
    groups = np.unique(codes, axis=0, return_counts=True)[1]
    assert (codes.shape, queries.shape, len(groups), groups.max()) == ((6500, 8), (500, 8), 806, 628)
    assert not (sets["trained20"][0][:, 2] & 0b1111).any()  # padding is zero


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_a_finding_stands_alone_and_is_listed(path):
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert "mktemp -d" in text and "trap 'rm -rf" in text and "relahash" not in text
    pins = re.search(r"--only-binary :all: (.*)", text)[1].split()
    assert all("==" in pin for pin in pins)
    assert "# Expected: " in text and "# Seen: " in text
    assert f"({path.name})" in (ROOT / "findings" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_quickest_engines_do_the_same_again(tmp_path):
    """Installs their wheels, so it needs the package index."""
    written = json.loads((files.RESULTS / "engines.json").read_text(encoding="utf-8"))["rows"]
    for name in ("faiss", "scikit_learn", "duckdb"):
        for row, again in engines.run_engine(name, tmp_path).items():
            for codes in ("trained64", "trained16", "trained20", "uniform64"):
                expected = written[row]["measured"][codes]["all"]
                assert again["measured"][codes]["all"]["recall"] == pytest.approx(expected["recall"], abs=0.02)

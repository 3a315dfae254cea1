"""The numbers that the pages state are those of the published tables."""

import re
from pathlib import Path

import pytest

from study.claims import CLAIMS, README, REALITY, Claim

ROOT = Path(__file__).parent.parent


def read_page(page):
    """The text of a page without its comments, with single spaces."""
    text = re.sub(r"<!--.*?-->", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(text.split())


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.phrase[:40])
def test_a_phrase_stands_in_its_page_with_the_numbers_of_its_rows(claim):
    filled = claim.fill()
    if filled is None:  # rows to come
        pattern = r"[-+.\d]+".join(re.escape(part) for part in re.split(r"{.*?}", claim.phrase))
        assert not re.search(pattern, read_page(claim.page))
    else:
        assert filled in read_page(claim.page)


@pytest.mark.parametrize(
    ("page", "start", "end"),
    [(REALITY, "", None), (README, "## What the study found", "| mAP@all |")],
)
def test_each_decimal_of_a_text_is_a_claim_s(page, start, end):
    _, text = read_page(page).split(start, 1) if start else ("", read_page(page))
    text = re.sub(r"arXiv \d+\.\d+|margin 0\.5", "", text.split(end)[0])  # a margin is a setting
    for claim in CLAIMS:
        filled = claim.fill()
        if claim.page == page and filled is not None:
            text = text.replace(filled, "")
    assert re.findall(r"\d*\.\d+", text) == []


def test_a_claim_without_rows_has_no_numbers():
    def missing():
        raise FileNotFoundError

    assert Claim("README.md", "{:.2f}", "grid.csv", missing).fill() is None
    assert Claim("README.md", "{:.2f}", "grid.csv", lambda: [float("nan")]).fill() is None
    assert Claim("README.md", "{:.2f} of {}", "grid.csv", lambda: [0.126, 3]).fill() == "0.13 of 3"

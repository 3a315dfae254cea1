"""Work on several threads: results in order, items asked for as they are needed, errors where they arise."""

import threading

import pytest

from relahash_nb.threads import AHEAD, map_in_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_whichever_is_done_first(threads):
    def wait(number):
        threading.Event().wait(0.01 * (number % 3 == 0))
        return number * number

    assert list(map_in_threads(wait, range(30), threads)) == [number * number for number in range(30)]
    assert list(map_in_threads(wait, [], threads)) == []


def test_items_are_asked_for_as_they_are_needed():
    asked = []

    def items():
        for number in range(1_000):
            asked.append(number)
            yield number

    results = map_in_threads(str, items(), threads=2)
    assert next(results) == "0" and len(asked) <= 2 * AHEAD
    results.close()
    assert len(asked) <= 2 * AHEAD + 1


def test_an_error_is_raised_at_its_place():
    results = map_in_threads(lambda number: 1 // number, [1, 0, 1], threads=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)

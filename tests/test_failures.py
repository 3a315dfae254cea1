"""What other libraries raise is a line with what to do; a fault of our own stays one that is seen."""

import asyncio
import errno
import sqlite3

import pytest

from relahash_nb import cli
from relahash_nb.failures import explain


def raised(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def of_sqlite():
    sqlite3.connect(":memory:").execute("select * from nothing")


def of_psycopg():
    pytest.importorskip("psycopg").connect("host=/nowhere user=me", connect_timeout=1)


def of_faiss():
    faiss = pytest.importorskip("faiss")
    faiss.read_index("/nowhere/flat.faiss")


def of_dask():
    distributed = pytest.importorskip("distributed")
    asyncio.run(distributed.connect("tcp://127.0.0.1:1", timeout=0.1))


def of_a_full_disk():
    raise OSError(errno.ENOSPC, "No space left on device", "codes.npz")


def of_a_disk_that_can_only_be_read():
    raise OSError(errno.EROFS, "Read-only file system", "codes.npz")


def of_the_memory():
    raise MemoryError("Unable to allocate 8 EiB")


OF_OTHERS = [of_sqlite, of_psycopg, of_faiss, of_dask, of_a_full_disk, of_a_disk_that_can_only_be_read, of_the_memory]


@pytest.mark.parametrize("function", OF_OTHERS, ids=lambda function: function.__name__)
def test_an_error_of_a_library_is_one_line_that_says_it_and_what_to_do(function, relahash, monkeypatch):
    error = raised(function)
    line = explain(error)
    said, _, remedy = line.partition("; ")
    text = getattr(error, "strerror", None) or str(error)
    assert "\n" not in line and " ".join(text.split())[:60] in said and len(remedy) > 20
    monkeypatch.setitem(cli.COMMANDS, "report", lambda arguments: function())
    code, printed, shown = relahash("report")
    assert code == 1 and not printed
    assert shown.count("\n") == 1 and "Traceback" not in shown and remedy in shown


@pytest.mark.parametrize("error", [KeyError("bits"), TypeError("none"), RuntimeError("ours"), AssertionError()])
def test_a_fault_of_our_own_is_not_hidden(error, relahash, monkeypatch):
    def fail(arguments):
        raise error

    assert explain(error) is None
    monkeypatch.setitem(cli.COMMANDS, "report", fail)
    with pytest.raises(type(error)):
        relahash("report")


def module(name, code, **names):
    """The function `call` of a module that is made up."""
    exec(code, names | {"__name__": name}, scope := {})
    return scope["call"]


def test_whose_fault_it_is_is_said_by_the_last_call():
    ours, theirs = "relahash_search.stores", "faiss.loader"
    fail, pass_on = "def call():\n    raise RuntimeError('broken')", "def call(inner):\n    inner()"
    of_ours, of_theirs = module(ours, fail), module(theirs, fail)
    assert explain(raised(lambda: module(theirs, pass_on)(of_ours))) is None
    assert explain(raised(lambda: module(ours, pass_on)(of_theirs))).startswith("faiss: broken; ")

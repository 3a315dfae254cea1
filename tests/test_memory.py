"""The allocator is asked to keep memory and asked back, whatever happens in between."""

import ctypes

import pytest

from relahash_nb.training.memory import KEPT, USUAL, kept_memory


class Library:
    def __init__(self):
        self.calls = []

    def mallopt(self, option, value):
        self.calls.append((option, value))

    def malloc_trim(self, pad):
        self.calls.append("trim")


def test_an_error_within_leaves_the_allocator_as_it_is_usually(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with pytest.raises(KeyError), kept_memory():
        assert library.calls == list(KEPT.items())
        raise KeyError
    assert library.calls == [*KEPT.items(), *USUAL.items(), "trim"]


@pytest.mark.parametrize("library", [OSError("no such library"), object()], ids=["no library", "another library"])
def test_without_glibc_it_does_nothing(library, monkeypatch):
    def load(name):
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    done = []
    with kept_memory():
        done.append(1)
    assert done

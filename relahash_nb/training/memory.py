"""Memory that one step frees and the next takes again stays with the process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt in glibc's malloc.h
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1}  # bytes
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}  # where glibc's own adapting ends


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within it freed memory goes back to the allocator and not to the system; afterwards all of it does.

    The system zeroes every page that it gives, and a training step takes gigabytes. Without glibc it does nothing.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        options, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):  # another system, or another C library
        yield
        return
    for option, bytes_ in KEPT.items():
        options(option, bytes_)
    try:
        yield
    finally:
        for option, bytes_ in USUAL.items():
            options(option, bytes_)
        trim(0)

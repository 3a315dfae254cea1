"""Work on several threads, for what releases the interpreter's lock: decoding, and a network that runs elsewhere."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # items for each thread that are begun before the first of their results is taken


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """The results of a function, in order; unlike `Executor.map`, it asks for items only as they are needed.

    Args:
        function: Called on a thread.
        items: Of any number; `AHEAD` of them for each thread are in memory at a time.
        threads: As many as this process has cores where None is given.

    Yields:
        What the function gives; what it raises is raised here.

    Example:
        >>> list(map_in_threads(len, ["a", "bb", "ccc"], threads=2))
        [1, 2, 3]
    """
    threads = threads or available_cores()
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) >= AHEAD * threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

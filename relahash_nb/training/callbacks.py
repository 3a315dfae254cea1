"""A function of the user's own that is called after each epoch, which `--callback` names."""

from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.registry import load
from relahash_nb.training.records import Record


def own_callbacks(config: RunConfig) -> list[Callable[[Record], Any]]:
    """The callback that a config names, in a list; an empty one where it names none.

    What the callback raises is printed, and training goes on: a logger that fails loses no training.

    Raises:
        ValueError: It cannot be loaded or made, or is no function.
    """
    if config.callback is None:
        return []
    make = load({}, config.callback)
    try:
        callback = make(config)
    except Exception as error:  # a function of the user's own may raise anything
        raise ValueError(f"callback: {config.callback} raised {type(error).__name__}: {error}") from error
    if not callable(callback):
        given = type(callback).__name__
        raise ValueError(f"callback: {config.callback} gives a {given}; allowed: a function of an epoch's record")

    def call(record: Record) -> None:
        try:
            callback(dict(record))
        except Exception as error:  # likewise
            tqdm.write(f"callback: {config.callback} raised {type(error).__name__}: {error}; training goes on")

    return [call]

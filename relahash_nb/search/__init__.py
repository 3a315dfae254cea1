"""Search your own pictures: hash a folder with a finished run's model, keep the codes, find the nearest."""

from importlib import import_module

PLACES = dict(Hasher="hasher", list_pictures="hasher", load_hasher="hasher", HashIndex="index", open_index="index")
PLACES |= dict(drop_pictures="page", nearest="page", thumbnails="page")


def __getattr__(name: str) -> object:  # a help text need not wait for torch
    if name not in PLACES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)

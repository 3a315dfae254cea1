"""Search your own pictures: hash a folder with a finished run's model, keep the codes, find the nearest.

hasher = load_hasher("RUN_ID")
index = HashIndex.build(hasher, "photos", "photos.index")
distances, paths = index.search(["holiday.jpg"], k=20)
"""

from importlib import import_module

HOMES = {"hasher": ("Hasher", "list_pictures", "load_hasher"), "index": ("HashIndex", "open_index")}
HOMES |= {"page": ("drop_pictures", "nearest", "thumbnails")}
__all__ = [name for names in HOMES.values() for name in names]  # noqa: PLE0605


def __getattr__(name: str) -> object:  # torch is imported when one of them is used: a help text need not wait for it
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(name)

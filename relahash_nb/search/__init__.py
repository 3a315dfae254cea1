"""Search your own pictures: hash a folder with a finished run's model, keep the codes, find the nearest.

hasher = load_hasher("RUN_ID")
index = HashIndex.build(hasher, "photos", "photos.index")
distances, paths = index.search(["holiday.jpg"], k=20)
"""

from relahash_nb.search.hasher import Hasher, list_pictures, load_hasher
from relahash_nb.search.index import HashIndex

__all__ = ["HashIndex", "Hasher", "list_pictures", "load_hasher"]

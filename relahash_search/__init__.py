"""Search your own pictures: hash a folder with a finished run's model, keep the codes, find the nearest.

| module | holds |
|---|---|
| `pictures` | the pictures of a folder; a picture file as an image |
| `hasher` | `load_hasher`: from pictures to packed codes, by the model of a run or by a baseline |
| `stores` | where the codes are kept: a folder, or PostgreSQL |
| `index` | `HashIndex`: codes and the model that made them; `open_index` |
| `page` | answers as thumbnails, for a notebook or a file |
| `commands` | `relahash hash`, `index`, `search` and `duplicates` |
"""

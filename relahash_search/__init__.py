"""Search your own pictures: an index that follows the disk, a model that is one file.

| module | holds |
|---|---|
| `location` | what `--index` names: a folder, or an address whose password no message shows |
| `tables` | the tables of an index and every statement on them |
| `sqlite`, `postgres` | the tables in a folder, or in PostgreSQL with pgvector |
| `neighbours` | FAISS's index of the distinct codes, in a file |
| `model` | `model.onnx`: from a picture to its packed code |
| `reading` | from picture files to digests and codes, on threads |
| `update` | an index is brought up to date with a folder |
| `index` | `Index`: update, search |
| `duplicates` | pictures that are there more than once |
| `models` | which model hashes: of an index, of a run, or a baseline |
| `page` | answers as thumbnails, for a notebook or a file |
| `commands` | `relahash hash`, `index`, `search` and `duplicates` |
"""

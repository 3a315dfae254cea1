"""`relahash hash`, `index`, `search` and `duplicates`: each takes its options, prints, and gives an exit code."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from relahash_nb.files import write
from relahash_nb.options import Count, Options, option

BASELINE = ("backbone", "weights", "loss", "bits", "image_size", "device")  # options of a run that these take too
PLACE = "folder, or postgresql://USER@HOST/DATABASE (password in PGPASSWORD or ~/.pgpass)"


class HashOptions(Options):
    """Hash the pictures of a folder into a file, with a run's model or with a baseline on a backbone."""

    folder: str | None = option(None, "folder with pictures, at any depth", "positional")
    run: str | None = option(None, "finished run whose model hashes; without it loss is itq, pcah or lsh")
    out: str = option("codes.npz", "file for packed codes, paths and what names the model")


class SearchOptions(Options):
    """Print the pictures of an index that are nearest to others."""

    pictures: list[str] | None = option(None, "files", "positional")
    index: str | None = option(None, PLACE)
    kind: Literal["flat", "ivf", "hnsw"] = option("flat", "flat is exact; ivf and hnsw are faster and miss some")
    k: Count = option(20, "answers for each picture")
    format: Literal["table", "jsonl", "html"] = option("table", "jsonl: an answer a line; html: a page with thumbnails")


class IndexOptions(Options):
    """Add a folder's pictures to an index; a run or a backbone begins it, and the same command again goes on."""

    folder: str | None = HashOptions.model_fields["folder"]
    run: str | None = HashOptions.model_fields["run"]
    index: str | None = SearchOptions.model_fields["index"]
    kind: Literal["flat", "ivf", "hnsw"] = SearchOptions.model_fields["kind"]


class DuplicatesOptions(Options):
    """Print groups of near-duplicates in an index."""

    index: str | None = option(None, PLACE, "positional")
    radius: Annotated[int, Field(ge=0, le=4096)] = option(4, "bits in which two codes may differ")


def run_hash(options: HashOptions, **settings: Any) -> int:
    """Writes packed codes, paths and the model's card to a file.npz; 1 where a picture was skipped."""
    import numpy as np

    from relahash_nb.search.hasher import load_hasher

    hasher = load_hasher(options.run, folder=options.folder, **settings)
    parts = list(hasher.hash_folder(options.folder))
    codes = np.concatenate([hasher([]), *(codes for _, codes, _ in parts)])
    paths = np.array([path for rows, *_ in parts for _, path in rows], str)
    np.savez(buffer := BytesIO(), codes=codes, paths=paths, card=json.dumps(hasher.card))
    write(Path(options.out), lambda temporary: temporary.write_bytes(buffer.getvalue()))
    print(f"{options.out}: {len(paths)} codes of {hasher.card['bits']} bits")
    return int(any(counts["skipped"] for *_, counts in parts))


def run_index(options: IndexOptions, **settings: Any) -> int:
    """Adds a folder's pictures to an index, which a run or a backbone begins; 1 where a picture was skipped."""
    from relahash_nb.search.index import open_index

    index = open_index(options.index, options.run, options.folder, options.kind, **settings)
    counts = index.add(options.folder)
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(index)} in the index")
    _say_recall(index, SearchOptions().k)
    return int(counts["skipped"] > 0)


def run_search(options: SearchOptions) -> int:
    """Prints the nearest of each picture as a table, a JSON line each, or a page; 1 where a picture cannot be read."""
    from relahash_nb.search import HashIndex, nearest, thumbnails

    index, pictures = HashIndex(options.index, kind=options.kind), {name: name for name in options.pictures}
    answers = nearest(index, pictures, options.k)
    faults = [answer for answer in answers.values() if isinstance(answer, str)]
    print(*(f"skipped: {fault}" for fault in faults), sep="\n", end="\n" * bool(faults), file=sys.stderr)
    _say_recall(index, options.k)
    if options.format == "html":
        print(f'<!doctype html><meta charset="utf-8"><title>Search</title>\n{thumbnails(pictures, answers)}')
    for name, answer in answers.items() if options.format != "html" else ():
        if options.format == "table":
            print(_printable(name))
        for rank, (distance, path, itself) in enumerate(answer if name not in faults else (), start=1):
            line = {"query": name, "rank": rank, "distance": distance, "path": path, "itself": itself}
            row = f"{rank:5} {distance:5} {'=' if itself else ' '} {_printable(path)}"
            print(json.dumps(line) if options.format == "jsonl" else row)
    return int(bool(faults))


def _say_recall(index: Any, k: int) -> None:
    """What an approximate index misses, measured now."""
    if index.kind != "flat" and len(index):
        share, queries = index.recall(k)
        print(f"{index.kind}: recall@{k} {share:.3f}, measured on {queries} codes of the index", file=sys.stderr)


def run_duplicates(options: DuplicatesOptions) -> int:
    """Prints groups of near-duplicates, an empty line after each."""
    from relahash_nb.search import HashIndex

    groups = HashIndex(options.index).duplicates(options.radius)
    for group in groups:
        print(*map(_printable, group), "", sep="\n")
    print(f"{len(groups)} groups of {sum(map(len, groups))} pictures within {options.radius} bits", file=sys.stderr)
    return 0


def _printable(path: str) -> str:
    return path if path.isprintable() else ascii(path)  # a name may hold what a terminal obeys


COMMANDS = {
    "hash": (HashOptions, run_hash),
    "index": (IndexOptions, run_index),
    "search": (SearchOptions, run_search),
    "duplicates": (DuplicatesOptions, run_duplicates),
}

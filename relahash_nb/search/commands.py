"""`relahash hash`, `index`, `search` and `duplicates`: each takes its options, prints, and gives an exit code."""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from relahash_nb.cluster import ClusterOptions
from relahash_nb.files import watch, write
from relahash_nb.options import Count, option
from relahash_nb.results.runs import clean


class SearchOptions(ClusterOptions):
    """Of all four; COMMANDS says which takes what."""

    folder: str | None = option(None, "folder with pictures, at any depth", "positional")
    pictures: list[str] | None = option(None, "files", "positional")
    run: str | None = option(None, "finished run whose model hashes; without it, a baseline on a backbone does")
    out: str = option("codes.npz", "file for packed codes, paths and what names the model")
    index: str | None = option(None, "folder, or postgresql://USER@HOST/DATABASE (password: PGPASSWORD or ~/.pgpass)")
    kind: Literal["flat", "ivf", "hnsw"] = option("flat", "flat is exact; ivf and hnsw are faster and miss some")
    k: Count = option(20, "answers for each picture")
    format: Literal["table", "jsonl", "html"] = option("table", "jsonl: an answer a line; html: a page with thumbnails")
    backbone: str | None = option(None, "without --run: any model of torchvision or timm")
    weights: str | None = option(None, "of the backbone: imagenet (the default), none, or a safetensors file")
    loss: Literal["itq", "pcah", "lsh"] = option("itq", "without --run: the baseline")
    bits: Annotated[int, Field(ge=1, le=4096)] = option(64, "without --run: length of a hash code")
    image_size: Annotated[int, Field(ge=8, le=4096)] = option(224, "without --run: height and width in pixels")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    radius: Annotated[int, Field(ge=0, le=4096)] = option(4, "bits in which two codes may differ")


def run_hash(options: SearchOptions, **settings: Any) -> int:
    """Hash the pictures of a folder into a file, with a run's model or with a baseline on a backbone."""
    import numpy as np

    from relahash_nb.search.hasher import COMMIT, list_pictures, load_hasher

    hasher, pictures = load_hasher(options.run, folder=options.folder, **settings), list_pictures(options.folder)
    parts = list(watch(hasher.hash_files(pictures), -(-len(pictures) // COMMIT), "pictures"))
    sys.stderr.writelines(f"skipped: {fault}\n" for *_, faults in parts for fault in faults)
    codes = np.concatenate([hasher([]), *(codes for _, codes, *_ in parts)])
    paths = np.array([path for rows, *_ in parts for _, path in rows], str)
    np.savez(buffer := BytesIO(), codes=codes, paths=paths, card=json.dumps(hasher.card))
    write(Path(options.out), lambda temporary: temporary.write_bytes(buffer.getvalue()))
    print(f"{options.out}: {len(paths)} codes of {hasher.card['bits']} bits")
    return int(any(skipped for *_, skipped in parts))


def run_index(options: SearchOptions, **settings: Any) -> int:
    """Add a folder's pictures to an index: the first time with --run or --backbone; the same again goes on."""
    from relahash_nb.search import open_index

    index = open_index(options.index, options.run, options.folder, options.kind, **settings)
    counts = index.add(options.folder, options.workers, options.scheduler)
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(index)} in the index")
    print_recall(index, SearchOptions().k)
    return int(counts["skipped"] > 0)


def run_search(options: SearchOptions) -> int:
    """Print the pictures of an index that are nearest to others; = marks the picture itself."""
    from relahash_nb.search import HashIndex, nearest, thumbnails

    index, pictures = HashIndex(options.index, kind=options.kind), {name: name for name in options.pictures}
    answers = nearest(index, pictures, options.k)
    faults = [answer for answer in answers.values() if isinstance(answer, str)]
    sys.stderr.writelines(f"skipped: {fault}\n" for fault in faults)
    print_recall(index, options.k)
    if options.format == "html":
        print(f'<!doctype html><meta charset="utf-8"><title>Search</title>\n{thumbnails(pictures, answers)}')
        return int(bool(faults))
    for name, answer in answers.items():
        if options.format == "table":
            print(clean(name))
        for rank, (distance, path, itself) in enumerate(answer if answer not in faults else (), start=1):
            line = {"query": name, "rank": rank, "distance": distance, "path": path, "itself": itself}
            row = f"{rank:5} {distance:5} {'=' if itself else ' '} {clean(path)}"
            print(json.dumps(line) if options.format == "jsonl" else row)
    return int(bool(faults))


def print_recall(index: Any, k: int) -> None:
    """What an approximate index finds, measured now."""
    if index.kind != "flat" and len(index):
        print(f"{index.kind}: recall@{k} {index.recall(k):.3f}, by codes of the index itself", file=sys.stderr)


def run_duplicates(options: SearchOptions) -> int:
    """Print groups of near-duplicates in an index, an empty line after each."""
    from relahash_nb.search import HashIndex

    groups = HashIndex(options.index).duplicates(options.radius)
    for group in groups:
        print(*map(clean, group), "", sep="\n")
    print(f"{len(groups)} groups of {sum(map(len, groups))} pictures within {options.radius} bits", file=sys.stderr)
    return 0


MODEL = ("backbone", "weights", "loss", "bits", "image_size", "device")
COMMANDS = {
    "hash": (run_hash, ("folder", "run", "out", *MODEL)),
    "index": (run_index, ("folder", "run", "index", "kind", "workers", "scheduler", *MODEL)),
    "search": (run_search, ("pictures", "index", "kind", "k", "format")),
    "duplicates": (run_duplicates, ("index", "radius")),
}

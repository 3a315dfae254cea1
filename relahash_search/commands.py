"""`relahash hash`, `index`, `search` and `duplicates`: each takes its options, prints, and gives an exit code."""

import json
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from relahash_nb.cluster import ClusterOptions
from relahash_nb.files import watch, write
from relahash_nb.options import Count, option
from relahash_nb.results.report import clean

if TYPE_CHECKING:  # a help text need not wait for torch
    from relahash_search.index import HashIndex
    from relahash_search.page import Answer


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

    from relahash_search.hasher import load_hasher
    from relahash_search.index import print_skipped
    from relahash_search.pictures import COMMIT, list_pictures

    assert options.folder is not None  # the command line has asked for it
    hasher = load_hasher(options.run, folder=options.folder, **settings)
    pictures = list_pictures(options.folder)
    codes = [hasher.hash([])]
    paths: list[str] = []
    faults: list[str] = []
    for batch in watch(hasher.read(pictures), ceil(len(pictures) / COMMIT), "pictures"):
        codes.append(hasher.hash(batch.images))
        paths += batch.paths
        faults += batch.faults
    print_skipped(faults)
    buffer = BytesIO()
    np.savez(buffer, codes=np.concatenate(codes), paths=np.array(paths, str), card=np.array(json.dumps(hasher.card)))
    write(Path(options.out), lambda temporary: temporary.write_bytes(buffer.getvalue()))
    print(f"{options.out}: {len(paths)} codes of {hasher.card['bits']} bits")
    return 1 if faults else 0


def run_index(options: SearchOptions, **settings: Any) -> int:
    """Add a folder's pictures to an index: the first time with --run or --backbone; the same again goes on."""
    from relahash_search.index import open_index

    assert options.index is not None and options.folder is not None  # the command line has asked for them
    index = open_index(options.index, options.run, options.folder, options.kind, **settings)
    counts = index.add(options.folder, options.workers, options.scheduler)
    print(f"{counts['added']} added, {counts['known']} known, {counts['skipped']} skipped; {len(index)} in the index")
    print_recall(index, options.k)
    return 1 if counts["skipped"] else 0


def run_search(options: SearchOptions) -> int:
    """Print the pictures of an index that are nearest to others; = marks the picture itself."""
    from relahash_search.index import HashIndex, print_skipped
    from relahash_search.page import nearest, thumbnails

    assert options.index is not None and options.pictures is not None  # the command line has asked for them
    index = HashIndex(options.index, kind=options.kind)
    pictures = {name: name for name in options.pictures}
    answers = nearest(index, pictures, options.k)
    faults = [answer for answer in answers.values() if isinstance(answer, str)]
    print_skipped(faults)
    print_recall(index, options.k)
    if options.format == "html":
        print('<!doctype html><meta charset="utf-8"><title>Search</title>')
        print(thumbnails(pictures, answers))
    elif options.format == "jsonl":
        print_lines(answers)
    else:
        print_table(answers)
    return 1 if faults else 0


def print_table(answers: "Mapping[str, Answer]") -> None:
    """Print each query's name, and below it a row for each answer: rank, distance, path."""
    for name, answer in answers.items():
        print(clean(name))
        if isinstance(answer, str):
            continue
        for rank, match in enumerate(answer, start=1):
            mark = "=" if match.is_query else " "
            print(f"{rank:5} {match.distance:5} {mark} {clean(match.path)}")


def print_lines(answers: "Mapping[str, Answer]") -> None:
    """Print each answer as a line of JSON."""
    for name, answer in answers.items():
        if isinstance(answer, str):
            continue
        for rank, match in enumerate(answer, start=1):
            line = {
                "query": name,
                "rank": rank,
                "distance": match.distance,
                "path": match.path,
                "itself": match.is_query,
            }
            print(json.dumps(line))


def print_recall(index: "HashIndex", k: int) -> None:
    """Say what an approximate index finds, measured now."""
    if index.kind != "flat" and len(index) > 0:
        print(f"{index.kind}: recall@{k} {index.recall(k):.3f}, by codes of the index itself", file=sys.stderr)


def run_duplicates(options: SearchOptions) -> int:
    """Print groups of near-duplicates in an index, an empty line after each."""
    from relahash_search.index import HashIndex

    assert options.index is not None  # the command line has asked for it
    groups = HashIndex(options.index).duplicates(options.radius)
    for group in groups:
        for path in group:
            print(clean(path))
        print()
    count = sum(len(group) for group in groups)
    print(f"{len(groups)} groups of {count} pictures within {options.radius} bits", file=sys.stderr)
    return 0


MODEL = ("backbone", "weights", "loss", "bits", "image_size", "device")
COMMANDS: dict[str, tuple[Callable[..., int], tuple[str, ...]]] = {
    "hash": (run_hash, ("folder", "run", "out", *MODEL)),
    "index": (run_index, ("folder", "run", "index", "kind", "workers", "scheduler", *MODEL)),
    "search": (run_search, ("pictures", "index", "kind", "k", "format")),
    "duplicates": (run_duplicates, ("index", "radius")),
}

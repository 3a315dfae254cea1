"""`relahash hash`, `index`, `search` and `duplicates`: each takes its options, prints, and gives an exit code."""

from __future__ import annotations

import base64
import html
import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from relahash_nb.datasets.images import FORMATS
from relahash_nb.files import write
from relahash_nb.search.hasher import BASELINE, Hasher, load_hasher
from relahash_nb.search.index import HashIndex


def run_hash(options: Any, **settings: Any) -> int:
    """Writes packed codes, paths and the model's card to a file.npz; 1 where a picture was skipped."""
    hasher, paths, codes, skipped = _load(options, settings), [], [], 0
    for pictures, part in hasher.hash_folder(options.folder):
        paths += [picture.path for picture in pictures if picture.image is not None]
        codes.append(part)
        skipped += len(pictures) - len(part)
    codes, card = np.concatenate([hasher([]), *codes]), json.dumps(hasher.card)
    np.savez(buffer := BytesIO(), codes=codes, paths=np.array(paths, str), card=card)
    write(Path(options.out), lambda temporary: temporary.write_bytes(buffer.getvalue()))
    print(f"{options.out}: {len(paths)} codes of {hasher.card['bits']} bits")
    return int(skipped > 0)


def run_index(options: Any, **settings: Any) -> int:
    """Adds a folder's pictures to an index, which a run or a backbone begins; 1 where a picture was skipped."""
    try:
        card = HashIndex(options.index).card
    except ValueError:
        card = {}
    asked = {"run": None, **BASELINE, **settings}
    fitted = all(card.get(name) == asked.get(name) for name in ("run", "backbone", "bits", "loss"))
    begin = options.run or ("backbone" in settings and not fitted)  # a baseline is fitted once
    index = HashIndex(options.index, _load(options, settings) if begin else None)
    counts = index.add(options.folder)
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(index)} in the index")
    return int(counts["skipped"] > 0)


def _load(options: Any, settings: dict[str, Any]) -> Hasher:
    if not options.run and "backbone" not in settings:
        raise ValueError("run, backbone: not given; needed: a finished run, or a backbone for a baseline")
    return load_hasher(options.run, folder=options.folder, **settings)


def run_search(options: Any) -> int:
    """Prints the nearest of each picture as a table, a JSON line each, or a page; 1 where a picture cannot be read."""
    index, answers = HashIndex(options.index), {}
    for picture in options.pictures:
        try:
            distances, paths = index.search([picture], options.k)
            answers[picture] = list(zip(distances[0].tolist(), paths[0], strict=True))
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
    if options.format == "html":
        print(html_page(answers))
    for picture, answer in answers.items() if options.format != "html" else ():
        print(_printable(picture)) if options.format == "table" else None
        for rank, (distance, path) in enumerate(answer, start=1):
            line = {"query": picture, "rank": rank, "distance": distance, "path": path}
            print(json.dumps(line) if options.format == "jsonl" else f"{rank:5} {distance:5}  {_printable(path)}")
    return int(len(answers) < len(set(options.pictures)))


def run_duplicates(options: Any) -> int:
    """Prints groups of near-duplicates, an empty line after each."""
    groups = HashIndex(options.index).duplicates(options.radius)
    for group in groups:
        print(*map(_printable, group), "", sep="\n")
    print(f"{len(groups)} groups of {sum(map(len, groups))} pictures within {options.radius} bits", file=sys.stderr)
    return 0


def _printable(path: str) -> str:
    return path if path.isprintable() else ascii(path)  # a name may hold what a terminal obeys


def html_page(answers: dict[str, list[tuple[int, str]]]) -> str:
    """Queries and their answers as one page, with thumbnails in it."""

    def figure(path: str, caption: str) -> str:
        try:
            with Image.open(path, formats=FORMATS) as image:
                image.thumbnail((160, 160))
                image.convert("RGB").save(buffer := BytesIO(), "JPEG")
            source = f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
        except (OSError, ValueError):
            source = "(not there any more)"
        return f"<figure>{source}<figcaption>{caption} {html.escape(path)}</figcaption></figure>"

    rows = [[figure(q, "<b>query</b>"), *(figure(path, str(d)) for d, path in found)] for q, found in answers.items()]
    body = "\n".join(f"<section>{''.join(row)}</section>" for row in rows)
    style = "section{display:flex;flex-wrap:wrap}figure{width:160px;margin:4px;font:11px sans-serif}"
    return f'<!doctype html><meta charset="utf-8"><title>Search</title><style>{style}</style>\n{body}'

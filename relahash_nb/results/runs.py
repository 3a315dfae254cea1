"""A finished run: how its files are read, found and kept from two writers."""

import difflib
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout

from relahash_nb.config import RunConfig, project_path
from relahash_nb.files import lock_file, remove_checkpoint, run_folder, write

ARRAYS = (
    "query_codes",
    "query_targets",
    "query_ids",
    "database_codes",
    "database_targets",
    "database_ids",
    "centroids",
    "query_raw",
    "sample_raw",
    "sample_rows",
    "thumbnails",
    "shown_queries",
    "query_thumbnails",
    "nearest",
    "nearest_thumbnails",
)  # that each `codes.npz` has
WEIGHTS = ("none", "trained", "all")  # from less to more
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error)


def clean(text: Any) -> str:
    """Text for files and tables: line breaks, control characters and lone surrogates are written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def save_run(
    config: RunConfig,
    data: Any,
    codes: Mapping[str, Any],
    scores: Any,
    history: Sequence[Mapping[str, float]],
    centroids: Any,
    model: Any,
    seconds: Mapping[str, float] | None = None,
) -> Path:
    """Writes a run to `<results_dir>/runs/<run_id>/` and gives this folder; the run exists when its `run.json` does.

    Args:
        config: What was run; the resolved values are written.
        data: The `Dataset`.
        codes: `query` (Q, K) and `database` (D, K) float, before the sign.
        scores: `RetrievalScores` of these codes.
        history: One record per epoch.
        centroids: (C, K) ±1.
        model: The `HashModel`; its `save` writes `model.safetensors`, as `save_weights` says.
        seconds: By stage; None: of the training alone, from the history.

    Raises:
        OSError: The disk is full, say; `run.json` is not written.
    """
    from relahash_nb.losses import used_options

    config = config.resolve()
    seconds = seconds or {"training": sum(record["seconds"] for record in history)}
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # a run that is repeated does not exist meanwhile
    codes = {name: np.asarray(values, dtype=np.float32) for name, values in codes.items()}
    sizes = {name: len(getattr(data, name)) for name in ("train", "query", "database", "validation")}
    report = {
        "schema": SCHEMA,
        "run_id": config.run_id,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": config.to_dict(),
        "loss_options": used_options(config),
        "weights_digest": getattr(model, "weights_digest", ""),
        "scores": describe_scores(scores, np.concatenate([codes["query"], codes["database"]])),
        "data": {
            **{"name": data.name, "multi_label": data.multi_label, "fingerprint": data.fingerprint(), **sizes},
            "class_names": [clean(name) for name in data.class_names],
            "findings": [{"rule": one.rule, "level": one.level, "text": clean(one.text)} for one in data.findings],
        },
        "hardware": describe_hardware(config.device),
        "versions": describe_versions(),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    arrays = collect_arrays(config, data, codes, centroids)
    arrays["average_precision"] = np.asarray(scores.average_precision, dtype=np.float32)
    write(folder / "config.json", lambda path: path.write_text(json.dumps(config.to_dict(), indent=1)))
    write(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    write(folder / "codes.npz", lambda path: np.savez_compressed(path, **arrays))
    model.save(folder / "model.safetensors", config)
    write(folder / "run.json", lambda path: path.write_text(json.dumps(report, indent=1)))
    with suppress(OSError):  # the run is complete, whatever becomes of its checkpoint
        remove_checkpoint(config)
    return folder


def describe_scores(scores: Any, codes: np.ndarray) -> dict[str, float]:
    """The numbers of `run.json` about a run's scores and about all its codes (N, K) before the sign."""
    from relahash_nb.metrics import constant_bits, distinct_codes, quantization_error

    return {name: getattr(scores, name) for name in SCORES} | dict(
        precision_at_100=scores.precision_at(100),
        precision_within_2=scores.precision_within(2),
        recall_within_2=scores.recall_within(2),
        quantization_error=quantization_error(codes),
        quantization_error_centred=quantization_error(codes, centred=True),
        constant_bits=int(np.size(constant_bits(codes))),
        distinct_codes=int(distinct_codes(codes)),
    )


def describe_hardware(device: str) -> dict[str, Any]:
    """Processor, cores, threads of torch (on which the last bits of a result depend), and the accelerator if used."""
    import torch

    uses_cuda = torch.cuda.is_available() and device.startswith(("auto", "cuda"))
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    return {
        "processor": model[1].strip() if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(None if device == "auto" else device) if uses_cuda else None,
    }


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def collect_arrays(
    config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], centroids: Any
) -> dict[str, np.ndarray]:
    """What the analysis notebooks need without the data set: `codes.npz`.

    Of query and database `…_codes` packed (N, ⌈K/8⌉), `…_targets` packed (N, ⌈C/8⌉), `…_ids` (N,). `centroids` (C, K)
    int8. `query_raw` and `sample_raw` float16: codes before the sign of all queries, and of the database at
    `sample_rows`. `thumbnails` (T, 3 or 1, h, w) uint8: those of the queries `shown_queries` (S,) are at
    `query_thumbnails` (S,), those of their nearest items `nearest` (S, R), rows of the database by distance, at
    `nearest_thumbnails` (S, R). `save_run` adds `average_precision` (Q,) float32, of each query.
    """
    from relahash_nb.metrics import hamming_distances, pack

    arrays = {"centroids": np.asarray(centroids).astype(np.int8), "query_raw": codes["query"].astype(np.float16)}
    spread = {}  # rows that are evenly spaced
    for name, split, most in (("query", data.query, SHOWN_QUERIES), ("database", data.database, SAMPLE)):
        targets = np.packbits(np.asarray(split.targets), axis=1)
        arrays |= {f"{name}_codes": pack(codes[name]), f"{name}_targets": targets, f"{name}_ids": split.ids}
        spread[name] = np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(int)
    shown, rows = spread.values()  # (S,), (M,)
    distances = hamming_distances(codes["query"][shown], codes["database"])  # (S, D)
    if config.drop_self_matches:
        own = data.query.positions_in(data.database)[shown]  # (S,)
        distances[own >= 0, own[own >= 0]] = config.bits + 1  # behind all others
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :SHOWN_ITEMS]  # (S, R)
    items, places = np.unique(nearest, return_inverse=True)
    return arrays | {
        "sample_raw": codes["database"][rows].astype(np.float16),
        "sample_rows": rows,
        "thumbnails": np.concatenate([small(data.query.images(shown)), small(data.database.images(items))]),
        "shown_queries": shown,
        "query_thumbnails": np.arange(len(shown)),
        "nearest": nearest,
        "nearest_thumbnails": len(shown) + places.reshape(nearest.shape),
    }


def small(images: Any) -> np.ndarray:
    """Thumbnails (N, C, h, w) uint8 of images (N, C, H, W), at most 64 pixels high."""
    if images.shape[-1] > THUMBNAIL:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [THUMBNAIL, THUMBNAIL], antialias=True)
    return np.asarray(images.cpu())


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder, and its `run.json`.

    All else is read when it is asked for; a ValueError names a file that is damaged.
    """

    folder: Path
    report: Report

    @property
    def config(self) -> RunConfig:
        """What was run."""
        return RunConfig.from_saved(self.report.config)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch; without a column where nothing was trained."""
        with named(self.folder / "history.csv") as path:
            if not path.read_text(encoding="utf-8").strip():
                return pd.DataFrame()
            return pd.read_csv(path)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Packed codes and targets, ids, centroids, codes before the sign, thumbnails; see `saving.collect_arrays`."""
        with named(self.folder / "codes.npz") as path, np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in {*file.files, *ARRAYS}}

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Binary codes of `query` or `database`, (N, K) float32 of −1 and +1; and their labels, (N, C) uint8."""
        from relahash_nb.metrics import unpack

        return unpack(self.arrays[f"{split}_codes"], self.config.bits), self._targets(split)

    def codes_before_sign(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all queries and the database's sample, (N, K) float32; and their labels, (N, C) uint8."""
        codes = np.concatenate([self.arrays["query_raw"], self.arrays["sample_raw"]])
        sample_targets = self._targets("database")[self.arrays["sample_rows"]]
        return codes.astype(np.float32), np.concatenate([self._targets("query"), sample_targets])

    def _targets(self, split: str) -> np.ndarray:
        return np.unpackbits(self.arrays[f"{split}_targets"], axis=1, count=len(self.report.data.class_names))

    def neighbours(self, most: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Queries with the images nearest to them, as thumbnails; one query of each class comes first.

        Args:
            most: Queries at most.

        Returns:
            Queries (S, C, h, w) uint8, nearest (S, R, C, h, w) uint8, relevant (S, R) bool, and the classes of the S
            queries by name.
        """
        arrays = self.arrays
        targets = self._targets("query")[arrays["shown_queries"]]  # (S, C)
        first_of_class = [int(np.flatnonzero(column)[0]) for column in targets.T if column.any()]
        chosen = list(dict.fromkeys([*first_of_class, *range(len(targets))]))[:most]
        queries = arrays["thumbnails"][arrays["query_thumbnails"][chosen]]
        nearest = arrays["thumbnails"][arrays["nearest_thumbnails"][chosen]]
        nearest_targets = self._targets("database")[arrays["nearest"][chosen]]  # (S, R, C)
        relevant = (nearest_targets & targets[chosen][:, None]).any(2)
        class_names = np.array(self.report.data.class_names)
        titles = [", ".join(class_names[row > 0]) for row in targets[chosen]]
        return queries, nearest, relevant, titles


@contextmanager
def named(path: Path) -> Iterator[Path]:
    """Makes one ValueError, which names the file, of whatever a damaged file raises."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        yield path
    except DAMAGE as error:
        raise ValueError(f"{path}: damaged ({clean(error)[:200]})") from None


def read_run(folder: Path) -> Run | None:
    """The finished run in a folder; None where there is none; ValueError where its `run.json` is damaged."""
    if not (folder / "run.json").exists():
        return None
    with named(folder / "run.json") as path:
        report = Report.from_json(path.read_text(encoding="utf-8"))
        if report.run_id != folder.name:
            raise ValueError(f"of run {report.run_id}")
        run = Run(folder, report)
        _ = run.config  # refuses options that are not allowed
        return run


def read_runs(results_dir: Path | str) -> Iterator[Run]:
    """The finished runs of a results folder by name; a damaged one is left out, and named on stderr."""
    for folder in sorted(project_path(results_dir).glob("runs/*")):
        try:
            run = read_run(folder)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if run is not None:
            yield run


def finished_runs(results_dir: Path | str = "results", first: str | None = None) -> dict[str, Run]:
    """The finished runs of a results folder by their ids, the one that finished last first.

    Args:
        results_dir: The folder that holds `runs/`.
        first: The id of a run that comes before the others.

    Raises:
        ValueError: There is no run, and it is said which command makes one; or none has the id `first`.
    """
    place = (project_path(results_dir) / "runs").absolute()
    latest = sorted(read_runs(results_dir), key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
    runs = {run.folder.name: run for run in latest}
    if not runs:
        raise ValueError(f"no finished run in {place}; `relahash train` makes one, `make study` those of the study")
    if first is None:
        return runs
    if first not in runs:
        raise ValueError(f"run_id: {first!r} given; finished in {place}: {', '.join(runs)}")
    return {first: runs[first], **runs}


def load_run(run: Path | str, results_dir: Path | str = "results") -> Run:
    """A finished run by its folder or its id.

    Raises:
        ValueError: There is no such run, and it is said which id is like this one; or its `run.json` is damaged.
    """
    place = project_path(results_dir) / "runs"
    for folder in (Path(run).absolute(), place / run):
        found = read_run(folder)
        if found is not None:
            return found
    files = [*place.glob("*/run.json"), *Path(run).parent.glob("*/run.json")]
    close = difflib.get_close_matches(Path(run).name, {file.parent.name for file in files}, cutoff=0.4)
    hint = f"; nearest: {', '.join(close)}" if close else ""
    raise ValueError(f"{clean(run)}: no finished run of this folder or id in {Path(results_dir, 'runs')}{hint}")


def find_run(config: RunConfig) -> Run | None:
    """The finished run of a config; None also where it kept fewer weights, or scored at other epochs, than asked."""
    try:
        run = read_run(run_folder(config))
    except ValueError:  # a damaged one is run again
        return None
    if run is None:
        return None
    existing = run.config
    is_same = existing.setting() == config.setting() and existing.seed == config.seed
    is_same = is_same and is_same_root(existing.root, config.root)
    keeps_enough = WEIGHTS.index(config.save_weights) <= WEIGHTS.index(existing.save_weights)
    scores_enough = config.eval_interval in (0, existing.eval_interval)
    return run if is_same and keeps_enough and scores_enough else None


def is_same_root(first: str | None, second: str | None) -> bool:
    """Whether two roots are one folder; two folders with one last name have one run id."""
    if first is None or second is None:
        return first == second
    return Path(first).resolve() == Path(second).resolve()


def lock_run(config: RunConfig, data: Any, seconds: float = 20.0) -> BaseFileLock:
    """Makes this process the only one that may write a run, for as long as it keeps the lock.

    Args:
        config: What is run.
        data: The `Dataset`.
        seconds: How long another process that is writing the run is waited for.

    Returns:
        The lock; `release()` gives it up. So does dropping it, and the system does where the process dies.

    Raises:
        ValueError: Another process is still writing the run, or a finished one on other data has the same id, which
            holds only the last name of its root.
    """
    folder = run_folder(config)
    existing = None
    with suppress(ValueError):  # a damaged one may be written over
        existing = read_run(folder)
    if existing is not None and existing.report.data.fingerprint != data.fingerprint():
        raise ValueError(f"{folder}: is a finished run on other data, and stays; use another results_dir, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock", is_singleton=True)  # the same process gets the same one again
    try:
        if not lock.is_locked:
            lock.acquire(timeout=seconds)
    except NotImplementedError:  # some mounted drives have no locks
        print(f"{folder}: cannot be locked here; do not run it twice at a time")
    except Timeout:
        raise ValueError(f"{folder}: another process is writing this run; wait for it, or change a parameter") from None
    return lock

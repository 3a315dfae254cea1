"""What a run leaves behind in its folder, and how it is read again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from relahash_nb.config import RunConfig
from relahash_nb.files import remove_checkpoint, run_folder, write
from relahash_nb.results.facts import describe_data, describe_hardware, describe_scores, describe_versions

FORMAT = 1  # of the files of a run
PARTS = {"config", "scores", "data", "seconds", "hardware", "versions"}  # of `run.json`
SAMPLE = 2_000  # database items whose codes before the sign are kept
SHOWN_QUERIES, SHOWN_ITEMS, THUMBNAIL = 100, 10, 64  # queries with thumbnails, nearest items of each, pixels
CLAIMED: dict[Path, FileLock] = {}  # by this process; a lock that nobody refers to is let go


def save_run(
    config: RunConfig,
    data: Any,
    codes: Mapping[str, Any],
    scores: Any,
    history: Sequence[Mapping[str, float]],
    centroids: Any,
    tensors: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Path:
    """Writes a run to `<results_dir>/runs/<run_id>/`, `run.json` last: the run exists when that does.

    Args:
        config: What was run; the resolved values are written.
        data: The `Dataset`.
        codes: `query` (Q, K) and `database` (D, K) float, before the sign.
        scores: `RetrievalScores` of these codes.
        history: A record an epoch, as `fit` gave it.
        centroids: (C, K) ±1.
        tensors: By name, all of the model and the loss, on any device; `save_weights` says which are kept.
        seconds: By stage.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be written; no `run.json` is left then.
    """
    config = config.resolve()
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # a run that is done again does not exist meanwhile
    codes = {name: np.asarray(values, dtype=np.float32) for name, values in codes.items()}
    report = {
        "format": FORMAT,
        "run_id": config.run_id,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": config.to_dict(),
        "scores": describe_scores(scores, codes),
        "data": describe_data(data),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "hardware": describe_hardware(config.device),
        "versions": describe_versions(),
    }
    write(folder / "config.json", lambda path: path.write_text(json.dumps(config.to_dict(), indent=1)))
    write(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    write(
        folder / "codes.npz", lambda path: np.savez_compressed(path, **collect_arrays(config, data, codes, centroids))
    )
    # safetensors writes memory as it lies, and convolution weights lie channels last.
    kept = {
        name: np.ascontiguousarray(tensor.detach().cpu())
        for name, tensor in tensors.items()
        if keeps(config.save_weights, name)
    }
    if kept:
        from safetensors.numpy import save

        write(folder / "weights.safetensors", lambda path: path.write_bytes(save(kept)))
    write(folder / "run.json", lambda path: path.write_text(json.dumps(report, indent=1)))
    with suppress(OSError):  # the run is complete, whatever becomes of its checkpoint
        remove_checkpoint(config)
    return folder


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, read from its folder.

    Attributes:
        folder: Where it lies.
        report: `run.json`.
        config: The resolved config.
        history: An epoch a row.
        arrays: `codes.npz`, read when asked for.
    """

    folder: Path
    report: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        """What was run."""
        return RunConfig.from_dict(self.report["config"])

    @property
    def history(self) -> pd.DataFrame:
        """An epoch a row."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Packed codes and targets, ids, centroids, codes before the sign, thumbnails; see `collect_arrays`."""
        with np.load(self.folder / "codes.npz", allow_pickle=False) as file:
            return dict(file)

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Binary codes of `query` or `database`, with their labels.

        Returns:
            (N, K) float32 of −1 and +1, and (N, C) uint8 multi-hot.
        """
        from relahash_nb.metrics import unpack

        return unpack(self.arrays[f"{split}_codes"], self.report["config"]["bits"]), self._targets(split)

    def raw_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes before the sign of all queries and of the database's sample, with their labels.

        Returns:
            (N, K) float32, and (N, C) uint8 multi-hot.
        """
        arrays = self.arrays
        codes = np.concatenate([arrays["query_raw"], arrays["sample_raw"]]).astype(np.float32)
        return codes, np.concatenate([self._targets("query"), self._targets("database")[arrays["sample_rows"]]])

    def _targets(self, split: str) -> np.ndarray:
        return np.unpackbits(self.arrays[f"{split}_targets"], axis=1, count=len(self.report["data"]["class_names"]))

    def neighbours(self, most: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Some queries with the images nearest to them, from the thumbnails; one of each class first.

        Args:
            most: Queries at most.

        Returns:
            Queries (S, C, h, w) uint8, nearest (S, R, C, h, w) uint8, relevant (S, R) bool, and the S queries' classes.
        """
        arrays, names = self.arrays, self.report["data"]["class_names"]
        shown = self._targets("query")[arrays["shown_queries"]]  # (S, C)
        first = [rows[0] for rows in (np.flatnonzero(column) for column in shown.T) if len(rows)]  # one of each class
        chosen = list(dict.fromkeys([*first, *range(len(shown))]))[:most]
        nearest = self._targets("database")[arrays["nearest"][chosen]]  # (S, R, C)
        labels = [", ".join(np.array(names)[row > 0]) for row in shown[chosen]]
        return (
            arrays["thumbnails"][arrays["query_thumbnails"][chosen]],
            arrays["thumbnails"][arrays["nearest_thumbnails"][chosen]],
            (nearest & shown[chosen][:, None]).any(2),
            labels,
        )


def load_run(folder: Path | str) -> Run | None:
    """The finished run in a folder, or None where there is none.

    None too where `run.json` is torn, of another format, or of another config than the folder's name says.
    """
    folder = Path(folder)
    try:
        run = Run(folder, json.loads((folder / "run.json").read_text()))
        is_whole = run.report["format"] == FORMAT and run.report.keys() >= PARTS
        return run if is_whole and run.config.run_id == folder.name else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def finished_runs(results_dir: Path | str = "results", first: str | None = None) -> dict[str, Run]:
    """The finished runs of a results folder by their names, the last one finished first.

    Args:
        results_dir: The folder that holds `runs/`; see `results_place`.
        first: Name of the run to put first instead.

    Raises:
        ValueError: There is no finished run, and the message says which command makes one; or none of that name.
    """
    place = results_place(results_dir)
    runs = [run for run in map(load_run, place.glob("runs/*")) if run is not None]
    if not runs:
        raise ValueError(
            f"no finished run in {Path(results_dir, 'runs')}; "
            "`relahash train` makes one, `make study` those of the study"
        )
    runs.sort(key=lambda run: (run.folder / "run.json").stat().st_mtime, reverse=True)
    names = {run.folder.name: run for run in runs}
    if first not in (None, *names):
        raise ValueError(f"run_id: {first!r} given; finished in {place / 'runs'}: {', '.join(names)}")
    return names if first is None else {first: names[first], **names}


def results_place(results_dir: Path | str) -> Path:
    """The results folder, or the one of its name in the folder above where only that holds runs.

    JupyterLab and Voila start a notebook in its own folder, and the command line in the project's.

    Example:
        >>> results_place("nowhere").as_posix()
        'nowhere'
    """
    above = Path("..", results_dir)
    return above if not Path(results_dir, "runs").exists() and (above / "runs").exists() else Path(results_dir)


def find_run(config: RunConfig) -> Run | None:
    """The finished run of a config, or None; a folder of data with the same last name elsewhere is another one."""
    run = load_run(run_folder(config))
    if run is None or config.root is None:
        return run
    return run if Path(run.config.root).resolve() == Path(config.root).resolve() else None


def collect_arrays(
    config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], centroids: Any
) -> dict[str, np.ndarray]:
    """What the analysis notebooks need without the data set.

    Returns:
        For query and database: `…_codes` packed (N, ⌈K/8⌉), `…_targets` packed (N, ⌈C/8⌉), `…_ids` (N,). `centroids`
        (C, K) int8. `query_raw` and `sample_raw` float16, codes before the sign of all queries and of a fixed sample of
        the database at `sample_rows`. `thumbnails` (T, 3 or 1, h, w) uint8: those of the queries `shown_queries` (S,)
        are at `query_thumbnails` (S,), and those of their nearest items `nearest` (S, R), rows of the database in the
        order of distance, then of the database, without their own with `drop_self_matches`, at `nearest_thumbnails`
        (S, R).
    """
    from relahash_nb.metrics import hamming_distances, pack

    arrays: dict[str, np.ndarray] = {}
    for name in ("query", "database"):
        split = getattr(data, name)
        arrays |= {
            f"{name}_codes": pack(codes[name]),
            f"{name}_targets": np.packbits(np.asarray(split.targets), axis=1),
            f"{name}_ids": split.ids,
        }
    rows = np.linspace(0, len(data.database) - 1, min(SAMPLE, len(data.database))).round().astype(int)
    shown = np.linspace(0, len(data.query) - 1, min(SHOWN_QUERIES, len(data.query))).round().astype(int)  # (S,)
    distances = np.asarray(hamming_distances(codes["query"][shown], codes["database"]), dtype=np.int32)  # (S, D)
    if config.drop_self_matches:
        own = data.query.positions_in(data.database)[shown]  # (S,)
        distances[own >= 0, own[own >= 0]] = config.bits + 1  # behind all others
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :SHOWN_ITEMS]  # (S, R)
    items, nearest_thumbnails = np.unique(nearest, return_inverse=True)
    thumbnails = np.concatenate([small(data.query.images(shown)), small(data.database.images(items))])
    return arrays | {
        "centroids": np.asarray(centroids).astype(np.int8),
        "query_raw": codes["query"].astype(np.float16),
        "sample_raw": codes["database"][rows].astype(np.float16),
        "sample_rows": rows,
        "thumbnails": thumbnails,
        "shown_queries": shown,
        "query_thumbnails": np.arange(len(shown)),
        "nearest": nearest,
        "nearest_thumbnails": len(shown) + nearest_thumbnails.reshape(nearest.shape),
    }


def small(images: Any) -> np.ndarray:
    """Thumbnails (N, C, h, w) uint8 of images (N, C, H, W), at most 64 pixels high."""
    if images.shape[-1] > THUMBNAIL:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [THUMBNAIL, THUMBNAIL], antialias=True)
    return np.asarray(images.cpu())


def keeps(save_weights: str, name: str) -> bool:
    """Whether a tensor is kept: all, none, or those that are not the backbone's."""
    return save_weights == "all" or (save_weights == "hash_layer" and not name.startswith("backbone."))


def claim(config: RunConfig, data: Any, seconds: float = 20.0) -> None:
    """Makes this process the only one that may write a run, until it ends; the system lets go when it dies.

    Args:
        config: The run.
        data: Its `Dataset`. A run's name has the last name of its root alone, so what is there may be of other data.
        seconds: To wait for another process, such as the kernel of a sweep that was killed a moment ago.

    Raises:
        ValueError: Another process is still writing the run, or a finished one on other data is there.
    """
    folder = run_folder(config)
    there = load_run(folder)
    if there is not None and there.report["data"]["fingerprint"] != data.fingerprint():
        raise ValueError(f"{folder}: is a finished run on other data, and stays; use another results_dir, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock", is_singleton=True)  # a notebook that claims twice is let through
    try:
        if not lock.is_locked:
            lock.acquire(timeout=seconds)
    except Timeout:
        raise ValueError(f"{folder}: another process is writing this run; wait for it, or change a parameter") from None
    except (OSError, NotImplementedError) as error:  # some mounted drives have no locks
        print(f"{folder}: cannot be locked here ({error}); do not run it twice at a time")
    CLAIMED[folder] = lock

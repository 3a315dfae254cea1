"""What a run leaves in its folder."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from relahash_nb.config import RunConfig
from relahash_nb.files import FAILURE, remove_checkpoint, run_folder, write
from relahash_nb.registry import loaded_digest
from relahash_nb.results.arrays import BIT_ORDER
from relahash_nb.results.machine import describe_hardware, describe_versions
from relahash_nb.results.own import own_metrics
from relahash_nb.results.report import SCHEMA, Data, DataFinding, Hardware, Report, Scores, clean

if TYPE_CHECKING:
    from relahash_nb.metrics.retrieval import RetrievalScores

SAMPLE = 2_000  # database items whose codes before the sign are kept
SHOWN_QUERIES = 100  # queries with thumbnails
SHOWN_ITEMS = 10  # nearest items of each of them
THUMBNAIL = 64  # pixels


@dataclass(frozen=True)
class Finished:
    """What came out of a run.

    Attributes:
        codes: `query` (Q, K) and `database` (D, K) float, before the sign.
        scores: `RetrievalScores` of these codes.
        history: One record for each epoch.
        centroids: (C, K) ±1.
        seconds: By stage; those of training are in the history.
    """

    codes: Mapping[str, Any]
    scores: "RetrievalScores"
    history: Sequence[Mapping[str, float]]
    centroids: Any
    seconds: Mapping[str, float]


def save_run(config: RunConfig, data: Any, model: Any, finished: Finished) -> Path:
    """Writes a run to `<results_dir>/runs/<run_id>/`; the run exists as soon as its `run.json` does.

    Args:
        config: What was run.
        data: The `Dataset`.
        model: The `HashModel`; its `save` writes `model.safetensors`, as `save_weights` says.
        finished: What came out of it.

    Returns:
        The run's folder.

    Raises:
        OSError: The disk is full, say; `run.json` is not written.
    """
    from relahash_nb.losses import used_options

    codes = {split: np.asarray(values, dtype=np.float32) for split, values in finished.codes.items()}
    arrays = collect_arrays(config, data, codes, finished.centroids)
    arrays["average_precision"] = np.asarray(finished.scores.average_precision, dtype=np.float32)
    seconds = {**finished.seconds, "training": sum(record["seconds"] for record in finished.history)}
    report = Report(
        schema=SCHEMA,
        run_id=config.run_id,
        finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        config=config.to_dict(),
        loss_options=used_options(config),
        weights_digest=getattr(model, "weights_digest", ""),
        sources={name: loaded_digest(name) for name in config.own_names},
        scores=describe_scores(finished, codes, data.query.targets),
        metrics=score_by_own(config, data, codes),
        data=describe_data(data),
        hardware=Hardware(**describe_hardware(config.device) | {"threads": config.threads}),
        versions=describe_versions(),
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
    )
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # a run that is repeated does not exist meanwhile
    write(folder / "config.json", lambda path: path.write_text(json.dumps(report.config, indent=1), encoding="utf-8"))
    write(folder / "history.csv", lambda path: pd.DataFrame(finished.history).to_csv(path, index=False))
    write(folder / "codes.npz", lambda path: np.savez_compressed(path, **arrays))
    model.save(folder / "model.safetensors", config)
    write(folder / "run.json", lambda path: path.write_text(report.to_json(), encoding="utf-8"))
    with suppress(OSError):  # the run is complete, whatever becomes of its checkpoint and of an earlier failure
        remove_checkpoint(config)
        (folder / FAILURE).unlink(missing_ok=True)
    return folder


def describe_scores(finished: Finished, codes: Mapping[str, np.ndarray], query_targets: Any) -> Scores:
    """A run's scores, and numbers about its codes.

    Args:
        finished: What came out of the run.
        codes: `query` (Q, K) and `database` (D, K) float32, before the sign.
        query_targets: (Q, C) multi-hot.
    """
    from relahash_nb.metrics import centroid_accuracy, constant_bits, distinct_codes, quantization_error

    scores = finished.scores
    all_codes = np.concatenate([codes["query"], codes["database"]])  # (Q + D, K)
    return Scores(
        mean_average_precision=scores.mean_average_precision,
        best=scores.best,
        worst=scores.worst,
        query_accuracy=centroid_accuracy(codes["query"], query_targets, finished.centroids),
        precision_at_100=scores.precision_at(100),
        precision_within_2=scores.precision_within(2),
        recall_within_2=scores.recall_within(2),
        quantization_error=quantization_error(all_codes),
        quantization_error_centred=quantization_error(all_codes, centred=True),
        constant_bits=int(np.size(constant_bits(all_codes))),
        distinct_codes=int(distinct_codes(all_codes)),
    )


def score_by_own(config: RunConfig, data: Any, codes: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The scores of the user's own function; where it fails now, a line says so, and the run is saved without them."""
    if config.metrics is None:
        return {}
    try:
        return own_metrics(config.metrics, codes, {"query": data.query.targets, "database": data.database.targets})
    except ValueError as error:
        print(f"{error}; the run is saved without it")
        return {}


def describe_data(data: Any) -> Data:
    """What `run.json` says of a `Dataset`."""
    findings = [
        DataFinding(rule=finding.rule, level=finding.level, text=clean(finding.text)) for finding in data.findings
    ]
    return Data(
        name=data.name,
        multi_label=data.multi_label,
        fingerprint=data.fingerprint(),
        train=len(data.train),
        query=len(data.query),
        database=len(data.database),
        validation=len(data.validation),
        class_names=[clean(name) for name in data.class_names],
        findings=findings,
    )


def collect_arrays(config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], centroids: Any) -> dict[str, Any]:
    """What the analysis notebooks need without the data set: `codes.npz`.

    Args:
        config: What was run.
        data: The `Dataset`.
        codes: `query` (Q, K) and `database` (D, K) float32, before the sign.
        centroids: (C, K) ±1.

    Returns:
        Of query and database `…_codes` packed (N, ⌈K/8⌉), `…_targets` packed (N, ⌈C/8⌉), `…_ids` (N,). `bit_order`
        `big`: the first bit is the highest of its byte, as NumPy's `unpackbits` takes it.
        `centroids` (C, K) int8. `query_raw` and `sample_raw` float16: codes before the sign of all queries, and of the
        database at `sample_rows`. `thumbnails` (T, 3 or 1, h, w) uint8: those of the queries `shown_queries` (S,) are
        at `query_thumbnails` (S,), those of their nearest items `nearest` (S, R), rows of the database by distance, at
        `nearest_thumbnails` (S, R).
    """
    from relahash_nb.metrics import pack

    arrays = {
        "bit_order": np.array(BIT_ORDER),
        "centroids": np.asarray(centroids).astype(np.int8),
        "query_raw": codes["query"].astype(np.float16),
    }
    for name, split in (("query", data.query), ("database", data.database)):
        arrays[f"{name}_codes"] = pack(codes[name])
        arrays[f"{name}_targets"] = np.packbits(np.asarray(split.targets), axis=1)
        arrays[f"{name}_ids"] = split.ids
    sample = evenly_spaced(len(data.database), SAMPLE)  # (M,)
    shown = evenly_spaced(len(data.query), SHOWN_QUERIES)  # (S,)
    nearest = nearest_items(config, data, codes, shown)  # (S, R)
    items, places = np.unique(nearest, return_inverse=True)  # each item has one thumbnail
    thumbnails = [shrink(data.query.images(shown)), shrink(data.database.images(items))]
    return arrays | {
        "sample_raw": codes["database"][sample].astype(np.float16),
        "sample_rows": sample,
        "thumbnails": np.concatenate(thumbnails),
        "shown_queries": shown,
        "query_thumbnails": np.arange(len(shown)),
        "nearest": nearest,
        "nearest_thumbnails": len(shown) + places.reshape(nearest.shape),
    }


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, spread evenly over them."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)


def nearest_items(config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], queries: np.ndarray) -> np.ndarray:
    """The rows (S, R) of the database nearest to the queries at the rows (S,), by Hamming distance."""
    from relahash_nb.metrics import hamming_distances

    distances = hamming_distances(codes["query"][queries], codes["database"])  # (S, D)
    if config.drop_self_matches:
        self_matches = data.query.positions_in(data.database)[queries]  # (S,), −1 where the database has none
        has_one = self_matches >= 0
        distances[has_one, self_matches[has_one]] = config.bits + 1  # behind all others
    return np.argsort(distances, axis=1, kind="stable")[:, :SHOWN_ITEMS]


def shrink(images: Any) -> np.ndarray:
    """Thumbnails (N, C, h, w) uint8 of images (N, C, H, W), at most 64 pixels high."""
    if images.shape[-1] > THUMBNAIL:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [THUMBNAIL, THUMBNAIL], antialias=True)
    return np.asarray(images.cpu())

"""What a run is made of: its arrays, and what stands beside every number (scores, data, machine, versions)."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from relahash_nb.config import RunConfig

PACKAGES = ("relahash-nb", "torch", "torchvision", "numpy", "pandas", "papermill", "timm")
SAMPLE = 2_000  # database items whose codes before the sign are kept
SHOWN_QUERIES, SHOWN_ITEMS, THUMBNAIL = 100, 10, 64  # queries with thumbnails, nearest items of each, pixels
ARRAYS = tuple(f"{split}_{part}" for split in ("query", "database") for part in ("codes", "targets", "ids"))
ARRAYS += ("centroids", "query_raw", "sample_raw", "sample_rows", "thumbnails", "shown_queries", "query_thumbnails")
ARRAYS += ("nearest", "nearest_thumbnails")  # of `codes.npz`


def clean(text: Any) -> str:
    r"""Text for files, figures and tables: line breaks, control characters and lone surrogates are written as escapes.

    Example:
        >>> print(clean("a\nb"))
        a\nb
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def provenance(data: Any, scores: Any, codes: Mapping[str, np.ndarray], device: str) -> dict[str, Any]:
    """The parts of `run.json` that say what was measured, on which data, machine and versions."""
    from relahash_nb.metrics import constant_bits, distinct_codes, quantization_error

    everything = np.concatenate([codes["query"], codes["database"]])
    return {
        "scores": {
            **{name: getattr(scores, name) for name in ("mean_average_precision", "best", "worst")},
            "precision_at_100": scores.precision_at(100),
            "precision_within_2": scores.precision_within(2),
            "recall_within_2": scores.recall_within(2),
            "quantization_error": quantization_error(everything),
            "quantization_error_centred": quantization_error(everything, centred=True),
            "constant_bits": int(np.size(constant_bits(everything))),
            "distinct_codes": int(distinct_codes(everything)),
        },
        "data": {
            "name": data.name,
            **{name: len(getattr(data, name)) for name in ("train", "query", "database", "validation")},
            "class_names": [clean(name) for name in data.class_names],
            "multi_label": data.multi_label,
            "fingerprint": data.fingerprint(),
            "findings": [{"rule": one.rule, "level": one.level, "text": clean(one.text)} for one in data.findings],
        },
        "hardware": describe_hardware(device),
        "versions": describe_versions(),
    }


def describe_hardware(device: str) -> dict[str, Any]:
    """Processor, cores, threads of torch (on which the last bits of a result depend), and the accelerator if used."""
    torch = sys.modules.get("torch")
    uses_cuda = torch is not None and torch.cuda.is_available() and device.startswith(("auto", "cuda"))
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
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

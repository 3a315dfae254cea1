"""What stands beside every number: the scores in short, the data, the machine, the versions."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("relahash-nb", "torch", "torchvision", "numpy", "pandas", "papermill", "timm")


def describe_scores(scores: Any, codes: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The numbers of a run that go into a table: of its scores, and of its codes before the sign."""
    from relahash_nb.metrics import constant_bits, distinct_codes, quantization_error

    everything = np.concatenate([codes["query"], codes["database"]])
    return {
        "mean_average_precision": scores.mean_average_precision,
        "best": scores.best,
        "worst": scores.worst,
        "precision_at_100": scores.precision_at(100),
        "precision_within_2": scores.precision_within(2),
        "recall_within_2": scores.recall_within(2),
        "quantization_error": quantization_error(everything),
        "quantization_error_centred": quantization_error(everything, centred=True),
        "constant_bits": int(np.size(constant_bits(everything))),
        "distinct_codes": int(distinct_codes(everything)),
    }


def describe_data(data: Any) -> dict[str, Any]:
    """What the data were: counts, class names, a fingerprint of the images, and what the checks had to say."""
    counts = {name: len(getattr(data, name)) for name in ("train", "query", "database", "validation")}
    return {
        "name": data.name,
        **counts,
        "class_names": list(data.class_names),
        "multi_label": data.multi_label,
        "fingerprint": data.fingerprint(),
        "findings": [{"rule": one.rule, "level": one.level, "text": one.text} for one in data.findings],
    }


def describe_hardware(device: str) -> dict[str, Any]:
    """Processor, cores, threads of torch (on which the last bits of a result depend), and the accelerator if used."""
    torch = sys.modules.get("torch")
    uses_cuda = torch is not None and torch.cuda.is_available() and device != "cpu"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "accelerator": torch.cuda.get_device_name() if uses_cuda else None,
    }


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions

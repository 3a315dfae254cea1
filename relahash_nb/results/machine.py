"""What a result depends on beside the options: the machine, and the versions of the packages."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("relahash-nb", "torch", "torchvision", "numpy", "pandas", "papermill", "timm")
CPU_INFO = Path("/proc/cpuinfo")  # on Linux


def describe_hardware(device: str) -> dict[str, Any]:
    """The machine that a run uses.

    Args:
        device: As in `RunConfig`: auto, cpu, cuda, cuda:1 or mps.

    Returns:
        `processor` by name; `cores`; `threads` of torch, on which the last bits of a result depend; and `accelerator`
        by name, None where a CUDA device is not used.
    """
    import torch

    accelerator = None
    if torch.cuda.is_available() and device.startswith(("auto", "cuda")):
        accelerator = torch.cuda.get_device_name(None if device == "auto" else device)
    return {
        "processor": name_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": accelerator,
    }


def name_processor() -> str:
    """The processor's name as the system has it."""
    if CPU_INFO.exists():
        model = re.search(r"model name\s*: (.*)", CPU_INFO.read_text(encoding="utf-8"))
        if model:
            return model[1].strip()
    return platform.processor() or platform.machine()


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions

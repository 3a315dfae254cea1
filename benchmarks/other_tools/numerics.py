"""Signs: how many bits of the same picture differ by processor, batch, precision and decoder, and what follows.

The model is the 64-bit run on the embedded data set; its pictures are 500 queries and 6,500 of the database. A row
encodes all of them once more under one setting and is compared with the row that it names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.other_tools.files import ROOT, describe_machine, markdown_table, read_results, write_results
from benchmarks.other_tools.guesses import MOBILENET
from benchmarks.other_tools.guesses import NUMERICS as EXPECTED
from relahash_nb.metrics import retrieval_scores

QUERIES = 500


@dataclass(frozen=True)
class Setting:
    """A row: what it is called, the arguments of `signs`, the environment, and the row that it is compared with."""

    label: str
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    beside: str = "base"


ATEN = "ATEN_CPU_CAPABILITY"
ONEDNN = "ONEDNN_MAX_CPU_ISA"
AVX2 = ((ONEDNN, "AVX2"), (ATEN, "avx2"))
SETTINGS = {
    "base": Setting("fp32, batches of 256, 1 thread, all instructions"),
    "same": Setting("the same once more"),
    "threads": Setting("2 threads", ("--threads", "2")),
    "batch_1": Setting("batches of 1", ("--batch", "1")),
    "batch_17": Setting("batches of 17", ("--batch", "17")),
    "aten_default": Setting("ATen without AVX2", variables=((ATEN, "default"),)),
    "aten_avx2": Setting("ATen limited to AVX2", variables=((ATEN, "avx2"),)),
    "onednn_sse41": Setting("oneDNN limited to SSE4.1", variables=((ONEDNN, "SSE41"),)),
    "onednn_avx2": Setting("oneDNN limited to AVX2", variables=((ONEDNN, "AVX2"),)),
    "no_onednn": Setting("without oneDNN", ("--no-onednn",)),
    "channels_last": Setting("channels last", ("--layout", "channels_last")),
    "folded": Setting("batch norms folded into convolutions", ("--folded",)),
    "fp64": Setting("fp64", ("--precision", "fp64")),
    "bf16": Setting("bf16", ("--precision", "bf16")),
    "bf16_avx2": Setting("bf16 limited to AVX2, beside bf16", ("--precision", "bf16"), AVX2, beside="bf16"),
    "bf16_batch_1": Setting(
        "bf16 in batches of 1, beside bf16", ("--precision", "bf16", "--batch", "1"), beside="bf16"
    ),
    "jpeg_95": Setting("pictures stored as JPEG of quality 95", ("--decode", "small_jpeg_95")),
    "pillow": Setting("enlarged to 448 pixels, JPEG, Pillow", ("--decode", "pillow")),
    "draft": Setting("Pillow's draft mode, beside Pillow", ("--decode", "pillow_draft"), beside="pillow"),
    "torchvision": Setting("torchvision's decode_jpeg, beside Pillow", ("--decode", "torchvision"), beside="pillow"),
    "torchvision_resized": Setting(
        "decoded and resized by torchvision, beside Pillow", ("--decode", "torchvision_resized"), beside="pillow"
    ),
}

# Rows that came otherwise than `guesses.py` says, after the run whose numbers stand in numerics.json.
MOBILENET_PICTURES = 256
MOBILENET_SURPRISES = ("bf16", "bf16_avx2")
SURPRISES = ("onednn_sse41", "onednn_avx2", "folded", "bf16", "jpeg_95", "draft")


def run(options) -> None:
    """Encodes under each setting and writes `numerics.json`.

    `--only embedded` and `--only mobilenet` run one network; `--only words` runs none and writes the texts again.
    """
    chosen = options.only or ["embedded", "mobilenet"]
    results = read_results("numerics") or {}
    if "embedded" in chosen:
        images, labels = pictures()
        codes = encode_all(options.run, images, list(SETTINGS))
        results["rows"] = {name: compare(name, codes) | scores(name, codes, labels) for name in SETTINGS}
    if "mobilenet" in chosen:
        images, _ = pictures()
        codes = project(encode_all("mobilenet", images[:MOBILENET_PICTURES], ["base", *MOBILENET]))
        results["mobilenet"] = {name: compare(name, codes) for name in codes}
    if chosen != ["words"]:
        results |= {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    for name, row in results["rows"].items():
        row |= describe(name, EXPECTED, SURPRISES)
    for name, row in results["mobilenet"].items():
        row |= describe(name, MOBILENET, MOBILENET_SURPRISES)
    write_results("numerics", results)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (7000, 28, 28) and labels of the embedded data set, the queries first."""
    data = np.load(ROOT / "data" / "fashion_mini.npz")
    query = data["split"] == 2
    order = np.concatenate([np.flatnonzero(query), np.flatnonzero(~query)])
    return data["images"][order], data["labels"][order]


def encode_all(run: str, images: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """What `signs` gives for the images under each setting, each in a process of its own."""
    codes = {}
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "pictures.npz"
        np.savez(stored, images=images)
        for name in names:
            setting = SETTINGS[name]
            output = Path(folder) / f"{name}.npy"
            variables = {key: value for key, value in os.environ.items() if key not in (ATEN, ONEDNN)}
            command = [sys.executable, "-m", "benchmarks.other_tools.signs", run, stored, output]
            subprocess.run([*command, *setting.arguments], check=True, env=variables | dict(setting.variables))
            codes[name] = np.load(output)
            print(name, flush=True)
    return codes


def project(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """64 random projections of features less the mean that they have in the first setting, in float64."""
    weights = np.random.default_rng(0).standard_normal((features["base"].shape[1], 64))
    mean = features["base"].mean(0, dtype=np.float64)
    return {name: (values.astype(np.float64) - mean) @ weights for name, values in features.items()}


def describe(name: str, guesses: dict[str, str], surprises: tuple[str, ...]) -> dict:
    """The texts of a row: what it is, what was expected, and whether it came otherwise (None: nobody guessed)."""
    expected = guesses.get(name)
    surprise = None if expected is None else name in surprises
    return {"label": SETTINGS[name].label, "expected": expected, "surprise": surprise}


def compare(name: str, codes: dict[str, np.ndarray]) -> dict:
    """Bits and pictures that differ, and whether a picture finds itself."""
    beside = codes[SETTINGS[name].beside]
    differ = (codes[name] >= 0) != (beside >= 0)
    return {
        "bits": int(differ.sum()),
        "share": float(differ.mean()),
        "pictures": float(differ.any(1).mean()),
        "most": int(differ.sum(1).max()),
        "largest_change": float(np.abs(codes[name] - beside).max() / beside.std()),  # in standard deviations
        "lost": self_misses(codes[name] >= 0, beside >= 0),
    }


def scores(name: str, codes: dict[str, np.ndarray], labels: np.ndarray) -> dict:
    """Mean average precision: queries and database under a setting, and the queries alone."""
    beside = codes[SETTINGS[name].beside]
    targets = torch.from_numpy(np.eye(10, dtype=np.uint8)[labels])
    database = torch.from_numpy(beside[QUERIES:])
    both = torch.from_numpy(codes[name])
    scored = retrieval_scores(both[:QUERIES], both[QUERIES:], targets[:QUERIES], targets[QUERIES:])
    mixed = retrieval_scores(both[:QUERIES], database, targets[:QUERIES], targets[QUERIES:])
    return {
        "mean_average_precision": float(scored.mean_average_precision),
        "queries_alone": float(mixed.mean_average_precision),
    }


def self_misses(asked: np.ndarray, stored: np.ndarray) -> dict[str, float]:
    """Shares of pictures that, encoded anew, are not at distance 0, and not among the nearest of the stored codes."""
    own = (asked != stored).sum(1)
    signs = np.where(stored, 1, -1).astype(np.float32)
    nearest = np.concatenate(
        [
            (stored.shape[1] - np.where(block, 1, -1).astype(np.float32) @ signs.T).min(1) / 2
            for block in np.array_split(asked, 20)
        ]
    )
    return {"not at 0": float((own > 0).mean()), "not nearest": float((own > nearest).mean())}


def markdown(results: dict) -> str:
    """The block of the page."""
    columns = [
        "what changes",
        "bits that differ",
        "pictures changed",
        "most bits of a picture",
        "largest change of z, in deviations",
    ]
    columns += ["a picture is not its own nearest"]
    guess = ["expected", "surprise"]
    rows = []
    for name in SETTINGS:
        row = results["rows"][name]
        maps = [f"{row['mean_average_precision']:.6f}", f"{row['queries_alone']:.6f}"]
        rows.append([*change_cells(row), *maps, *guess_cells(row)])
    embedded = markdown_table([*columns, "mAP, both anew", "mAP, queries anew", *guess], rows)
    ordered = [results["mobilenet"][name] for name in SETTINGS if name in results["mobilenet"]]
    untrained = [[*change_cells(row), *guess_cells(row)] for row in ordered]
    machine = f"{describe_machine(results)}; torch {results['torch']}, {results['capability']}"
    return (
        f"{embedded}\nMobileNetV3-small **without weights**, at 224 pixels: 64 random projections of its features less "
        f"their mean, {MOBILENET_PICTURES} pictures, {64 * MOBILENET_PICTURES:,} bits.\n\n"
        f"{markdown_table([*columns, *guess], untrained)}\n{machine}, `python -m benchmarks other_tools numerics`.\n"
    )


def change_cells(row: dict) -> list[str]:
    """What a setting does to the bits."""
    if not row["bits"]:
        return [row["label"], "0", "0", "0", change_text(row), "0"]
    return [
        row["label"],
        f"{row['bits']:,} ({100 * row['share']:.4f} %)",
        f"{100 * row['pictures']:.2f} %",
        str(row["most"]),
        change_text(row),
        f"{100 * row['lost']['not nearest']:.2f} %" if row["lost"]["not nearest"] else "0",
    ]


def change_text(row: dict) -> str:
    """The largest change of a number before the sign, in standard deviations of all of them."""
    return f"{row['largest_change']:.1e}" if row["largest_change"] else "0"


def guess_cells(row: dict) -> list[str]:
    """What was expected, and whether it came otherwise."""
    return [row["expected"] or "–", {None: "–", True: "**yes**", False: "no"}[row["surprise"]]]

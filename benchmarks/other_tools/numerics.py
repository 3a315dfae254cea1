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
SURPRISES = ("onednn_sse41", "onednn_avx2", "folded", "bf16", "jpeg_95", "draft")


def run(options) -> None:
    """Encodes under each setting and writes `numerics.json`; `--only words` writes the texts again and runs nothing."""
    if options.only == ["words"]:
        results = read_results("numerics")
        for name, row in results["rows"].items():
            row |= describe(name)
        write_results("numerics", results)
        return
    codes = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npz"
        data = np.load(ROOT / "data" / "fashion_mini.npz")
        query = data["split"] == 2
        order = np.concatenate([np.flatnonzero(query), np.flatnonzero(~query)])
        np.savez(pictures, images=data["images"][order])
        labels = data["labels"][order]
        for name, setting in SETTINGS.items():
            output = Path(folder) / f"{name}.npy"
            variables = {key: value for key, value in os.environ.items() if key not in (ATEN, ONEDNN)}
            command = [sys.executable, "-m", "benchmarks.other_tools.signs", options.run, pictures, output]
            subprocess.run([*command, *setting.arguments], check=True, env=variables | dict(setting.variables))
            codes[name] = np.load(output)
            print(name, flush=True)
    rows = {name: compare(name, codes, labels) for name in SETTINGS}
    write_results(
        "numerics", {"rows": rows, "torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    )


def describe(name: str) -> dict:
    """The texts of a row: what it is, what was expected, and whether it came otherwise (None: nobody guessed)."""
    expected = EXPECTED.get(name)
    surprise = None if expected is None else name in SURPRISES
    return {"label": SETTINGS[name].label, "expected": expected, "surprise": surprise}


def compare(name: str, codes: dict[str, np.ndarray], labels: np.ndarray) -> dict:
    """Bits and pictures that differ, whether a picture finds itself, and the scores."""
    beside = codes[SETTINGS[name].beside]
    differ = (codes[name] >= 0) != (beside >= 0)
    targets = torch.from_numpy(np.eye(10, dtype=np.uint8)[labels])
    database = torch.from_numpy(beside[QUERIES:])
    both = torch.from_numpy(codes[name])
    scored = retrieval_scores(both[:QUERIES], both[QUERIES:], targets[:QUERIES], targets[QUERIES:])
    mixed = retrieval_scores(both[:QUERIES], database, targets[:QUERIES], targets[QUERIES:])
    return {
        **describe(name),
        "bits": int(differ.sum()),
        "share": float(differ.mean()),
        "pictures": float(differ.any(1).mean()),
        "most": int(differ.sum(1).max()),
        "largest_change": float(np.abs(codes[name] - beside).max()),
        "flipped_magnitude": float(np.abs(beside)[differ].max()) if differ.any() else 0.0,
        "lost": self_misses(codes[name][QUERIES:] >= 0, beside[QUERIES:] >= 0),
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
    columns = ["what changes", "bits that differ", "pictures changed", "most bits of a picture", "largest change of z"]
    columns += ["a picture is not its own nearest", "mAP, both anew", "mAP, queries anew", "expected", "surprise"]
    rows = []
    for name in SETTINGS:
        row = results["rows"][name]
        surprise = {None: "–", True: "**yes**", False: "no"}[row["surprise"]]
        rows.append(
            [
                row["label"],
                f"{row['bits']:,} ({100 * row['share']:.4f} %)" if row["bits"] else "0",
                f"{100 * row['pictures']:.2f} %" if row["bits"] else "0",
                str(row["most"]),
                f"{row['largest_change']:.1e}" if row["largest_change"] else "0",
                f"{100 * row['lost']['not nearest']:.2f} %" if row["bits"] else "0",
                f"{row['mean_average_precision']:.6f}",
                f"{row['queries_alone']:.6f}",
                row["expected"] or "–",
                surprise,
            ]
        )
    machine = f"{describe_machine(results)}; torch {results['torch']}, {results['capability']}"
    return f"{markdown_table(columns, rows)}\n{machine}, `python -m benchmarks other_tools numerics`.\n"

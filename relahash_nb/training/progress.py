"""What is seen while it trains: a bar for an epoch, and a line after it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm


def watch(batches: Iterable, total: int, what: str) -> Iterable:
    """A progress bar in a terminal or a notebook, for what takes more than two seconds; it vanishes when done."""
    if not sys.stdout.isatty() and "ipykernel" not in sys.modules:
        return batches
    return tqdm(batches, what, total, leave=False, delay=2, mininterval=2, file=sys.stdout)


def say(line: str) -> None:
    """Prints a line above a bar that may be there."""
    tqdm.write(line, file=sys.stdout)


def describe_epoch(history: list[dict[str, float]], epochs: int) -> str:
    """One line on the last epoch, and how long the rest will take."""
    record = history[-1]
    left = record["seconds"] * (epochs - len(history))
    scores = "".join(f"  {name} {record[name]:.4f}" for name in ("validation_map", "query_map") if name in record)
    return (
        f"epoch {len(history):3d}/{epochs}  loss {record['loss']:.4f}"
        f"  centroid accuracy {record['centroid_accuracy']:.4f}  quantization error {record['quantization_error']:.4f}"
        f"{scores}  {record['seconds']:.1f} s, {left:.0f} s to go"
    )

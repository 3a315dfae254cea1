"""What it costs that bits flip together: finished runs, with a threshold of its own for each bit.

    python -m benchmarks.thresholds RUN ...     # names in results/runs

A bit is the sign of a code: every threshold is zero. Here that of bit k is s · mean |z| · e_k, with e_k drawn from a
standard normal distribution. Beside it stands the ranking by the cosine between the codes before the sign. Queries
search for the database items whose codes before the sign the run keeps. The scores go to
`docs/results/thresholds.csv`, where those of other runs stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from relahash_nb.metrics import average_precision, retrieval_scores
from relahash_nb.results import load_run

TARGET = Path(__file__).parent.parent / "docs" / "results" / "thresholds.csv"
SPREADS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
DRAWS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="name of a finished run")
    try:
        fresh = pd.DataFrame([measure(name) for name in parser.parse_args().runs])
    except ValueError as error:  # no such run
        parser.exit(2, f"{error}\n")
    rows = pd.concat([pd.read_csv(TARGET), fresh])
    rows.drop_duplicates("run_id", keep="last").to_csv(TARGET, index=False)


def measure(name: str) -> dict[str, str | float]:
    """Mean average precision of a run's codes at each spread of the thresholds, and by their cosine."""
    run = load_run(name)
    codes, targets = run.codes_before_sign()  # (N, K), (N, C)
    first = len(run.arrays["query_raw"])
    parts = codes[:first], codes[first:], targets[:first], targets[first:]
    row: dict[str, str | float] = {"run_id": name}
    row |= {f"spread {spread:g}": spread_thresholds(*parts, spread) for spread in SPREADS}
    return row | {"cosine": cosine_score(*parts)}


def spread_thresholds(query, database, query_targets, database_targets, spread: float) -> float:
    """The mean over draws of the thresholds."""
    scale = spread * np.abs(query).mean()
    draws = np.random.default_rng(0).standard_normal((DRAWS if spread else 1, query.shape[1])) * scale  # (D, K)
    scores = [retrieval_scores(query - t, database - t, query_targets, database_targets) for t in draws]
    return float(np.mean([score.mean_average_precision for score in scores]))


def cosine_score(query, database, query_targets, database_targets) -> float:
    """Of the ranking by the cosine, where no two items are tied."""
    query, database = (codes / np.linalg.norm(codes, axis=1, keepdims=True) for codes in (query, database))
    order = np.argsort(-query @ database.T, axis=1)  # (Q, D)
    relevant = np.take_along_axis((query_targets @ database_targets.T) > 0, order, axis=1)
    return float(average_precision(relevant.astype(int), np.ones(relevant.shape, int), None)[0].mean())


if __name__ == "__main__":
    main()

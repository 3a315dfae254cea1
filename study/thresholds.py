"""What it costs that many bits have their threshold in one place: finished runs, with another one for each bit.

    python -m study.thresholds RUN ...     # names in results/runs

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

from relahash_nb.metrics import retrieval_scores
from relahash_nb.results import load_run

TARGET = Path(__file__).parent.parent / "docs" / "results" / "thresholds.csv"
SPREADS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)  # s
DRAWS = 10  # of the thresholds, for each s above 0


def main() -> None:
    """Score the named runs, and write the scores in place of their earlier ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="name of a finished run")
    try:
        rows = [measure(name) for name in parser.parse_args().runs]
    except ValueError as error:  # no such run
        parser.exit(2, f"{error}\n")
    table = pd.concat([pd.read_csv(TARGET), pd.DataFrame(rows)])
    table.drop_duplicates("run_id", keep="last").to_csv(TARGET, index=False)


def measure(name: str) -> dict[str, str | float]:
    """Mean average precision of a run's codes at each spread of the thresholds, and by their cosine."""
    run = load_run(name)
    codes, targets = run.codes_before_sign()  # (N, K), (N, C), first the queries
    queries = len(run.arrays["query_raw"])
    parts = codes[:queries], codes[queries:], targets[:queries], targets[queries:]
    row: dict[str, str | float] = {"run_id": name}
    for spread in SPREADS:
        row[f"spread {spread:g}"] = spread_thresholds(*parts, spread)
    row["cosine"] = retrieval_scores(*parts, distance="cosine").mean_average_precision
    return row


def spread_thresholds(query, database, query_targets, database_targets, spread: float) -> float:
    """Mean average precision by Hamming distance, as a mean over the draws of the thresholds.

    Args:
        query: (Q, K) codes before the sign.
        database: (D, K), likewise.
        query_targets: (Q, C) multi-hot.
        database_targets: (D, C) multi-hot.
        spread: s, the standard deviation of the thresholds in mean sizes of the queries' codes.
    """
    draws = DRAWS if spread else 1
    scale = spread * np.abs(query).mean()
    thresholds = np.random.default_rng(0).standard_normal((draws, query.shape[1])) * scale  # (draws, K)
    scores = []
    for threshold in thresholds:
        found = retrieval_scores(query - threshold, database - threshold, query_targets, database_targets)
        scores.append(found.mean_average_precision)
    return float(np.mean(scores))


if __name__ == "__main__":
    main()

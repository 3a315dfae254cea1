"""Maintainers only: the runs and figures of `results/` and `results_phase/` become the published `docs/results/`.

    python tools/publish.py [results] [results_phase]

Published runs that are not in `results/` stay. `make gallery generate` then writes the pages.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from relahash_nb.config import RunConfig
from relahash_nb.results import load_runs, paired_differences, select_runs, summarize

TARGET = Path(__file__).parent.parent / "docs" / "results"


def main(results: str = "results", phase: str = "results_phase") -> None:
    """Writes summaries, differences, searches and figures."""
    fresh, path = summarize(load_runs(results)), TARGET / "summary.csv"
    before = pd.read_csv(path)
    usual = {name: field.default for name, field in RunConfig.model_fields.items()}
    before = before.assign(**{name: usual[name] for name in fresh if name in usual and name not in before})
    kept = before[~before["run_id"].isin(fresh["run_id"])]
    rows = pd.concat([kept, fresh]).sort_values(["data", "loss", "bits", "seed"], ignore_index=True)
    rows.to_csv(path, index=False)
    print(f"{path}: {len(kept)} runs from before, {len(fresh)} of {results}")
    if Path(phase).exists():
        summarize(load_runs(phase)).to_csv(TARGET / "phase.csv", index=False)
    if fresh["tuning"].notna().any():
        runs = select_runs(results, tuning=fresh["tuning"].dropna().iloc[0])
        paired_differences(runs).to_csv(TARGET / "differences.csv", index=False)
        shutil.copytree(Path(results, "tuned"), TARGET / "tuned", dirs_exist_ok=True, ignore=lambda _, names: {
            name for name in names if not name.endswith(".json")})  # fmt: skip
    for figure in Path(results, "figures").glob("*"):
        shutil.copy(figure, TARGET / "figures")


if __name__ == "__main__":
    main(*sys.argv[1:])

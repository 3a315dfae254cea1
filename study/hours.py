"""How long the published runs and searches of the parts of `study/reality.sh` took.

    python -m study.hours [PART ...]   # hours of one core; nothing where no published row says it

Counted are the seconds of training, encoding and scoring that each run records, and those of the trials of each
search. Left out are decoding and features, which runs share, and the parts whose tables hold no seconds: `epochs`,
`quantizer`, `dividend`, `thresholds`. The machines did other work too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from relahash_nb.results import read_table

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SECONDS = ["seconds_training", "seconds_encoding", "seconds_scoring"]
DATA = ("lists cifar10_jpeg", "lists miniimagenet100_10k", "lists corel5k_21", "fashion_mini")
WAYS = ("semantic", "benchmarks.assigned:assigned", "study.assigned:assigned")
# Of each part: the table of its runs, which of its rows they are, and the folders of its searches.
PARTS = {
    "defaults": ("summary", "tuning.isna() and centroids == 'max_hamming' and data in @DATA and not has_one_draw", ""),
    "new_images": ("summary", "tuning.str.endswith('new images', na=False)", "new_images"),
    "protocol": ("summary", "tuning.str.endswith('protocol', na=False)", "protocol"),
    "seeds": ("summary", "tuning.str.contains('search', na=False)", "*-seed*"),
    "unseen": ("summary", "data == 'lists miniimagenet100_unseen' and centroids == 'max_hamming'", "unseen"),
    "splits": ("splits", "bits > 0", ""),
    "centroids": ("summary", "centroids in @WAYS or loss.str.contains(':')", ""),
    "phase": ("phase", "bits > 0", ""),
    "grid": ("grid", "bits > 0", ""),
}


def spent(part: str) -> tuple[int, int, float]:
    """How many runs and searches of a part are published, and their hours."""
    if part not in PARTS:
        return 0, 0, 0.0
    table, rows, searches = PARTS[part]
    seconds = []
    if (RESULTS / f"{table}.csv").exists():
        runs = read_table(RESULTS / f"{table}.csv")
        runs = runs.assign(has_one_draw=runs["centroid_seed"].notna()).query(rows)
        seconds += runs[SECONDS].sum(axis=1).tolist()
    run_count = len(seconds)
    for path in RESULTS.glob(f"tuned/{searches or 'none'}/*.json"):
        seconds.append(json.loads(path.read_text(encoding="utf-8"))["budget"]["seconds"])
    return run_count, len(seconds) - run_count, sum(seconds) / 3600


def all_hours() -> float:
    """The hours of all parts."""
    return sum(spent(part)[2] for part in PARTS)


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        run_count, search_count, hours = spent(name)
        if hours:
            print(f"{name}: {search_count} searches, {run_count} runs, {hours:.1f} h")
    if not sys.argv[1:]:
        print(f"in all: {all_hours():.0f} h")

"""Evaluators of ranked lists, each on the same ranking of trained codes: what they divide by, how they break ties.

Codes: 100 queries and the 6,500 items of the database, at 16 and at 64 bits, from `codes.npz`. Each evaluator runs by a
script of `scripts/` in a virtual environment, which knows nothing of this package; it gets what `as_ranking` makes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_tools.environments import InstallError, environment, run_script
from benchmarks.other_tools.evaluator_guesses import EVALUATORS as EXPECTED
from benchmarks.other_tools.files import RESULTS, read_results, write_results
from relahash_nb.metrics import as_ranking, average_precision, distance_histograms, unpack

SCRIPTS = Path(__file__).parent / "scripts"
CODES = RESULTS / "codes.npz"
QUERIES = 100
CUT = 100
SETS = {"trained16": 16, "trained64": 64}


@dataclass(frozen=True)
class Script:
    """One script, the environment that it needs, and the rows that it fills."""

    file: str
    environment: str
    requirements: tuple[str, ...]
    rows: tuple[str, ...]


LIGHT = ("numpy==2.4.6", "scikit-learn==1.9.1")
TREC = ("numpy==2.4.6", "numba==0.68.1", "pytrec-eval-terrier==0.5.11", "ir-measures==0.4.3", "ranx==0.3.21")
TORCH = ("numpy==2.4.6", "torch==2.14.1", "torchmetrics==1.9.0", "pytorch-metric-learning==2.9.0", "faiss-cpu==1.15.1")
OPEN_METRIC_LEARNING = ("open-metric-learning==4.0.0",)

EVALUATORS = {
    "torchmetrics": Script("torchmetrics_evaluator.py", "torch_evaluators", TORCH, ("torchmetrics",)),
    "scikit_learn": Script("scikit_learn_evaluator.py", "scikit_learn", LIGHT, ("scikit_learn",)),
    "trec": Script("trec_evaluators.py", "trec", TREC, ("pytrec_eval", "ir_measures", "ranx")),
    "metric_learning": Script(
        "metric_learning_evaluator.py", "torch_evaluators", TORCH, ("metric_learning_faiss", "metric_learning_torch")
    ),
    "open_metric_learning": Script(
        "open_metric_learning_evaluator.py", "open_metric_learning", OPEN_METRIC_LEARNING, ("open_metric_learning",)
    ),
}

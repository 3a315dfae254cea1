"""open-metric-learning: calc_map on what torch.topk finds."""

import subprocess
import sys

import torch
from evaluator_harness import main
from oml.functional.metrics import calc_map


def open_metric_learning(task, cut):
    depth = task.scores.shape[1] if cut is None else cut
    order = torch.tensor(task.scores).topk(depth, dim=1).indices
    hits = torch.tensor(task.relevant).gather(1, order)
    return calc_map(list(hits), task.relevant.sum(1).tolist(), top_k=(depth,))[0].tolist()


def traps(tasks):
    code = "import sys; sys.modules['omegaconf'] = None; import oml.functional.metrics"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    return {"without omegaconf, which its installation leaves out": done.stderr.strip().splitlines()[-1]}


if __name__ == "__main__":
    main(
        {"open_metric_learning": open_metric_learning},
        ["open-metric-learning", "torch", "numpy"],
        ("reversed", "minus_distance"),
        traps=traps,
    )

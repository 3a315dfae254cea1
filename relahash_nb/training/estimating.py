"""`estimate_seconds`: what a run will take on this machine, before it is begun."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from relahash_nb.baselines import BASELINES
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.models import HashModel
from relahash_nb.training.encoding import encode
from relahash_nb.training.fitting import Training


def estimate_seconds(
    model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None = None
) -> dict[str, float]:
    """What a run will take on this machine, from a few timed steps on copies; nothing given is changed.

    Args:
        model: Not yet trained.
        loss: Likewise.
        data: What it will be trained on.
        config: Resolved or not.
        features: As for `fit`.

    Returns:
        Seconds for `training` and for `encoding` query and database once.
    """
    with torch.random.fork_rng():
        trial = Training(copy.deepcopy(model), copy.deepcopy(loss), data, config, features)
        trial.model.train()
        batches, is_trained = trial.batches(), config.loss not in BASELINES
        with trial.at_work():
            step = _median_seconds(lambda: trial.step(*next(batches)), min(6, trial.steps)) if is_trained else 0.0
        few = Split(data.pool, data.database.indices[:256])
        block = _median_seconds(
            lambda: encode(trial.model, few, trial.config.precision, features=trial.pool_features), 3
        )
    items = len(data.query) + len(data.database)
    return {"training": step * trial.steps * trial.config.epochs, "encoding": block * items / len(few)}


def _median_seconds(work: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]

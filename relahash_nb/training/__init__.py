"""The only loops over data: `fit` trains, `encode` gives codes, `evaluate` scores them."""

from relahash_nb.features import autocast
from relahash_nb.models import DTYPES
from relahash_nb.training.checkpoints import CheckpointError
from relahash_nb.training.encoding import encode, evaluate, find_device, score
from relahash_nb.training.estimating import estimate_seconds
from relahash_nb.training.fitting import (
    CHECK_INTERVAL,
    SCHEDULES,
    Training,
    batch_statistics,
    fit,
    make_optimizer,
)
from relahash_nb.training.progress import describe_epoch, watch

__all__ = [
    "CHECK_INTERVAL",
    "DTYPES",
    "SCHEDULES",
    "CheckpointError",
    "Training",
    "autocast",
    "batch_statistics",
    "describe_epoch",
    "encode",
    "estimate_seconds",
    "evaluate",
    "find_device",
    "fit",
    "make_optimizer",
    "score",
    "watch",
]

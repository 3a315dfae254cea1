"""The only loops over data: `Trainer` and `fit` train, `encode` gives codes, `evaluate` and `score` rate them."""

from relahash_nb.training.batches import draw_inputs
from relahash_nb.training.checkpoints import CheckpointError
from relahash_nb.training.encoding import encode, encode_splits, evaluate, score
from relahash_nb.training.optimization import SCHEDULES, make_optimizer
from relahash_nb.training.trainer import Trainer, fit

__all__ = [
    "SCHEDULES",
    "CheckpointError",
    "Trainer",
    "draw_inputs",
    "encode",
    "encode_splits",
    "evaluate",
    "fit",
    "make_optimizer",
    "score",
]

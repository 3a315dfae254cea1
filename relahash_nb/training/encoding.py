"""`encode` gives the codes of a split, `evaluate` and `score` say how well they retrieve."""

import math

import numpy as np
import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.files import watch
from relahash_nb.inference import BLOCK, forward_blocks
from relahash_nb.metrics import RetrievalScores, retrieval_scores
from relahash_nb.models import HashModel

FEATURE_BLOCK = 8_192  # rows of fixed features that the hash layer is given at a time


def encode(
    model: HashModel, split: Split, precision: str = "fp32", features: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Codes (N, K) float32 of a split, before the sign, and targets (N, C) uint8, in its order and on the CPU.

    Args:
        model: Where it is; it is left in evaluation mode.
        split: N items.
        precision: fp32, bf16 or fp16.
        features: (M, F) of the split's whole pool, where the backbone's are known; then only the hash layer works.
    """
    model.eval()
    codes = []
    if features is None:
        blocks = forward_blocks(HashModel.forward, model, split, precision)
        total = math.ceil(len(split) / BLOCK)
        for block in watch(blocks, total, "encoding"):
            codes.append(block.float())
    else:
        with torch.inference_mode():
            for rows in split.indices.split(FEATURE_BLOCK):
                inputs = features[rows].to(model.mean.device).float()
                codes.append(model.hash(inputs).cpu())
    return torch.cat(codes).clone(), split.targets  # cloned into an ordinary tensor, outside of inference mode


def encode_splits(
    model: HashModel, data: Dataset, config: RunConfig, features: Tensor | None = None
) -> dict[str, Tensor]:
    """Codes (N, K) of `query` and of `database`; arguments as for `encode`."""
    query_codes, _ = encode(model, data.query, config.precision, features)
    database_codes, _ = encode(model, data.database, config.precision, features)
    return {"query": query_codes, "database": database_codes}


def evaluate(
    model: HashModel, query: Split, database: Split, config: RunConfig, features: Tensor | None = None
) -> RetrievalScores:
    """Tie-aware retrieval scores of a model, where it is; arguments as for `encode` and `score`."""
    query_codes, _ = encode(model, query, config.precision, features)
    database_codes, _ = encode(model, database, config.precision, features)
    return score(query_codes, database_codes, query, database, config)


def score(
    query_codes: Tensor | np.ndarray,
    database_codes: Tensor | np.ndarray,
    query: Split,
    database: Split,
    config: RunConfig,
    distance: str = "hamming",
) -> RetrievalScores:
    """Retrieval scores of codes (Q, K) and (D, K) of two splits, as a config says how to count them.

    Args:
        query_codes: Before the sign.
        database_codes: Before the sign.
        query: Q items.
        database: D items.
        config: Its `top_k`, `denominator` and `drop_self_matches` count.
        distance: As for `retrieval_scores`.
    """
    return retrieval_scores(
        query_codes,
        database_codes,
        query.targets,
        database.targets,
        top_k=None if config.top_k == "all" else config.top_k,
        denominator=config.denominator,
        self_matches=query.positions_in(database) if config.drop_self_matches else None,
        distance=distance,
    )

"""`encode` gives the codes of a split, `evaluate` and `score` say how well they retrieve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Split
from relahash_nb.features import BLOCK, forward_blocks
from relahash_nb.metrics import RetrievalScores, retrieval_scores
from relahash_nb.models import HashModel
from relahash_nb.training.progress import watch


def encode(
    model: HashModel,
    split: Split,
    precision: str = "fp32",
    batch_size: int | None = None,
    features: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes of a whole split, in its order, in evaluation mode.

    Args:
        model: Where it is; it is left in evaluation mode.
        split: N items.
        precision: fp32, bf16 or fp16.
        batch_size: Images at a time; None: what suits the device. It changes the speed alone: in evaluation mode an
            item's code is its own.
        features: (M, F) of the split's whole pool, where the backbone's are known; then only the hash layer works.

    Returns:
        Codes (N, K) float32, before the sign, and targets (N, C) uint8, on the CPU.
    """
    model.eval()
    device = model.mean.device
    if features is not None:
        with torch.inference_mode():
            codes = [model.hash(features[rows].to(device).float()).cpu() for rows in split.indices.split(8_192)]
        return torch.cat(codes).clone(), split.targets
    blocks = forward_blocks(HashModel.forward, model, split, precision, batch_size=batch_size)
    codes = [block.float() for block in watch(blocks, math.ceil(len(split) / BLOCK), "encoding")]
    return torch.cat(codes).clone(), split.targets  # cloned into an ordinary tensor, outside of inference mode


def evaluate(
    model: HashModel, query: Split, database: Split, config: RunConfig, features: Tensor | None = None
) -> RetrievalScores:
    """Tie-aware retrieval scores of a model, where it is.

    Args:
        model: It is left in evaluation mode.
        query: What is searched with.
        database: What is searched in.
        config: Of it count `precision`, `top_k`, `denominator` and `drop_self_matches`.
        features: As for `encode`.
    """
    codes = [encode(model, split, config.precision, features=features)[0] for split in (query, database)]
    return score(*codes, query, database, config)


def score(
    query_codes: Tensor, database_codes: Tensor, query: Split, database: Split, config: RunConfig
) -> RetrievalScores:
    """Retrieval scores of codes (Q, K) and (D, K) of two splits, as a config wants them."""
    config = config.resolve()
    return retrieval_scores(
        query_codes,
        database_codes,
        query.targets,
        database.targets,
        top_k=None if config.top_k == "all" else config.top_k,
        denominator=config.denominator,
        self_matches=query.positions_in(database) if config.drop_self_matches else None,
    )


def find_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: No such device here.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {name!r} given, and not to be had here ({str(error).splitlines()[0]})") from None
    return device

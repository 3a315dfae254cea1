"""`encode` gives the codes of a split, `evaluate` and `score` say how well they retrieve."""

import math

import torch
from torch import Tensor

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.features import BLOCK, forward_blocks
from relahash_nb.files import timed, watch
from relahash_nb.metrics import RetrievalScores, retrieval_scores
from relahash_nb.models import HashModel


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
    if features is None:
        blocks = forward_blocks(HashModel.forward, model, split, precision)
        codes = [block.float() for block in watch(blocks, math.ceil(len(split) / BLOCK), "encoding")]
    else:
        with torch.inference_mode():
            blocks = (features[rows].to(model.mean.device).float() for rows in split.indices.split(8_192))
            codes = [model.hash(block).cpu() for block in blocks]
    return torch.cat(codes).clone(), split.targets  # cloned into an ordinary tensor, outside of inference mode


@timed("encoding")
def encode_splits(
    model: HashModel, data: Dataset, config: RunConfig, features: Tensor | None = None
) -> dict[str, Tensor]:
    """Codes (N, K) of `query` and of `database`; arguments as for `encode`."""
    splits = {"query": data.query, "database": data.database}
    return {name: encode(model, split, config.precision, features=features)[0] for name, split in splits.items()}


def evaluate(
    model: HashModel, query: Split, database: Split, config: RunConfig, features: Tensor | None = None
) -> RetrievalScores:
    """Tie-aware retrieval scores of a model, where it is; arguments as for `encode` and `score`."""
    codes = [encode(model, split, config.precision, features=features)[0] for split in (query, database)]
    return score.__wrapped__(*codes, query, database, config)  # not timed: it belongs to training


@timed("scoring")
def score(
    query_codes: Tensor, database_codes: Tensor, query: Split, database: Split, config: RunConfig
) -> RetrievalScores:
    """Retrieval scores of codes (Q, K) and (D, K) of two splits, as a config wants them."""
    return retrieval_scores(
        query_codes,
        database_codes,
        query.targets,
        database.targets,
        top_k=None if config.top_k == "all" else config.top_k,
        denominator=config.denominator,
        self_matches=query.positions_in(database) if config.drop_self_matches else None,
    )


def describe_epoch(history: list[dict[str, float]], epochs: int) -> str:
    """One line on the last epoch, and how long the rest will take."""
    record = history[-1]
    left = record["seconds"] * (epochs - len(history))
    scores = "".join(f"  {name} {record[name]:.4f}" for name in ("validation_map", "query_map") if name in record)
    return (
        f"epoch {len(history):3d}/{epochs}  loss {record['loss']:.4f}"
        f"  centroid accuracy {record['centroid_accuracy']:.4f}  quantization error {record['quantization_error']:.4f}"
        f"{scores}  {record['seconds']:.1f} s, {left:.0f} s to go"
    )

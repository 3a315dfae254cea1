"""Frozen features and decoded images: computed once, and kept on disk for every run that follows."""

from relahash_nb.features.backbone import (
    backbone_fingerprint,
    compute_blocks,
    describe_features,
    pool_features,
)
from relahash_nb.features.images import decode_images, pool_fingerprint
from relahash_nb.features.rows import RowFile
from relahash_nb.inference import autocast, forward_blocks

__all__ = [
    "RowFile",
    "autocast",
    "backbone_fingerprint",
    "compute_blocks",
    "decode_images",
    "describe_features",
    "forward_blocks",
    "pool_features",
    "pool_fingerprint",
]

"""The further scores of a run: on new images, and by the query's codes before the sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from relahash_nb.config import RunConfig

if TYPE_CHECKING:
    from relahash_nb.metrics.retrieval import RetrievalScores


def score_new_images(
    config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], distance: str = "hamming"
) -> RetrievalScores | None:
    """The scores over the database without training images; None where it has no others.

    Args:
        config: What was run.
        data: The `Dataset`.
        codes: `query` (Q, K) and `database` (D, K) float, before the sign.
        distance: As for `retrieval_scores`.
    """
    from relahash_nb.training import score

    new_images = data.new_images
    if not len(new_images):
        return None
    rows = new_images.positions_in(data.database)
    return score(codes["query"], codes["database"][rows], data.query, new_images, config, distance)


def further_scores(
    config: RunConfig, data: Any, codes: Mapping[str, np.ndarray], new_images: RetrievalScores | None
) -> dict[str, float]:
    """What `run.json` says beside the scores of the published protocol; arguments as for `score_new_images`."""
    further = score_asymmetric(config, data, codes)
    if new_images is not None:
        further["new_images"] = new_images.mean_average_precision
        further["new_images_best"] = new_images.best
        further["new_images_worst"] = new_images.worst
    return further


def score_asymmetric(config: RunConfig, data: Any, codes: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean average precision by the query's codes before the sign: over the database, and over its new images.

    Nothing where a code is infinite, of which the sign counts alone.
    """
    from relahash_nb.training import score

    if not np.isfinite(codes["query"]).all():
        return {}
    scores = score(codes["query"], codes["database"], data.query, data.database, config, "asymmetric")
    new_images: RetrievalScores | None = scores
    if len(data.new_images) < len(data.database):
        new_images = score_new_images(config, data, codes, "asymmetric")
    further = {"asymmetric": scores.mean_average_precision}
    if new_images is not None:
        further["new_images_asymmetric"] = new_images.mean_average_precision
    return further

"""The scores of a run: of the published protocol, on new images, and by the query's codes before the sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from relahash_nb.config import RunConfig
from relahash_nb.results.report import Scores

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
    described = {"asymmetric": scores.mean_average_precision}
    if new_images is not None:
        described["new_images_asymmetric"] = new_images.mean_average_precision
    return described


def describe_scores(
    scores: RetrievalScores, new_images: RetrievalScores | None, asymmetric: Mapping[str, float], codes: np.ndarray
) -> Scores:
    """What `run.json` says of a run's scores, and of all its codes (N, K) before the sign."""
    from relahash_nb.metrics import constant_bits, distinct_codes, quantization_error

    further = dict(asymmetric)
    if new_images is not None:
        further |= {
            "new_images": new_images.mean_average_precision,
            "new_images_best": new_images.best,
            "new_images_worst": new_images.worst,
        }
    return Scores(
        mean_average_precision=scores.mean_average_precision,
        best=scores.best,
        worst=scores.worst,
        precision_at_100=scores.precision_at(100),
        precision_within_2=scores.precision_within(2),
        recall_within_2=scores.recall_within(2),
        quantization_error=quantization_error(codes),
        quantization_error_centred=quantization_error(codes, centred=True),
        constant_bits=int(np.size(constant_bits(codes))),
        distinct_codes=int(distinct_codes(codes)),
        **further,
    )

"""A ranking in the form that other evaluators read: similarities above 0, and ids whose text sorts as their number."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from relahash_nb.metrics.codes import as_array, hamming_distances


class Ranking(NamedTuple):
    """Similarities of Q queries to D documents, and what the documents are called."""

    scores: np.ndarray  # (Q, D) float32, K + 1 - distance: 1 to K + 1, the higher the nearer
    documents: list[str]  # D different texts, in the order of the columns


def as_ranking(query_codes, database_codes, ids=None) -> Ranking:
    """Rank the database by Hamming distance to each query, in a form that evaluators of ranked lists read rightly.

    A score is K + 1 − distance. It is above 0, since some evaluators take an item of score 0 or below for one that
    was not retrieved, and they do so without a warning. It is a float, since some refuse integers, and float32 holds
    each of these numbers exactly.

    Ids become texts of one length, "0000" to "6499", so that they sort as texts in the order of their numbers:
    trec_eval orders tied documents by text. Items at one distance stay tied; which of them comes first is for each
    evaluator to decide, and `retrieval_scores` gives the mean over all orders.

    Args:
        query_codes: (Q, K) floating point or -1 and +1, a tensor on any device or a NumPy array; the sign counts.
        database_codes: (D, K), likewise.
        ids: (D,) different integers of at least 0, or different texts, which stay as they are; None: 0 to D - 1.

    Returns:
        `scores` (Q, D) float32, 1 to K + 1, and `documents`, a list of D texts.

    Raises:
        ValueError: the codes differ in width or are not codes; the ids are not D different integers or texts.

    Example:
        >>> codes = np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]])
        >>> scores, documents = as_ranking(codes[:1], codes, ids=[2, 7, 10])
        >>> scores
        array([[4., 3., 1.]], dtype=float32)
        >>> dict(zip(documents, scores[0].tolist()))
        {'02': 4.0, '07': 3.0, '10': 1.0}
    """
    distances = hamming_distances(query_codes, database_codes)  # (Q, D)
    bits = np.shape(query_codes)[1]
    scores = (bits + 1 - distances).astype(np.float32)
    items = distances.shape[1]
    documents = _as_texts(np.arange(items) if ids is None else as_array(ids))
    if len(documents) != items:
        raise ValueError(f"ids hold {len(documents)} values; allowed: one for each of the {items} items")
    counts = Counter(documents)
    if len(counts) < items:
        repeated = counts.most_common(1)[0][0]
        raise ValueError(f"ids hold {repeated!r} more than once; allowed: different ids")
    return Ranking(scores, documents)


def _as_texts(ids: np.ndarray) -> list[str]:
    """Return texts as they are, and integers as texts of one length."""
    texts = ids.ravel().tolist()
    if ids.ndim == 1 and all(isinstance(text, str) for text in texts):
        return texts
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.min() < 0:
        raise ValueError(f"ids are {ids.dtype} {ids.shape}; allowed: (D,) integers ≥ 0 or texts")
    width = len(str(ids.max()))
    return [str(number).zfill(width) for number in texts]

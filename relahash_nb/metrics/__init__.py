# ruff: noqa: F401  (what is imported here is what the package offers)
"""Metrics of binary codes: distances, tie-aware retrieval scores, and what the codes look like.

Arguments are PyTorch tensors on any device or NumPy arrays; what comes back are NumPy arrays and floats.
"""

from relahash_nb.metrics.codes import binarize, hamming_distances, pack, unpack
from relahash_nb.metrics.histograms import distance_histograms
from relahash_nb.metrics.levels import code_distances, distance_levels, relevance
from relahash_nb.metrics.rankings import Ranking, as_ranking
from relahash_nb.metrics.rescoring import rescored_precision
from relahash_nb.metrics.retrieval import RetrievalScores, distance_scores, retrieval_confusion, retrieval_scores
from relahash_nb.metrics.statistics import (
    ClassDistances,
    bit_balance,
    bit_correlation,
    bit_entropy,
    bit_histograms,
    centroid_accuracy,
    centroid_distances,
    class_distances,
    code_cosine,
    constant_bits,
    distinct_codes,
    duplicate_bits,
    principal_components,
    quantization_error,
)
from relahash_nb.metrics.ties import average_precision

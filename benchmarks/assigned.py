"""Centroids of one's own: the codes of `max_hamming`, given out so that classes that look alike get near ones.

The codes are the same as without; only which class has which differs. CRH (arXiv 2511.12162) gives them out anew while
it trains; here it is done once, before.
"""

import numpy as np
from scipy.optimize import quadratic_assignment

from relahash_nb.centroids import max_hamming


def assigned(num_classes: int, bits: int, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
    """Swaps the codes of two classes while that raises Σ cos(mean, mean') · ⟨code, code'⟩; seconds for 100 classes."""
    codes = max_hamming(num_classes, bits, rng)  # (C, K)
    means = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)  # a class may have no image
    cosines = (means @ means.T).round(3)  # (C, C)
    found = quadratic_assignment(cosines, codes @ codes.T, "2opt", {"maximize": True, "rng": rng})
    return codes[found.col_ind]

"""A centroid method: the codes of `max_hamming`, given to the classes so that similar classes get near codes.

The set of codes is that of `max_hamming`; only which class has which code differs. CRH (arXiv 2511.12162) assigns them
again and again in training; here it is done once, before.
"""

import numpy as np
from scipy.optimize import quadratic_assignment

from relahash_nb.centroids import max_hamming


def assigned(num_classes: int, bits: int, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
    """Swap the codes of two classes while that raises Σ cos(mean, mean') · ⟨code, code'⟩.

    It takes seconds for 100 classes.

    Args:
        num_classes: C.
        bits: K.
        rng: decides the codes, and the order in which swaps are tried.
        means: (C, F), the mean features of the classes.

    Returns:
        (C, K) of ±1.
    """
    codes = max_hamming(num_classes, bits, rng)
    directions = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)  # a class may have no image
    cosines = (directions @ directions.T).round(3)  # (C, C)
    products = codes @ codes.T  # (C, C)
    found = quadratic_assignment(cosines, products, "2opt", {"maximize": True, "rng": rng})
    return codes[found.col_ind]

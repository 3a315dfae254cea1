"""Centroids: one fixed code of K bits for each of C classes, far from the others in Hamming distance.

A further method is one function `(num_classes, bits, rng) -> (C, K) array` in `CENTROIDS`, or anywhere as
`package.module:function`. Where it has a fourth argument, `means`, it is given the mean features of the classes.
"""

import inspect
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.spatial.distance import pdist

from relahash_nb.registry import CENTROIDS, load

DRAWS = 32  # of Hadamard rows, while a bit is redundant; from 20 classes on the first one nearly always serves
POOL = 2048  # sign masks among which those of the Hadamard cosets are chosen
SWEEPS = 50  # over all classes or bits, while there still is a bit to flip; ten are usually enough
SHARE = 0.5  # of the similarity of classes that the cosines of semantic codes have; chosen on held-out training images
MOST_CLASSES = 2048  # that max_hamming improves: the time grows with C², and the sums must stay exact in float64


def make_centroids(
    num_classes: int, bits: int, method: str = "max_hamming", seed: int = 0, means: np.ndarray | None = None
) -> torch.Tensor:
    """Draw one centroid of ±1 for each class, as compared in RelaHash (doi 10.1109/ACCESS.2023.3259104).

    A seed means the same centroids on every machine: all that decides are sums of whole numbers, exact in float64. No
    global random state is read or changed.

    Args:
        num_classes: C, at least 1.
        bits: K, at least 1; it need not be a power of two.
        method: A name in `CENTROIDS`, its letter in the paper (N, U, B, M, H), or `package.module:function`.
        seed: At least 0.
        means: (C, F) float, the mean features of the classes less the mean of all, for `semantic`; their lengths do not
            count. None: no class is like another.

    Returns:
        (C, K) float32 on the CPU, every entry −1 or +1.

    Example:
        >>> describe_centroids(make_centroids(10, 64)).minimum_distance
        35
    """
    num_classes, bits = _whole("num_classes", num_classes, least=1), _whole("bits", bits, least=1)
    rng = np.random.default_rng(_whole("seed", seed, least=0))
    name = LETTERS.get(method, method)
    if name not in CENTROIDS and ":" not in name:
        raise ValueError(f"method is {method!r}; allowed: {', '.join([*CENTROIDS, *LETTERS])}, package.module:function")
    given = [np.eye(num_classes) if means is None else means] * needs_means(name)
    codes = np.asarray(load(CENTROIDS, name)(num_classes, bits, rng, *given), np.float32)
    if codes.shape != (num_classes, bits) or (abs(codes) != 1).any():
        raise ValueError(
            f"{name}: gave {codes.shape}, up to {codes.max(initial=0)}; expected {(num_classes, bits)} of -1 and 1"
        )
    return torch.from_numpy(codes)  # (C, K)


def needs_means(method: str) -> bool:
    """Whether a centroid method looks at the mean features of the classes."""
    return "means" in inspect.signature(load(CENTROIDS, method)).parameters


def normal(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Signs of normal draws; once the sign is taken, the same distribution as `uniform` and `bernoulli`."""
    return np.copysign(1.0, rng.standard_normal((num_classes, bits)))


def uniform(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Signs of uniform draws from [−0.5, 0.5)."""
    return np.copysign(1.0, rng.random((num_classes, bits)) - 0.5)


def bernoulli(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Fair coins: two centroids differ in K/2 bits on average, the closest two in far fewer."""
    return rng.choice([-1.0, 1.0], (num_classes, bits))


def hadamard(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of ±H: K/2 or K bits apart while C ≤ 2K and K is a power of two (CSQ, Yuan et al., CVPR 2020)."""
    if num_classes > 2 ** (bits - 1):  # two must be neighbours, so any codes serve that are used evenly
        numbers = [rng.permutation(2**bits) for _ in range(-(-num_classes // 2**bits))]
        return 1.0 - 2 * (np.concatenate(numbers)[:num_classes, None] >> np.arange(bits) & 1)  # (C, K)
    # First come different rows in random order, each with a random sign, then their opposites, then both again under
    # sign masks; other K take K columns of the next larger H. All is drawn again while a bit is redundant.
    matrix = scipy.linalg.hadamard(1 << (bits - 1).bit_length(), float)  # (order, order)
    masks = _coset_masks(matrix, -(-num_classes // (2 * len(matrix))), rng)  # (cosets, order)
    draws, redundant = [], lambda codes: sum(map(len, redundant_bits(codes)))
    while len(draws) < DRAWS and (not draws or redundant(draws[-1])):
        rows = rng.permutation(matrix) * bernoulli(len(matrix), 1, rng)
        codes = (masks[:, None] * np.concatenate([rows, -rows])).reshape(-1, len(matrix))[:num_classes]
        codes = rng.permutation(codes)[:, rng.permutation(len(matrix))[:bits]]  # (C, K)
        while len(kept := np.unique(codes, axis=0, return_index=True)[1]) < num_classes:
            repeats = np.setdiff1d(np.arange(num_classes), kept)
            codes[repeats] = bernoulli(len(repeats), bits, rng)
        draws.append(codes)
    return min(draws, key=redundant)


def max_hamming(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Maximise the minimum distance; then few redundant bits, then the mean distance. The best of several climbs.

    The published search draws codes at random and keeps those that are far from all earlier ones. Ours gets further
    (10 classes, 64 bits: minimum 35, the bound, for 31): a climb starts from `hadamard` rows and flips single bits
    while that lowers Σ base^(−distance) over all pairs (Cohn & Zhao 2014, "Energy-minimizing error-correcting codes").
    """
    if num_classes == 1 or num_classes > min(MOST_CLASSES, 2 ** (bits - 1)):
        return hadamard(num_classes, bits, rng)
    found = []
    for climb in range(max(2, min(64, 40_000 // (num_classes * bits)))):  # seconds at most
        start, spare = hadamard(num_classes, bits, rng), climb % 4 > 0  # three of four make no bit redundant
        coarse = _climb(start, 2, spare)  # base 2 reaches far, base 16 then minds little but the closest pairs
        found += [start, coarse, _climb(coarse, 16, spare)]
    seen = [describe_centroids(torch.from_numpy(codes)) for codes in found]
    worth = [(s.minimum_distance, -s.constant_bits - s.duplicate_bits, s.mean_distance) for s in seen]
    return found[worth.index(max(worth))]


def semantic(num_classes: int, bits: int, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
    """Near codes for classes that look alike (the idea of SHC, arXiv 2507.08404), starting from `max_hamming`.

    Bit by bit it minimises the squares of B Bᵀ − K/2 · S off the diagonal, as KSH does for images (Liu et al., CVPR
    2012); S are the cosines between `means`, less their mean. Classes that look much alike may get one code.
    """
    codes, others = max_hamming(num_classes, bits, rng), ~np.eye(num_classes, dtype=bool)
    means = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    cosines = (means @ means.T).round(3) * others  # the last digits differ between machines, the codes should not
    products = bits * SHARE * (cosines - cosines.sum() / max(1, others.sum()))  # (C, C)
    for _ in range(SWEEPS):
        before = codes.copy()
        for bit in codes.T:  # (C,), a view
            rest = (products - codes @ codes.T + np.outer(bit, bit)) * others
            for row in range(num_classes):
                bit[row] = np.copysign(1, rest[row] @ bit)
        if (codes == before).all():
            break
    return codes


METHODS = (normal, uniform, bernoulli, max_hamming, hadamard)
LETTERS = {method.__name__[0].upper(): method.__name__ for method in METHODS}  # N, U, B, M, H



@dataclass(frozen=True)
class CentroidDescription:
    """How far apart centroids are, and whether every bit earns its place; printed, it is one line."""

    num_classes: int
    bits: int
    minimum_distance: int
    plotkin_bound: int  # no C codes of K bits have a larger minimum
    mean_distance: float
    constant_bits: int  # the same in all classes
    duplicate_bits: int  # equal or opposite to an earlier one; a second constant bit counts here too

    def __str__(self) -> str:
        return (
            f"{self.num_classes} × {self.bits} bits: minimum distance {self.minimum_distance} (bound "
            f"{self.plotkin_bound}), mean {self.mean_distance:.2f}, {self.constant_bits} constant and "
            f"{self.duplicate_bits} duplicate bits"
        )


def describe_centroids(centroids: torch.Tensor) -> CentroidDescription:
    """Describe the pairwise Hamming distances and the bits of centroids (C ≥ 2, K) of ±1; others are a ValueError.

    Example:
        >>> print(describe_centroids(torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1]])))
        3 × 4 bits: minimum distance 2 (bound 2), mean 2.00, 1 constant and 0 duplicate bits
    """
    if centroids.ndim != 2 or len(centroids) < 2 or centroids.shape[1] < 1:
        raise ValueError(f"centroids have shape {tuple(centroids.shape)}; allowed: (C, K) with C ≥ 2 and K ≥ 1")
    if (centroids.abs() != 1).any():
        raise ValueError(f"centroids hold {centroids[centroids.abs() != 1][0].item()}; allowed: -1 and 1")
    codes = centroids.detach().cpu().numpy().astype(np.float64)  # (C, K)
    constant, duplicate = redundant_bits(codes)
    distances = (pdist(codes, "cityblock") / 2).astype(int)  # (C(C − 1)/2,)
    least, bound, mean = int(distances.min()), plotkin_bound(*codes.shape), float(distances.mean())
    return CentroidDescription(*codes.shape, least, bound, mean, len(constant), len(duplicate))


def plotkin_bound(num_classes: int, bits: int) -> int:
    """Bound the minimum distance of C ≥ 2 codes of K ≥ 1 bits (Plotkin 1960; MacWilliams & Sloane 1977, chapter 2).

    A bit differs in at most ⌊C/2⌋⌈C/2⌉ of the C(C−1)/2 pairs, so the mean distance, and the minimum with it, is at
    most K ⌊C/2⌋⌈C/2⌉ / (C(C−1)/2). Of the codes, ⌈C/2^s⌉ or more agree in s bits and differ only in the K − s
    others: the bound for these holds as well, and the smallest over s is returned (0 … K, not always attained).

    Example:
        >>> plotkin_bound(10, 64), plotkin_bound(100, 64), plotkin_bound(100, 8)
        (35, 32, 2)
    """
    codes, bounds = _whole("num_classes", num_classes, least=2), []
    for free in range(_whole("bits", bits, least=1), -1, -1):
        if codes > 1:
            bounds.append(2 * free * (codes // 2) * ((codes + 1) // 2) // (codes * (codes - 1)))
        codes = (codes + 1) // 2  # at least so many agree in one bit more
    return min(bounds)


def vote_centroids(targets: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Give each item the majority, bit by bit, of its classes' centroids (CSQ, Yuan et al., CVPR 2020).

    Targets are (N, C) multi-hot, centroids (C, K) of ±1; the votes (N, K) of ±1 have the dtype and device of these. One
    random vector decides ties, the same for all items; an item without a label is all ties.
    """
    votes = (targets > 0).to(centroids.dtype) @ centroids  # (N, K)
    tie = torch.from_numpy(bernoulli(1, centroids.shape[1], np.random.default_rng(0))).to(centroids)  # (1, K)
    return torch.where(votes == 0, tie, votes.sign())


def redundant_bits(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the bits that are constant in signs (N, K), and of those equal or opposite to an earlier bit."""
    changes = (signs > 0) ^ (signs[0] > 0)  # (N, K), a bit and its opposite alike
    _, first = np.unique(np.packbits(changes, axis=0).T, axis=0, return_index=True)
    return np.flatnonzero(~changes.any(0)), np.setdiff1d(np.arange(changes.shape[1]), first)


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {value!r}; allowed: whole numbers from {least}")
    return int(value)


def _coset_masks(matrix: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose sign masks (count, order) greedily so that the codes m·(±H) of different masks m stay far apart."""
    # For m = (−1)^q, q a quadratic form in the binary digits of the column's number, codes of two masks can be
    # (order − √order)/2 bits apart (MacWilliams & Sloane 1977, chapter 15).
    order = len(matrix)
    chosen, overlap = [np.ones(order)], np.zeros(POOL)
    if count > 1:
        digits = np.arange(order)[:, None] >> np.arange(order.bit_length() - 1) & 1  # (order, log2 order)
        forms = np.triu(rng.integers(0, 2, (POOL, digits.shape[1], digits.shape[1])), 1)
        pool = 1.0 - 2 * (((digits @ forms) * digits).sum(2) & 1)  # (POOL, order)
    while len(chosen) < count:
        overlap = np.maximum(overlap, np.abs(pool * chosen[-1] @ matrix).max(1))
        chosen.append(pool[overlap.argmin()])
    return np.stack(chosen)  # (count, order)


def _climb(codes: np.ndarray, base: int, spare: bool) -> np.ndarray:
    """Flip single bits of codes (C, K) while that lowers Σ base^(−distance)."""
    codes, bits = codes.copy(), codes.shape[1]
    top = 36 // (base.bit_length() - 1)  # 2^36 (base + 1) MOST_CLASSES < 2^53, so that all sums are exact
    weights = np.array([base ** (top - step) if step <= top else 0 for step in range(bits + 1)], dtype=float)
    for _ in range(SWEEPS):
        before = codes.copy()
        for row in range(len(codes)):
            for _ in range(bits):
                if (bit := _best_flip(codes, row, base, weights, spare)) is None:
                    break
                codes[row, bit] *= -1
        if (codes == before).all():
            break
    return codes


def _best_flip(codes: np.ndarray, row: int, base: int, weights: np.ndarray, spare: bool) -> int | None:
    """Find the bit of one centroid whose flip lowers Σ base^(−distance) most; None if no flip lowers it."""
    # A flip moves classes with the same bit one step away and the others one step closer: in units of (base − 1)/base
    # the former's terms fall by 1 and the latter's rise by base. That is linear in the product of the two bits.
    distances = ((codes.shape[1] - codes @ codes[row]) / 2).astype(int)  # (C,)
    distances[row] = codes.shape[1]  # no code is its own neighbour
    terms = weights[distances - distances.min()]
    terms[row] = 0
    gains = (base + 1) * codes[row] * (terms @ codes) - (base - 1) * terms.sum()  # (K,) twice the fall
    for bit in np.argsort(-gains, kind="stable")[: (gains > 0).sum()]:
        flipped = codes[:, bit].copy()  # (C,)
        flipped[row] *= -1
        agreement = max(abs(flipped.sum()), np.abs(flipped @ codes).max())
        if not spare or agreement < len(codes):  # all classes agree: constant, or equal or opposite to another
            return bit
    return None

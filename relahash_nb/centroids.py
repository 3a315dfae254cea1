"""Centroids: one fixed code of K bits for each of C classes, far from the others in Hamming distance.

A further method is one function `(num_classes, bits, rng) -> (C, K) array` in `CENTROIDS`, or anywhere as
`package.module:function`. Where it has a fourth argument, `means`, it is given the mean features of the classes.
"""

import inspect
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch

from relahash_nb.registry import CENTROIDS, load

DRAWS = 32  # of Hadamard rows, while a bit is redundant; from 20 classes on the first draw nearly always serves
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

    Raises:
        ValueError: a value that is not allowed, or a method that gave other codes than (C, K) of ±1.

    Example:
        >>> describe_centroids(make_centroids(10, 64)).minimum_distance
        35
    """
    num_classes = _whole("num_classes", num_classes, least=1)
    bits = _whole("bits", bits, least=1)
    rng = np.random.default_rng(_whole("seed", seed, least=0))
    name = LETTERS.get(method, method)
    if name not in CENTROIDS and ":" not in name:
        raise ValueError(f"method is {method!r}; allowed: {', '.join([*CENTROIDS, *LETTERS])}, package.module:function")
    draw = load(CENTROIDS, name)
    if needs_means(name):
        drawn = draw(num_classes, bits, rng, np.eye(num_classes) if means is None else means)
    else:
        drawn = draw(num_classes, bits, rng)
    codes = np.asarray(drawn, np.float32)
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
    """Rows of ±H: K/2 or K bits apart while C ≤ 2K and K is a power of two (CSQ, Yuan et al., CVPR 2020).

    First come different rows in random order, each with a random sign, then their opposites, then both again under
    sign masks. For other K, K columns of the next larger H are taken. All is drawn again while a bit is redundant.
    """
    if num_classes > 2 ** (bits - 1):
        return _spread_evenly(num_classes, bits, rng)
    order = 1 << (bits - 1).bit_length()  # the power of two from K on
    matrix = scipy.linalg.hadamard(order, float)  # (order, order)
    cosets = -(-num_classes // (2 * order))
    masks = _coset_masks(matrix, cosets, rng)  # (cosets, order)
    draws: list[np.ndarray] = []
    for _ in range(DRAWS):
        draws.append(_draw_hadamard(matrix, masks, num_classes, bits, rng))
        if _count_redundant(draws[-1]) == 0:
            break
    return min(draws, key=_count_redundant)


def max_hamming(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Maximise the minimum distance; then few redundant bits, then the mean distance. The best of several climbs.

    The published search draws codes at random and keeps those that are far from all earlier ones. Ours gets further
    (10 classes, 64 bits: minimum 35, the bound, for 31): a climb starts from `hadamard` rows and flips single bits
    while that lowers Σ base^(−distance) over all pairs (Cohn & Zhao 2014, "Energy-minimizing error-correcting codes").
    """
    if num_classes == 1 or num_classes > min(MOST_CLASSES, 2 ** (bits - 1)):
        return hadamard(num_classes, bits, rng)
    climbs = max(2, min(64, 40_000 // (num_classes * bits)))  # seconds at most
    found = []
    for climb in range(climbs):
        keep_bits = climb % 4 > 0  # three of four climbs make no bit redundant
        start = hadamard(num_classes, bits, rng)
        coarse = _climb(start, 2, keep_bits)  # base 2 counts pairs that are far apart too
        fine = _climb(coarse, 16, keep_bits)  # base 16 counts little but the closest pairs
        found += [start, coarse, fine]
    return max(found, key=_quality)


def semantic(num_classes: int, bits: int, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
    """Near codes for classes that look alike (the idea of SHC, arXiv 2507.08404), starting from `max_hamming`.

    Bit by bit it minimises the squares of B Bᵀ − K/2 · S off the diagonal, as KSH does for images (Liu et al., CVPR
    2012); S are the cosines between `means`, less their mean. Classes that look much alike may get one code.
    """
    codes = max_hamming(num_classes, bits, rng)
    off_diagonal = ~np.eye(num_classes, dtype=bool)
    pairs = max(1, off_diagonal.sum())
    directions = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)  # a class may have no image
    # The last digits differ between machines, the codes should not.
    cosines = (directions @ directions.T).round(3) * off_diagonal  # (C, C)
    target_products = bits * SHARE * (cosines - cosines.sum() / pairs)  # (C, C)
    for _ in range(SWEEPS):
        before = codes.copy()
        for bit in codes.T:  # (C,), a view
            other_products = codes @ codes.T - np.outer(bit, bit)  # without this bit
            missing = (target_products - other_products) * off_diagonal
            for row in range(num_classes):
                bit[row] = np.copysign(1, missing[row] @ bit)
        if (codes == before).all():
            break
    return codes


LETTERS = {"N": "normal", "U": "uniform", "B": "bernoulli", "M": "max_hamming", "H": "hadamard"}  # of the paper


@dataclass(frozen=True)
class CentroidDescription:
    """How far apart centroids are, and which bits tell no classes apart; printed, it is one line."""

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
    return _describe(centroids.detach().cpu().numpy().astype(np.float64))


def _describe(codes: np.ndarray) -> CentroidDescription:
    """Describe codes (C, K) float64 of ±1."""
    num_classes, bits = codes.shape
    constant, duplicate = redundant_bits(codes)
    products = codes @ codes.T  # exact
    distances = (bits - products[np.triu_indices(num_classes, 1)]) / 2  # (C(C − 1)/2,)
    return CentroidDescription(
        num_classes=num_classes,
        bits=bits,
        minimum_distance=int(distances.min()),
        plotkin_bound=plotkin_bound(num_classes, bits),
        mean_distance=float(distances.mean()),
        constant_bits=len(constant),
        duplicate_bits=len(duplicate),
    )


def plotkin_bound(num_classes: int, bits: int) -> int:
    """Bound the minimum distance of C ≥ 2 codes of K ≥ 1 bits (Plotkin 1960; MacWilliams & Sloane 1977, chapter 2).

    A bit differs in at most ⌊C/2⌋⌈C/2⌉ of the C(C−1)/2 pairs, so the mean distance, and the minimum with it, is at
    most K ⌊C/2⌋⌈C/2⌉ / (C(C−1)/2). Of the codes, ⌈C/2^s⌉ or more agree in s bits and differ only in the K − s
    others: the bound for these holds as well, and the smallest over s is returned (0 … K, not always attained).

    Example:
        >>> plotkin_bound(10, 64), plotkin_bound(100, 64), plotkin_bound(100, 8)
        (35, 32, 2)
    """
    num_classes = _whole("num_classes", num_classes, least=2)
    bits = _whole("bits", bits, least=1)
    bounds = []
    agreeing = num_classes  # codes that agree in all bits but the free ones, at least
    for free_bits in range(bits, -1, -1):
        if agreeing > 1:
            pairs = agreeing * (agreeing - 1) // 2
            different_pairs = (agreeing // 2) * ((agreeing + 1) // 2)  # at most, in one bit
            bounds.append(free_bits * different_pairs // pairs)
        agreeing = (agreeing + 1) // 2
    return min(bounds)


def vote_centroids(targets: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Give each item the majority, bit by bit, of its classes' centroids (CSQ, Yuan et al., CVPR 2020).

    One random vector decides ties, the same for all items; an item without a label is all ties.

    Args:
        targets: (N, C) multi-hot of any dtype.
        centroids: (C, K) of ±1.

    Returns:
        (N, K) of ±1, with the dtype and device of the centroids.
    """
    votes = (targets > 0).to(centroids.dtype) @ centroids  # (N, K)
    tie = bernoulli(1, centroids.shape[1], np.random.default_rng(0))  # (1, K)
    return torch.where(votes == 0, torch.from_numpy(tie).to(centroids), votes.sign())


def redundant_bits(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the bits that tell no items apart.

    Args:
        signs: (N, K); an entry above 0 is a set bit.

    Returns:
        The indices of the bits that are constant, and of those equal or opposite to an earlier bit.
    """
    changes = (signs > 0) ^ (signs[0] > 0)  # (N, K), a bit and its opposite alike
    constant = np.flatnonzero(~changes.any(0))
    first_with: dict[bytes, int] = {}
    for bit, column in enumerate(changes.T):
        first_with.setdefault(column.tobytes(), bit)
    repeated = np.setdiff1d(np.arange(changes.shape[1]), list(first_with.values()))
    return constant, repeated


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {value!r}; allowed: whole numbers from {least}")
    return int(value)


def _count_redundant(codes: np.ndarray) -> int:
    constant, repeated = redundant_bits(codes)
    return len(constant) + len(repeated)


def _quality(codes: np.ndarray) -> tuple[int, int, float]:
    """Order codes: first by the minimum distance, then by redundant bits, then by the mean distance."""
    seen = _describe(codes)
    return seen.minimum_distance, -seen.constant_bits - seen.duplicate_bits, seen.mean_distance


def _spread_evenly(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Use all 2^K codes equally often, in random order: with C > 2^(K − 1) classes two must be neighbours anyway."""
    rounds = -(-num_classes // 2**bits)
    numbers = np.concatenate([rng.permutation(2**bits) for _ in range(rounds)])[:num_classes]
    return 1.0 - 2 * (numbers[:, None] >> np.arange(bits) & 1)  # (C, K)


def _draw_hadamard(matrix, masks, num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Draw C codes among the rows of ±H (order, order) under masks (cosets, order), and K of their columns."""
    order = len(matrix)
    rows = rng.permutation(matrix) * bernoulli(order, 1, rng)
    both_signs = np.concatenate([rows, -rows])  # (2 order, order)
    codes = (masks[:, None] * both_signs).reshape(-1, order)[:num_classes]
    codes = rng.permutation(codes)
    columns = rng.permutation(order)[:bits]
    codes = codes[:, columns]  # (C, K)
    while True:  # fewer columns can make two codes equal
        _, first = np.unique(codes, axis=0, return_index=True)
        repeats = np.setdiff1d(np.arange(num_classes), first)
        if len(repeats) == 0:
            return codes
        codes[repeats] = bernoulli(len(repeats), bits, rng)


def _coset_masks(matrix: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose sign masks (count, order) greedily so that the codes m·(±H) of different masks m stay far apart.

    For m = (−1)^q, q a quadratic form in the binary digits of the column's number, codes of two masks can be
    (order − √order)/2 bits apart (MacWilliams & Sloane 1977, chapter 15).
    """
    order = len(matrix)
    chosen = [np.ones(order)]
    if count == 1:
        return np.stack(chosen)
    digit_count = order.bit_length() - 1
    digits = np.arange(order)[:, None] >> np.arange(digit_count) & 1  # (order, log2 order)
    forms = np.triu(rng.integers(0, 2, (POOL, digit_count, digit_count)), 1)
    values = ((digits @ forms) * digits).sum(2) & 1  # (POOL, order), of each quadratic form at each column
    pool = 1.0 - 2 * values
    overlap = np.zeros(POOL)  # of each mask's codes with those of the chosen masks, the largest
    while len(chosen) < count:
        overlap = np.maximum(overlap, np.abs(pool * chosen[-1] @ matrix).max(1))
        chosen.append(pool[overlap.argmin()])
    return np.stack(chosen)


def _climb(codes: np.ndarray, base: int, keep_bits: bool) -> np.ndarray:
    """Flip single bits of codes (C, K) while that lowers Σ base^(−distance).

    With `keep_bits` no flip makes a bit redundant.
    """
    codes = codes.copy()
    bits = codes.shape[1]
    largest_power = 36 // (base.bit_length() - 1)  # 2^36 (base + 1) MOST_CLASSES < 2^53, so that all sums are exact
    powers = [base ** (largest_power - step) if step <= largest_power else 0 for step in range(bits + 1)]
    weights = np.array(powers, dtype=float)  # of a pair that is so many bits further apart than the closest
    for _ in range(SWEEPS):
        before = codes.copy()
        for row in range(len(codes)):
            _improve_row(codes, row, base, weights, keep_bits)
        if (codes == before).all():
            break
    return codes


def _improve_row(codes: np.ndarray, row: int, base: int, weights: np.ndarray, keep_bits: bool) -> None:
    """Flip at most K bits of one centroid, each time the best one."""
    for _ in range(codes.shape[1]):
        bit = _best_flip(codes, row, base, weights, keep_bits)
        if bit is None:
            return
        codes[row, bit] *= -1


def _best_flip(codes: np.ndarray, row: int, base: int, weights: np.ndarray, keep_bits: bool) -> int | None:
    """Find the bit of one centroid whose flip lowers Σ base^(−distance) most; None if no flip lowers it."""
    # A flip moves classes with the same bit one step away and the others one step closer: in units of (base − 1)/base
    # the former's terms fall by 1 and the latter's rise by base. That is linear in the product of the two bits.
    num_classes, bits = codes.shape
    distances = ((bits - codes @ codes[row]) / 2).astype(int)  # (C,)
    distances[row] = bits  # no code is its own neighbour
    terms = weights[distances - distances.min()]
    terms[row] = 0
    gains = (base + 1) * codes[row] * (terms @ codes) - (base - 1) * terms.sum()  # (K,) twice the fall
    best_first = np.argsort(-gains, kind="stable")
    for bit in best_first[: (gains > 0).sum()]:
        flipped = codes[:, bit].copy()  # (C,)
        flipped[row] *= -1
        agreement = max(abs(flipped.sum()), np.abs(flipped @ codes).max())
        if not keep_bits or agreement < num_classes:  # all classes agree: constant, or equal or opposite to another
            return bit
    return None

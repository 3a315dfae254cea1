"""The rivals' losses: each against its formula as a loop, its gradient by differences or by hand, and its state."""

import math

import numpy as np
import pytest
import torch

from relahash_nb.centroids import make_centroids, vote_centroids
from relahash_nb.losses import find_loss
from relahash_nb.metrics import retrieval_scores
from relahash_nb.registry import LOSSES

BITS = 8
CENTROIDS = make_centroids(3, BITS).double()
TIE = vote_centroids(torch.zeros(1, 3), CENTROIDS)[0].tolist()  # the vector that decides ties
ONE_LABEL = np.eye(3)[[0, 1, 1, 2, 0]]
SEVERAL_AND_NONE = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=float)
RIVALS = [name for name in LOSSES if name != "relahash"]

both_kinds_of_targets = pytest.mark.parametrize("y", [ONE_LABEL, SEVERAL_AND_NONE], ids=["one label", "several"])


def random_codes(seed=0):
    return 1.5 * np.random.default_rng(seed).standard_normal((5, BITS))


def make_loss(name, **options):
    torch.manual_seed(0)
    return find_loss(name)(CENTROIDS, **options)


def value_and_gradient(loss, z, y):
    codes = torch.tensor(z, requires_grad=True)
    value = loss(codes, torch.tensor(y))
    value.backward()
    return value.item(), codes.grad.numpy()


def numeric_gradient(function, z, step=1e-6):
    """Central differences."""
    gradient = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        above = z.copy()
        above[place] += step
        below = z.copy()
        below[place] -= step
        gradient[place] = (function(above) - function(below)) / (2 * step)
    return gradient


# Parts of the formulas, a number at a time


def labelled_rows(y):
    return [i for i in range(len(y)) if y[i].any()]


def share_a_label(first, second):
    return bool(first @ second)


def mean(values):
    return sum(values) / len(values)


def soft_cross_entropy(logits, y):
    total = 0.0
    for row, labels in zip(logits, y, strict=True):
        log_sum = math.log(sum(math.exp(logit) for logit in row))
        for label in np.flatnonzero(labels):
            total += (log_sum - row[label]) / labels.sum()
    return total / len(y)


def head(loss, codes):
    weight = loss.head.weight.detach().numpy()
    logits = codes @ weight.T
    if loss.head.bias is not None:
        logits = logits + loss.head.bias.detach().numpy()
    return logits


def head_gradient(loss, bits, y):
    """Of the cross-entropy by the bits: (softmax − shares) W / B, and nothing for a row without a label."""
    exponentials = np.exp(head(loss, bits))
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    label_counts = y.sum(axis=1, keepdims=True)
    difference = np.where(label_counts > 0, softmax - y / label_counts.clip(1), 0)
    return difference @ loss.head.weight.detach().numpy() / len(y)


def squared_distance_to_signs(z, y):
    total = 0.0
    for i in labelled_rows(y):
        for k in range(BITS):
            total += (z[i, k] - math.copysign(1, z[i, k])) ** 2
    return total / z.size


def target_bit(labels, k):
    """The majority of the centroids of an item's classes."""
    votes = sum(CENTROIDS[c, k].item() for c in np.flatnonzero(labels))
    if votes == 0:
        return TIE[k]
    return math.copysign(1, votes)


def cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


# The formulas as loops


def orthohash(z, y, loss):
    logits = np.zeros_like(y)
    for i, c in np.ndindex(*y.shape):
        logits[i, c] = loss.beta * (cosine(z[i], CENTROIDS[c].numpy()) - loss.margin * y[i, c])
    return soft_cross_entropy(logits, y)


def orthohash_arc(z, y, loss):
    logits = np.zeros_like(y)
    for i, c in np.ndindex(*y.shape):
        angle = math.acos(cosine(z[i], CENTROIDS[c].numpy()))
        logits[i, c] = loss.beta * math.cos(angle + loss.margin * y[i, c])
    return soft_cross_entropy(logits, y)


def cross_entropy(z, y, loss):
    return soft_cross_entropy(head(loss, z), y)


def csq(z, y, loss):
    total = 0.0
    for i in labelled_rows(y):
        for k in range(BITS):
            u = math.tanh(z[i, k])
            probability = (u + 1) / 2
            target = (target_bit(y[i], k) + 1) / 2
            total -= target * math.log(probability) + (1 - target) * math.log(1 - probability)
            total += loss.quantization * (abs(u) - 1) ** 2
    return total / z.size


def dpn(z, y, loss):
    total = 0.0
    for i in labelled_rows(y):
        for k in range(BITS):
            total += max(0.0, loss.margin - z[i, k] * target_bit(y[i], k))
    return total / len(z)


def hashnet(z, y, loss):
    u = np.tanh(float(loss.scale) * z)
    similar = []
    dissimilar = []
    for i in labelled_rows(y):
        for j in labelled_rows(y):
            theta = loss.alpha * u[i] @ u[j]
            if share_a_label(y[i], y[j]) and i != j:
                similar.append(math.log(1 + math.exp(theta)) - theta)
            elif i != j:
                dissimilar.append(math.log(1 + math.exp(theta)))
    # The paper weighs the terms by |S| / |S₁| and |S| / |S₀|, and divides by |S|.
    return mean(similar) + mean(dissimilar)


def dpsh(z, y, loss, ring):
    terms = []
    for i in labelled_rows(y):
        for recent_code, recent_labels in ring:
            if recent_labels.any():
                theta = z[i] @ recent_code / 2
                terms.append(math.log(1 + math.exp(theta)) - share_a_label(y[i], recent_labels) * theta)
    return mean(terms) + loss.quantization * squared_distance_to_signs(z, y)


def dtsh(z, y, loss):
    terms = []
    for query in labelled_rows(y):
        for positive in labelled_rows(y):
            for negative in labelled_rows(y):
                is_similar = share_a_label(y[query], y[positive]) and query != positive
                if is_similar and not share_a_label(y[query], y[negative]):
                    advantage = z[query] @ z[positive] / 2 - z[query] @ z[negative] / 2
                    terms.append(math.log(1 + math.exp(-(advantage - loss.margin))))
    return mean(terms) + loss.quantization * squared_distance_to_signs(z, y)


def sdh_c(z, y, loss):
    u = np.tanh(z)
    rows = labelled_rows(y)
    value = soft_cross_entropy(head(loss, u), y)
    value += loss.quantization * squared_distance_to_signs(u, y)
    value -= loss.variance * sum(u[i, k] ** 2 for i in rows for k in range(BITS)) / 2 / len(z)
    for k, other in np.ndindex(BITS, BITS):
        product = sum(u[i, k] * u[i, other] for i in rows) / len(z)
        value += loss.independence * (product - (k == other)) ** 2 / BITS**2
    return value


def dch(z, y, loss):
    def distance(first, second):
        return BITS / 2 * (1 - min(cosine(first, second), 0.99)) / loss.gamma

    rows = labelled_rows(y)
    similar = []
    dissimilar = []
    for i in rows:
        for j in rows:
            d = distance(z[i], z[j])
            if share_a_label(y[i], y[j]):
                similar.append(math.log(d) + math.log(1 + 1 / d))
            else:
                dissimilar.append(math.log(1 + 1 / d))
    quantization = sum(math.log(1 + distance(np.abs(z[i]), np.ones(BITS))) for i in rows) / len(z)
    return mean(similar) + mean(dissimilar) + loss.quantization * quantization


def average_precision(z, y, loss):
    u = np.tanh(loss.scale * z)
    rows = labelled_rows(y)
    scores = []
    for query in rows:
        items = np.zeros(BITS + 2)  # at the distances 0 to K
        similar = np.zeros(BITS + 2)
        for i in rows:
            if i != query:
                d = (BITS - u[query] @ u[i]) / 2
                lower = math.floor(d)
                for place, share in ((lower, 1 - (d - lower)), (lower + 1, d - lower)):
                    items[place] += share
                    similar[place] += share * share_a_label(y[query], y[i])
        if similar.sum() > 0:
            total = 0.0
            for d in range(BITS + 1):
                good = similar[:d].sum() + similar[: d + 1].sum() + 1
                found = items[:d].sum() + items[: d + 1].sum() + 1
                total += similar[d] * good / found
            scores.append(total / similar.sum())
    return 1 - mean(scores)


LOOPS = {
    "orthohash": orthohash,
    "orthohash_arc": orthohash_arc,
    "cross_entropy": cross_entropy,
    "csq": csq,
    "dpn": dpn,
    "hashnet": hashnet,
    "dtsh": dtsh,
    "sdh_c": sdh_c,
    "dch": dch,
    "average_precision": average_precision,
}
# Where the default is so small that an error in the term would not be seen.
OPTIONS = {
    "csq": dict(quantization=0.7),
    "sdh_c": dict(quantization=0.3, variance=0.2, independence=0.5),
}


def test_every_rival_has_a_loop_or_a_test_by_hand():
    assert {*LOOPS, "dpsh", "greedyhash", "jmlh", "bihalf"} == set(RIVALS)


@both_kinds_of_targets
@pytest.mark.parametrize("name", LOOPS)
def test_value_and_gradient_are_those_of_the_formula_as_a_loop(name, y):
    loss = make_loss(name, **OPTIONS.get(name, {}))
    z = random_codes()
    expected = LOOPS[name](z, y, loss)
    slopes = numeric_gradient(lambda moved: LOOPS[name](moved, y, loss), z)
    value, gradient = value_and_gradient(loss, z, y)
    assert value == pytest.approx(expected, abs=1e-9)
    assert np.abs(gradient - slopes).max() < 1e-6


def test_hashnet_s_continuation_counts_its_training_batches():
    loss = make_loss("hashnet", growth=0.5, interval=3)
    z = random_codes()
    scales = []
    for _ in range(8):
        scales.append(loss.scale.item())
        expected = hashnet(z, ONE_LABEL, loss)
        value, _ = value_and_gradient(loss, z, ONE_LABEL)
        assert value == pytest.approx(expected, abs=1e-6)
    after_three = math.sqrt(1 + 0.5 * 3)
    after_six = math.sqrt(1 + 0.5 * 6)
    assert scales == pytest.approx([1, 1, 1, after_three, after_three, after_three, after_six, after_six])
    loss.eval()(torch.tensor(z), torch.tensor(ONE_LABEL))
    assert loss.calls == 8


def test_dpsh_s_ring_holds_the_most_recent_codes_and_no_more():
    loss = make_loss("dpsh", memory=12, quantization=0.6)
    ring = []
    for seed, y in enumerate([ONE_LABEL, SEVERAL_AND_NONE, ONE_LABEL, SEVERAL_AND_NONE]):
        z = random_codes(seed)
        new = [(code.copy(), labels) for code, labels in zip(z, y, strict=True)]
        ring = (new + ring)[:12]
        expected = dpsh(z, y, loss, ring)
        slopes = numeric_gradient(lambda moved: dpsh(moved, y, loss, ring), z)  # noqa: B023
        value, gradient = value_and_gradient(loss, z, y)
        assert value == pytest.approx(expected, abs=1e-9)
        assert np.abs(gradient - slopes).max() < 1e-6
    before = loss.recent_codes.clone()
    loss.eval()(torch.tensor(random_codes(seed=9)), torch.tensor(ONE_LABEL))
    assert torch.equal(loss.recent_codes, before)


@both_kinds_of_targets
def test_greedyhash_reads_the_sign_and_its_gradient_passes_through_it(y):
    loss = make_loss("greedyhash", quantization=0.4)
    z = random_codes()
    value, gradient = value_and_gradient(loss, z, y)
    has_label = y.any(axis=1, keepdims=True)
    far = np.abs(z) - 1
    quantization = (has_label * np.abs(far) ** 3).sum() / z.size
    assert value == pytest.approx(soft_cross_entropy(head(loss, np.sign(z)), y) + 0.4 * quantization, abs=1e-9)
    slope = 3 * far**2 * np.sign(far) * np.sign(z) / z.size * has_label
    assert np.abs(gradient - 0.4 * slope - head_gradient(loss, np.sign(z), y)).max() < 1e-12


@both_kinds_of_targets
@pytest.mark.parametrize("training", [True, False])
def test_jmlh_draws_bits_and_its_gradient_passes_through_their_probabilities(y, training):
    loss = make_loss("jmlh", divergence=0.3).train(training)
    z = random_codes()
    torch.manual_seed(7)
    value, gradient = value_and_gradient(loss, z, y)
    threshold = 0.5
    if training:
        torch.manual_seed(7)
        threshold = torch.rand(5, BITS, dtype=torch.float64).numpy()
    p = 1 / (1 + np.exp(-z))
    bits = (p > threshold).astype(float)
    has_label = y.any(axis=1, keepdims=True)
    divergence = (has_label * (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))).sum() / len(z)
    assert value == pytest.approx(soft_cross_entropy(head(loss, bits), y) + 0.3 * divergence, abs=1e-9)
    slope_by_p = head_gradient(loss, bits, y) + 0.3 * z * has_label / len(z)  # ln p/(1 − p) is z
    assert np.abs(gradient - p * (1 - p) * slope_by_p).max() < 1e-12


@both_kinds_of_targets
@pytest.mark.parametrize("training", [True, False])
def test_bihalf_splits_each_bit_in_halves_and_its_gradient_passes_through_them(y, training):
    loss = make_loss("bihalf", gamma=5.0).train(training)
    z = random_codes()
    value, gradient = value_and_gradient(loss, z, y)
    rows = labelled_rows(y)
    threshold = 0
    if training:
        threshold = np.sort(z[rows], axis=0)[(len(rows) - 1) // 2]
    bits = np.where(z > threshold, 1.0, -1.0)
    if training:
        assert (np.abs(bits[rows].sum(axis=0)) <= 1).all()
    assert value == pytest.approx(soft_cross_entropy(head(loss, bits), y), abs=1e-9)
    pull = 5 * (z - bits) / z.size * y.any(axis=1, keepdims=True)
    assert np.abs(gradient - pull - head_gradient(loss, bits, y)).max() < 1e-12


def test_the_average_precision_loss_is_the_score_where_no_two_items_tie():
    codes = torch.ones(4, BITS, dtype=torch.float64)
    for row, flipped in enumerate((0, 1, 4, 6)):  # no item is as far from another as from a third
        codes[row, :flipped] = -1
    targets = torch.eye(3)[[0, 1, 0, 1]]
    scores = retrieval_scores(codes, codes, targets, targets, self_matches=np.arange(4))
    assert scores.worst == scores.best
    value = make_loss("average_precision", scale=50.0)(codes, targets)
    assert value.item() == pytest.approx(1 - scores.mean_average_precision, abs=1e-9)


def test_the_default_margin_of_dtsh_is_the_published_five_of_products_that_are_not_halved():
    z = random_codes()
    terms = []
    for query, positive, negative in np.ndindex(5, 5, 5):
        is_similar = share_a_label(ONE_LABEL[query], ONE_LABEL[positive]) and query != positive
        if is_similar and not share_a_label(ONE_LABEL[query], ONE_LABEL[negative]):
            advantage = z[query] @ z[positive] - z[query] @ z[negative]
            terms.append(math.log(1 + math.exp(-(advantage - 5) / 2)))
    value, _ = value_and_gradient(make_loss("dtsh", quantization=0), z, ONE_LABEL)
    assert value == pytest.approx(mean(terms), abs=1e-9)


@pytest.mark.parametrize("name", RIVALS)
def test_a_row_without_a_label_moves_nothing(name):
    """It has no gradient, and no other gradient changes with its code."""

    def gradient_of(z):
        loss = make_loss(name)
        torch.manual_seed(1)
        return value_and_gradient(loss, z, SEVERAL_AND_NONE)[1]

    z = random_codes()
    moved = random_codes()
    moved[2] = 7
    gradient = gradient_of(z)
    assert not gradient[2].any()
    assert np.abs(gradient).max() > 0
    assert np.allclose(gradient, gradient_of(moved), atol=1e-12)


@pytest.mark.parametrize("name", RIVALS)
def test_extreme_codes_have_a_finite_loss_and_gradient(name):
    for z in (np.zeros((5, BITS)), 1e4 * np.sign(random_codes())):
        value, gradient = value_and_gradient(make_loss(name), z, ONE_LABEL)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()

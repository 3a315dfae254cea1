"""The rivals' losses: each against its formula as a loop, its gradient by differences or by hand; state; options."""

import copy
import math

import numpy as np
import pytest
import torch

from relahash_nb.centroids import make_centroids, vote_centroids
from relahash_nb.config import RunConfig
from relahash_nb.losses import build_loss, find_loss
from relahash_nb.metrics import retrieval_scores
from relahash_nb.models import build_model
from relahash_nb.registry import LOSSES
from relahash_nb.training import make_optimizer

CENTROIDS = make_centroids(3, 8).double()
TIE = vote_centroids(torch.zeros(1, 3), CENTROIDS)[0].tolist()  # the vector that decides them
ONE_LABEL = np.eye(3)[[0, 1, 1, 2, 0]]
SEVERAL_AND_NONE = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=float)
RIVALS = [name for name in LOSSES if name != "relahash"]


def draw(rows=5, seed=0):
    return 1.5 * np.random.default_rng(seed).standard_normal((rows, 8))


def make(name, **options):
    torch.manual_seed(0)
    return find_loss(name)(CENTROIDS, **options)


def soft_cross_entropy(logits, y):
    """A row at a time, a label at a time."""
    total = 0.0
    for row, labels in zip(logits, y, strict=True):
        for label in np.flatnonzero(labels):
            total -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row)) / labels.sum()
    return total / len(y)


def head(loss, codes):
    weight = loss.head.weight.detach().numpy()
    bias = np.zeros(3) if loss.head.bias is None else loss.head.bias.detach().numpy()
    return np.array([[weight[c] @ code + bias[c] for c in range(3)] for code in codes])


def squares(z, y):
    """Mean over all entries of (z − sign z)², of the labelled rows."""
    return (
        sum((z[i, k] - math.copysign(1, z[i, k])) ** 2 for i in range(len(z)) if y[i].any() for k in range(8)) / z.size
    )


def own_bit(y, i, k):
    votes = sum(CENTROIDS[c, k].item() for c in range(3) if y[i, c])
    return math.copysign(1, votes) if votes else TIE[k]


def cosine(code, c):
    return code @ CENTROIDS[c].numpy() / (np.linalg.norm(code) * math.sqrt(8))


def orthohash(z, y, loss):
    logits = [[loss.beta * (cosine(z[i], c) - loss.margin * y[i, c]) for c in range(3)] for i in range(len(z))]
    return soft_cross_entropy(logits, y)


def orthohash_arc(z, y, loss):
    angle = lambda i, c: math.acos(cosine(z[i], c)) + loss.margin * y[i, c]
    return soft_cross_entropy([[loss.beta * math.cos(angle(i, c)) for c in range(3)] for i in range(len(z))], y)


def cross_entropy(z, y, loss):
    return soft_cross_entropy(head(loss, z), y)


def csq(z, y, loss):
    total = 0.0
    for i, k in np.ndindex(*z.shape):
        if y[i].any():
            u, c = math.tanh(z[i, k]), own_bit(y, i, k)
            p, t = (u + 1) / 2, (c + 1) / 2
            total -= t * math.log(p) + (1 - t) * math.log(1 - p)
            total += loss.quantization * (abs(u) - 1) ** 2
    return total / z.size


def dpn(z, y, loss):
    rows = [i for i in range(len(z)) if y[i].any()]
    return sum(max(0.0, loss.margin - z[i, k] * own_bit(y, i, k)) for i in rows for k in range(8)) / len(z)


def hashnet(z, y, loss):
    u = np.tanh(float(loss.scale) * z)
    kinds = {True: [], False: []}
    for i, j in np.ndindex(len(z), len(z)):
        if i != j and y[i].any() and y[j].any():
            theta, similar = loss.alpha * u[i] @ u[j], bool(y[i] @ y[j])
            kinds[similar].append(math.log(1 + math.exp(theta)) - similar * theta)
    pairs = sum(map(len, kinds.values()))  # |S|, and the weights |S| / |S₁| and |S| / |S₀| of the paper
    return sum(pairs / len(values) * value for values in kinds.values() for value in values) / pairs


def dpsh(z, y, loss, ring):
    terms = []
    for i in range(len(z)):
        for other, labels in ring:
            if y[i].any() and labels.any():
                theta = z[i] @ other / 2
                terms.append(math.log(1 + math.exp(theta)) - bool(y[i] @ labels) * theta)
    return sum(terms) / len(terms) + loss.quantization * squares(z, y)


def dtsh(z, y, loss):
    terms = []
    for q, p, n in np.ndindex(len(z), len(z), len(z)):
        if q != p and y[q] @ y[p] and y[n].any() and not y[q] @ y[n]:
            terms.append(math.log(1 + math.exp(-(z[q] @ z[p] / 2 - z[q] @ z[n] / 2 - loss.margin))))
    return sum(terms) / len(terms) + loss.quantization * squares(z, y)


def sdh_c(z, y, loss):
    u = np.tanh(z)
    rows = [i for i in range(len(z)) if y[i].any()]
    value = soft_cross_entropy(head(loss, u), y) + loss.quantization * squares(u, y)
    value -= loss.variance * sum(u[i, k] ** 2 for i in rows for k in range(8)) / 2 / len(z)
    for k, other in np.ndindex(8, 8):
        product = sum(u[i, k] * u[i, other] for i in rows) / len(z)
        value += loss.independence * (product - (k == other)) ** 2 / 64
    return value


def dch(z, y, loss):
    def distance(first, second):
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        return 4 * (1 - min(cosine, 0.99))

    kinds, rows = {True: [], False: []}, [i for i in range(len(z)) if y[i].any()]
    for i in rows:
        for j in rows:
            d, similar = distance(z[i], z[j]) / loss.gamma, bool(y[i] @ y[j])
            kinds[similar].append(similar * math.log(d) + math.log(1 + 1 / d))
    near = sum(math.log(1 + distance(np.abs(z[i]), np.ones(8)) / loss.gamma) for i in rows) / len(z)
    return sum(sum(values) / len(values) for values in kinds.values()) + loss.quantization * near


def average_precision(z, y, loss):
    u, scores = np.tanh(loss.scale * z), []
    for query in (i for i in range(len(z)) if y[i].any()):
        found, relevant = np.zeros(9), np.zeros(9)
        for i in (i for i in range(len(z)) if y[i].any() and i != query):
            d = (8 - u[query] @ u[i]) / 2
            for bin, share in ((math.floor(d), 1 - d % 1), (math.floor(d) + 1, d % 1)):
                found[bin] += share
                relevant[bin] += share * bool(y[query] @ y[i])
        if relevant.sum():
            before = lambda counts, d: counts[:d].sum()
            parts = [relevant[d] * (before(relevant, d) + before(relevant, d + 1) + 1)
                     / (before(found, d) + before(found, d + 1) + 1) for d in range(9)]  # fmt: skip
            scores.append(sum(parts) / relevant.sum())
    return 1 - sum(scores) / len(scores)


LOOPS = dict(orthohash=orthohash, orthohash_arc=orthohash_arc, cross_entropy=cross_entropy, csq=csq, dpn=dpn)
LOOPS |= dict(cross_entropy_plain=cross_entropy, hashnet=hashnet, dtsh=dtsh, sdh_c=sdh_c)
LOOPS |= dict(dch=dch, average_precision=average_precision)
HEAVY = dict(csq=dict(quantization=0.7), sdh_c=dict(quantization=0.3, variance=0.2, independence=0.5))


def value_and_gradient(loss, z, y):
    codes = torch.tensor(z, requires_grad=True)
    value = loss(codes, torch.tensor(y))
    value.backward()
    return value.item(), codes.grad.numpy()


def differences(function, z, step=1e-6):
    gradient = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        moved = [z.copy(), z.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        gradient[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient


@pytest.mark.parametrize("y", [ONE_LABEL, SEVERAL_AND_NONE], ids=["one label", "several"])
@pytest.mark.parametrize("name", LOOPS)
def test_value_and_gradient_are_those_of_the_formula_as_a_loop(name, y):
    loss, z = make(name, **HEAVY.get(name, {})), draw()
    expected, slopes = LOOPS[name](z, y, loss), differences(lambda moved: LOOPS[name](moved, y, loss), z)
    value, gradient = value_and_gradient(loss, z, y)
    assert value == pytest.approx(expected, abs=1e-9)
    assert np.abs(gradient - slopes).max() < 1e-6


def test_hashnet_s_continuation_counts_its_own_training_batches():
    loss, z = make("hashnet", growth=0.5, interval=3), draw()
    scales = []
    for _ in range(8):
        scales.append(loss.scale.item())
        expected = hashnet(z, ONE_LABEL, loss)
        assert value_and_gradient(loss, z, ONE_LABEL)[0] == pytest.approx(expected, abs=1e-6)
    assert scales == pytest.approx([1, 1, 1, *[math.sqrt(2.5)] * 3, 2, 2])
    loss.eval()(torch.tensor(z), torch.tensor(ONE_LABEL))
    assert loss.calls == 8


def test_dpsh_s_ring_holds_the_most_recent_codes_and_no_more():
    loss, ring = make("dpsh", memory=12, quantization=0.6), []
    for seed, y in enumerate([ONE_LABEL, SEVERAL_AND_NONE, ONE_LABEL, SEVERAL_AND_NONE]):
        z = draw(seed=seed)
        ring = ([(code.copy(), labels) for code, labels in zip(z, y, strict=True)] + ring)[:12]
        expected, slopes = dpsh(z, y, loss, ring), differences(lambda moved: dpsh(moved, y, loss, ring), z)  # noqa: B023
        value, gradient = value_and_gradient(loss, z, y)
        assert value == pytest.approx(expected, abs=1e-9)
        assert np.abs(gradient - slopes).max() < 1e-6
    before = loss.recent_codes.clone()
    loss.eval()(torch.tensor(draw(seed=9)), torch.tensor(ONE_LABEL))
    assert torch.equal(loss.recent_codes, before)


def head_gradient(loss, bits, y):
    """Of the cross-entropy by the bits, by hand: (softmax − shares) W / B, and nothing for a row without a label."""
    logits = head(loss, bits)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    count = y.sum(1, keepdims=True)
    return np.where(count > 0, softmax - y / count.clip(1), 0) @ loss.head.weight.detach().numpy() / len(y)


@pytest.mark.parametrize("y", [ONE_LABEL, SEVERAL_AND_NONE], ids=["one label", "several"])
def test_greedyhash_reads_the_sign_and_its_gradient_passes_through_it(y):
    loss, z = make("greedyhash", quantization=0.4), draw()
    value, gradient = value_and_gradient(loss, z, y)
    counted = y.any(1, keepdims=True)
    far = sum(abs(abs(z[i, k]) - 1) ** 3 for i in range(5) if counted[i] for k in range(8)) / z.size
    assert value == pytest.approx(soft_cross_entropy(head(loss, np.sign(z)), y) + 0.4 * far, abs=1e-9)
    by_hand = 0.4 * 3 * (np.abs(z) - 1) ** 2 * np.sign(np.abs(z) - 1) * np.sign(z) / z.size * counted
    assert np.abs(gradient - by_hand - head_gradient(loss, np.sign(z), y)).max() < 1e-12


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("y", [ONE_LABEL, SEVERAL_AND_NONE], ids=["one label", "several"])
def test_jmlh_draws_bits_and_its_gradient_passes_through_their_probabilities(y, training):
    loss, z = make("jmlh", divergence=0.3).train(training), draw()
    torch.manual_seed(7)
    value, gradient = value_and_gradient(loss, z, y)
    torch.manual_seed(7)
    threshold = torch.rand(5, 8, dtype=torch.float64).numpy() if training else 0.5
    p, counted = 1 / (1 + np.exp(-z)), y.any(1, keepdims=True)
    bits = (p > threshold).astype(float)
    divergence = (counted * (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))).sum() / 5
    assert value == pytest.approx(soft_cross_entropy(head(loss, bits), y) + 0.3 * divergence, abs=1e-9)
    by_hand = p * (1 - p) * (head_gradient(loss, bits, y) + 0.3 * z * counted / 5)  # ln p/(1 − p) is z
    assert np.abs(gradient - by_hand).max() < 1e-12


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("y", [ONE_LABEL, SEVERAL_AND_NONE], ids=["one label", "several"])
def test_bihalf_splits_each_bit_in_halves_and_its_gradient_passes_through_them(y, training):
    loss, z = make("bihalf", gamma=5.0).train(training), draw()
    value, gradient = value_and_gradient(loss, z, y)
    rows = z[y.any(1)]
    middle = np.sort(rows, axis=0)[(len(rows) - 1) // 2] if training else 0
    bits = np.where(z > middle, 1.0, -1.0)
    assert not training or (np.abs(bits[y.any(1)].sum(0)) <= 1).all()
    assert value == pytest.approx(soft_cross_entropy(head(loss, bits), y), abs=1e-9)
    by_hand = head_gradient(loss, bits, y) + 5 * (z - bits) / z.size * y.any(1, keepdims=True)
    assert np.abs(gradient - by_hand).max() < 1e-12


def test_the_average_precision_loss_is_the_score_where_no_two_items_tie():
    codes, targets = torch.ones(4, 8, dtype=torch.float64), torch.eye(3)[[0, 1, 0, 1]]
    for row, flipped in enumerate((0, 1, 4, 6)):  # no item is as far from another as from a third
        codes[row, :flipped] = -1
    scores = retrieval_scores(codes, codes, targets, targets, self_matches=np.arange(4))
    assert scores.worst == scores.best
    loss = make("average_precision", scale=50.0)(codes, targets)
    assert loss.item() == pytest.approx(1 - scores.mean_average_precision, abs=1e-9)


def test_every_rival_was_shown():
    assert {*LOOPS, "dpsh", "greedyhash", "jmlh", "bihalf"} == set(RIVALS)


@pytest.mark.parametrize("name", RIVALS)
def test_a_row_without_a_label_moves_nothing(name):
    """It has no gradient, and its code changes no other's; only the ring of recent codes does not know it either."""
    first, other = draw(), draw()
    other[2] = 7
    gradients = []
    for z in (first, other):
        loss = make(name)
        torch.manual_seed(1)
        gradients.append(value_and_gradient(loss, z, SEVERAL_AND_NONE)[1])
    assert not gradients[0][2].any() and np.abs(gradients[0]).max() > 0
    assert np.allclose(gradients[0], gradients[1], atol=1e-12)


@pytest.mark.parametrize("name", RIVALS)
def test_extreme_codes_have_a_finite_loss_and_gradient(name):
    for z in (np.zeros((5, 8)), 1e4 * np.sign(draw())):
        value, gradient = value_and_gradient(make(name), z, ONE_LABEL)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_it_drives_the_codes_of_a_toy_set_to_separation(name):
    """Four classes, free codes of 16 bits: in every order of ties nearly all of an item's nearest are of its class."""
    targets = torch.eye(4)[torch.arange(32) % 4]
    codes = torch.randn(32, 16, generator=torch.Generator().manual_seed(5)).requires_grad_()
    torch.manual_seed(0)
    options = {"gamma": 0.1} if name == "bihalf" else {}  # free codes stay where the published pull finds them
    loss = find_loss(name)(make_centroids(4, 16), **options)
    optimizer = torch.optim.Adam([codes, *loss.parameters()], lr=0.1)
    score = lambda: retrieval_scores(codes, codes, targets, targets, self_matches=np.arange(32)).worst
    assert score() < 0.5
    for _ in range(200):
        optimizer.zero_grad()
        loss(codes, targets).backward()
        optimizer.step()
    assert score() > 0.95


def test_a_head_is_drawn_from_the_seed_alone_and_trained_and_saved():
    config = RunConfig(loss="cross_entropy", bits=16, seed=3)
    centroids = make_centroids(10, 16)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_loss(config, centroids)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(first.head.weight, build_loss(config, centroids).head.weight)
    trained = {
        id(p)
        for group in make_optimizer(build_model(config), first, config).param_groups
        for p in group["params"]
    }
    assert {id(first.head.weight), id(first.head.bias)} <= trained
    assert {"head.weight", "head.bias"} <= set(first.state_dict())


def test_plain_cross_entropy_has_no_batch_norm():
    with_norm, without = (build_model(RunConfig(loss=name)) for name in ("cross_entropy", "cross_entropy_plain"))
    features = torch.randn(6, 64)
    assert torch.equal(without.hash(features), without.hash_layer[0](features))
    assert not torch.equal(with_norm.hash(features), with_norm.hash_layer[0](features))


def test_relahash_at_its_reference_batch_size_is_the_published_one_and_at_others_it_does_not_change():
    z, y = torch.tensor(draw(16)), torch.eye(3)[torch.arange(16) % 3]
    published, invariant = make("relahash"), make("relahash", reference_batch_size=16)
    assert invariant(z, y) == pytest.approx(published(z, y).item(), abs=1e-12)
    twice = torch.cat([z, z]), torch.cat([y, y])
    assert invariant(*twice).item() == pytest.approx(published(z, y).item(), abs=1e-12)
    assert abs(published(*twice).item() - published(z, y).item()) > 0.1


def test_relahash_s_running_statistics_make_a_similarity_its_own():
    loss, y = make("relahash", running=True), torch.eye(3)[[0, 1, 2, 0, 1]]
    batches = [torch.tensor(draw(seed=seed)) for seed in range(12)]
    mean, norm = 0.0, 0.0
    for count, batch in enumerate(batches, 1):
        assert loss(batch, y) == make("relahash")(batch, y)  # in training mode the batch's own
        share = max(1 / count, 0.1)
        mean += share * (batch.mean().item() - mean)
        norm += share * (np.linalg.norm(batch.numpy() - batch.numpy().mean()) - norm)
    loss.eval()
    by_hand = (batches[0].numpy() - mean) / norm @ CENTROIDS.numpy().T / math.sqrt(8)
    assert np.abs(loss.similarity(batches[0]).numpy() - by_hand).max() < 1e-6
    assert torch.allclose(loss.similarity(batches[0])[:1], loss.similarity(batches[0][:1]))
    still = copy.deepcopy(loss.state_dict())
    loss(batches[1], y)
    assert all(torch.equal(tensor, still[name]) for name, tensor in loss.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("orthohash", dict(beta=0), "beta: 0 given; allowed: a finite number above 0"),
        ("orthohash_arc", dict(margin=-1), "margin: -1 given; allowed: a finite number from 0 up"),
        ("csq", dict(quantization=-1), "quantization: -1 given"),
        ("dpn", dict(margin=float("nan")), "margin: nan given"),
        ("hashnet", dict(interval=0), "interval: 0 given"),
        ("dpsh", dict(memory=0), "memory: 0 given"),
        ("relahash", dict(reference_batch_size=0), "reference_batch_size: 0 given"),
    ],
)
def test_an_option_out_of_range_is_said(name, options, said):
    with pytest.raises(ValueError, match=said):
        make(name, **options)


def test_the_default_margin_of_dtsh_is_the_published_five_of_products_that_are_not_halved():
    z = draw()
    terms = []
    for q, p, n in np.ndindex(5, 5, 5):
        if q != p and ONE_LABEL[q] @ ONE_LABEL[p] and not ONE_LABEL[q] @ ONE_LABEL[n]:
            terms.append(math.log(1 + math.exp(-(z[q] @ z[p] - z[q] @ z[n] - 5) / 2)))
    value, _ = value_and_gradient(make("dtsh", quantization=0), z, ONE_LABEL)
    assert value == pytest.approx(sum(terms) / len(terms), abs=1e-9)

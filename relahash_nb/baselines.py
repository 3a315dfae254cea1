"""Codes without training: projections of fixed features, and the bounds that every trained hash is to be held against.

A baseline is a function `(features (N, F), targets (N, C), bits, generator, **options)` in `BASELINES` that gives a
hash layer. `fit` calls it in place of the training, so that a baseline is a run like any other:
`relahash train --loss itq --finetune False`.
"""

import torch
from torch import Generator, Tensor, nn

from relahash_nb.config import RunConfig
from relahash_nb.registry import BASELINES, load

RIDGE = 0.1  # of the features' mean variance, added to each variance


def solve(model: nn.Module, features: Tensor, targets: Tensor, config: RunConfig) -> None:
    """Give a `HashModel` the hash layer of a config's baseline, from features (N, F) and targets (N, C)."""
    given = features.cpu(), targets.cpu(), config.bits, torch.Generator().manual_seed(config.seed)
    layer = load(BASELINES, config.loss)(*given, **config.loss_options or {})
    model.hash_layer = layer.requires_grad_(False).to(features.device).eval()


def lsh(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """Random directions through the mean of the features (Charikar, STOC 2002)."""
    weight = torch.randn(bits, features.shape[1], generator=generator)  # (K, F)
    return projection(weight, features.mean(dim=0))


def pcah(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """The directions of largest variance (Wang et al., CVPR 2010); the later a bit, the less it says."""
    return projection(principal_directions(features, bits), features.mean(dim=0))


def itq(features: Tensor, targets: Tensor, bits: int, generator: Generator, iterations: int = 50) -> nn.Module:
    """The same directions, rotated so that the sign changes as little as possible (Gong and Lazebnik, CVPR 2011)."""
    directions, mean = principal_directions(features, bits), features.mean(dim=0)
    rotation = rotate(((features - mean) @ directions.T).double(), generator, iterations).float()
    return projection(rotation.T @ directions, mean)


def class_index(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """The number of the predicted class in binary digits, repeated: ⌈log₂ C⌉ bits that a classifier gives for nothing.

    A supervised hash that retrieves no better than this has learned to classify (Sablayrolles et al., ICASSP 2017). The
    classifier is linear, by ridge regression; of several labels it gives the likeliest.
    """
    mean, share = features.mean(dim=0).double(), targets.double().mean(dim=0)
    centred = features.double() - mean  # (N, F)
    products = centred.T @ centred  # (F, F)
    products.diagonal().add_(RIDGE * products.trace() / len(products))
    weight = torch.linalg.solve(products, centred.T @ (targets.double() - share)).T  # (C, F)
    classifier = nn.Linear(weight.shape[1], weight.shape[0])
    classifier.weight.data.copy_(weight)
    classifier.bias.data.copy_(share - weight @ mean)
    return ClassIndex(classifier, bits)


def random(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """Codes that know nothing of the image: the score of chance."""
    return RandomCodes(bits, generator)


class ClassIndex(nn.Module):
    """The index of the class with the highest logit, as ±1 digits, the lowest first, repeated to K ≥ ⌈log₂ C⌉ bits."""

    def __init__(self, classifier: nn.Module, bits: int) -> None:
        super().__init__()
        self.classifier, self.bits = classifier, bits

    def forward(self, features: Tensor) -> Tensor:
        """Codes (B, K) ±1 of features (B, F)."""
        logits = self.classifier(features)  # (B, C)
        digits = max(1, (logits.shape[1] - 1).bit_length())
        if self.bits < digits:
            raise ValueError(f"bits: {self.bits} given; the index of {logits.shape[1]} classes has {digits} digits")
        place = torch.arange(self.bits, device=logits.device) % digits  # (K,)
        return 2.0 * (logits.argmax(dim=1)[:, None] >> place & 1) - 1


class RandomCodes(nn.Module):
    """Each item's code is drawn anew when it is asked for."""

    def __init__(self, bits: int, generator: Generator) -> None:
        super().__init__()
        self.bits, self.generator = bits, generator

    def forward(self, features: Tensor) -> Tensor:
        """Codes (B, K), of normal draws, for features (B, F)."""
        return torch.randn(len(features), self.bits, generator=self.generator).to(features.device)


def projection(weight: Tensor, mean: Tensor) -> nn.Module:
    """A hash layer of the usual build that gives weight (K, F) times features less their mean (F,)."""
    bits, size = weight.shape
    layer = nn.Sequential(nn.Linear(size, bits, bias=False), nn.BatchNorm1d(bits))
    layer[0].weight.data.copy_(weight)
    layer[1].running_mean.copy_(weight @ mean)
    layer[1].running_var.fill_(1 - layer[1].eps)  # some versions of torch refuse an eps of 0
    return layer


def principal_directions(features: Tensor, bits: int) -> Tensor:
    """(K, F) orthonormal, of features (N, F), those of the largest variance first; a ValueError if K is too large."""
    count, size = features.shape
    if bits > min(count, size):
        raise ValueError(f"bits: {bits} given; {count} features of {size} numbers have {min(count, size)}")
    centred = (features - features.mean(dim=0)).double()
    return torch.linalg.eigh(centred.T @ centred)[1].T.flip(0)[:bits].float()  # of ascending eigenvalues


def rotate(values: Tensor, generator: Generator, iterations: int) -> Tensor:
    """A rotation (K, K) that brings values (N, K) near to their signs; both are solved for in turn."""
    bits = values.shape[1]
    rotation = torch.linalg.qr(torch.randn(bits, bits, generator=generator).to(values))[0]
    for _ in range(iterations):
        signs = torch.where(values @ rotation >= 0, 1.0, -1.0).to(values)  # (N, K)
        left, _, right = torch.linalg.svd(values.T @ signs)
        rotation = left @ right  # the nearest to signs of all rotations of the values (Procrustes)
    return rotation

"""Codes without training: projections of fixed features, and the bounds that every trained hash is compared with.

A baseline is a function in `BASELINES` from features (N, F) float32, targets (N, C) multi-hot, the number of bits K, a
generator and its own options to a hash layer, a module from features (B, F) to codes (B, K). The trainer calls `solve`
in place of the training, so a baseline is a run like any other: `relahash train --loss itq --finetune False`.
"""

import torch
from torch import Generator, Tensor, nn

from relahash_nb.config import RunConfig
from relahash_nb.registry import BASELINES, load

RIDGE = 0.1  # of the mean variance of the features, added to the variance of each


def solve(model: nn.Module, features: Tensor, targets: Tensor, config: RunConfig) -> None:
    """Replace the hash layer of a model by that of a config's baseline.

    Args:
        model: A `HashModel`; its `hash_layer` is replaced.
        features: (N, F) float32, of the train split, on the model's device.
        targets: (N, C) multi-hot.
        config: Names the baseline as `loss`, and has its bits, seed and options.

    Raises:
        ValueError: The features or the classes do not allow this number of bits.
    """
    make_layer = load(BASELINES, config.loss)
    options = config.loss_options or {}
    generator = torch.Generator().manual_seed(config.seed)
    layer = make_layer(features.cpu(), targets.cpu(), config.bits, generator, **options)
    model.hash_layer = layer.requires_grad_(False).to(features.device).eval()


def lsh(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """Random directions through the mean of the features (Charikar, STOC 2002)."""
    directions = torch.randn(bits, features.shape[1], generator=generator)  # (K, F)
    return projection(directions, features.mean(dim=0))


def pcah(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """The directions of largest variance (Wang et al., CVPR 2010); a later bit has less of the variance."""
    directions = principal_directions(features, bits)  # (K, F)
    return projection(directions, features.mean(dim=0))


def itq(features: Tensor, targets: Tensor, bits: int, generator: Generator, iterations: int = 50) -> nn.Module:
    """The directions of `pcah`, rotated so that the codes lie near their signs (Gong and Lazebnik, CVPR 2011)."""
    directions = principal_directions(features, bits)  # (K, F)
    mean = features.mean(dim=0)  # (F,)
    values = (features - mean) @ directions.T  # (N, K)
    rotation = rotate(values.double(), generator, iterations).float()  # (K, K)
    return projection(rotation.T @ directions, mean)


def class_index(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """The number of the predicted class in binary digits, repeated: a classifier gives these ⌈log₂ C⌉ bits for nothing.

    A supervised hash that retrieves no better than this has learned to classify (Sablayrolles et al., ICASSP 2017). The
    classifier is linear, by ridge regression; for an item with several labels it gives the likeliest.
    """
    labels = targets.double()  # (N, C)
    label_means = labels.mean(dim=0)  # (C,)
    feature_means = features.mean(dim=0).double()  # (F,)
    centred = features.double() - feature_means  # (N, F)
    products = centred.T @ centred  # (F, F)
    ridge = RIDGE * products.trace() / len(products)
    products.diagonal().add_(ridge)
    weight = torch.linalg.solve(products, centred.T @ (labels - label_means)).T  # (C, F)

    classes, size = weight.shape
    classifier = nn.Linear(size, classes)
    classifier.weight.data.copy_(weight)
    classifier.bias.data.copy_(label_means - weight @ feature_means)
    return ClassIndex(classifier, bits)


def random(features: Tensor, targets: Tensor, bits: int, generator: Generator) -> nn.Module:
    """Codes that do not depend on the image: the score of chance."""
    return RandomCodes(bits, generator)


class ClassIndex(nn.Module):
    """The index of the class with the highest logit, as ±1 digits, the lowest first, repeated to K ≥ ⌈log₂ C⌉ bits.

    All images of one predicted class have one code and are tied. The distance of two classes is that of their numbers
    in digits, not of what they show.

    Args:
        classifier: A module from features (B, F) to logits (B, C).
        bits: K.
    """

    def __init__(self, classifier: nn.Module, bits: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.bits = bits

    def forward(self, features: Tensor) -> Tensor:
        """Codes (B, K) ±1 of features (B, F); a ValueError if C classes have more digits than bits."""
        logits = self.classifier(features)  # (B, C)
        classes = logits.shape[1]
        digits = max(1, (classes - 1).bit_length())
        if self.bits < digits:
            raise ValueError(f"bits: {self.bits} given; allowed for {classes} classes: from {digits} up")
        places = torch.arange(self.bits, device=logits.device) % digits  # (K,)
        predicted = logits.argmax(dim=1, keepdim=True)  # (B, 1)
        binary_digits = predicted >> places & 1  # (B, K) 0 or 1
        return 2.0 * binary_digits - 1


class RandomCodes(nn.Module):
    """Draws the codes of each call anew, whatever the features.

    Args:
        bits: K.
        generator: What the codes are drawn from, on the CPU.
    """

    def __init__(self, bits: int, generator: Generator) -> None:
        super().__init__()
        self.bits = bits
        self.generator = generator

    def forward(self, features: Tensor) -> Tensor:
        """Codes (B, K) of normal draws, for features (B, F)."""
        codes = torch.randn(len(features), self.bits, generator=self.generator)
        return codes.to(features.device)


def projection(weight: Tensor, mean: Tensor) -> nn.Module:
    """A hash layer of a linear layer and a batch norm that gives weight (K, F) times (features − mean (F,))."""
    bits, size = weight.shape
    linear = nn.Linear(size, bits, bias=False)
    linear.weight.data.copy_(weight)
    batch_norm = nn.BatchNorm1d(bits)
    batch_norm.running_mean = weight @ mean
    # The batch norm divides by √(variance + eps) = 1; some versions of torch refuse an eps of 0.
    batch_norm.running_var = torch.full((bits,), 1 - batch_norm.eps)
    return nn.Sequential(linear, batch_norm)


def principal_directions(features: Tensor, bits: int) -> Tensor:
    """The orthonormal directions in which features vary most, the largest variance first.

    Args:
        features: (N, F) float32.
        bits: K, at most N and F.

    Returns:
        (K, F) float32.

    Raises:
        ValueError: `bits` is too large.
    """
    limit = min(features.shape)
    if bits > limit:
        count, size = features.shape
        raise ValueError(
            f"bits: {bits} given; allowed for {count} features of {size} numbers: at most {limit}; lsh takes any"
        )
    centred = (features - features.mean(dim=0)).double()  # (N, F)
    _, directions = torch.linalg.eigh(centred.T @ centred)  # a column each, the smallest variance first
    return directions.T.flip(0)[:bits].float()


def rotate(values: Tensor, generator: Generator, iterations: int) -> Tensor:
    """A rotation (K, K) that brings values (N, K) near to their signs; each step solves for one of the two in turn."""
    bits = values.shape[1]
    start = torch.randn(bits, bits, generator=generator).to(values)
    rotation, _ = torch.linalg.qr(start)
    for _ in range(iterations):
        signs = torch.where(values @ rotation >= 0, 1.0, -1.0).to(values)  # (N, K)
        left, _, right = torch.linalg.svd(values.T @ signs)
        rotation = left @ right  # of all rotations the one that brings the values nearest to the signs (Procrustes)
    return rotation

"""The published pipeline of deep hashing in our own words, and a plain fine-tuning loop. It imports nothing of ours."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.models import alexnet

BATCH_SIZE, WORKERS, WARM_UP = 16, 2, 2  # the last in batches
NORMALIZE = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


class Images(Dataset):
    """Images in memory, as torchvision's CIFAR10 has them: transformed by Pillow whenever they are asked for."""

    def __init__(self, images: np.ndarray, targets: np.ndarray, size: int, train: bool) -> None:
        self.images, self.targets = images, torch.from_numpy(targets).long()
        jitter = [transforms.RandomHorizontalFlip(), transforms.ColorJitter(brightness=0.05, contrast=0.05)]
        self.transform = transforms.Compose([transforms.Resize(size), *(jitter if train else []), *NORMALIZE])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index])), self.targets[index]


class Published:
    """AlexNet with its unused head, batches of 16 for training and for encoding, fp32, Adam over everything.

    Args:
        file: Arrays `train`, `query`, `database` (N, H, W, 3) uint8, each with `…_targets` (N, C), and `centroids`.
        weights: Of AlexNet, or of a part of it; what is fresh learns at the full rate. None: all is.
        size: Pixels.
        seed: Of the weights, the batches and the augmentation.
    """

    def __init__(self, file: str, weights: str | None, size: int = 224, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.data, self.centroids = load(file, size)
        self.model = alexnet()
        found = load_file(weights) if weights else {}
        self.model.load_state_dict(found, strict=False)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        bits = self.centroids.shape[1]
        linear = nn.Linear(4096, bits, bias=False)
        self.hash_layer = nn.Sequential(linear, nn.BatchNorm1d(bits))
        nn.init.normal_(linear.weight, std=0.01)
        rates = [(True, 1e-5), (False, 1e-4)]
        named = list(self.model.named_parameters()) + list(self.hash_layer.named_parameters())
        groups = [{"params": [p for name, p in named if (name in found) == known], "lr": lr} for known, lr in rates]
        self.optimizer = torch.optim.Adam([group for group in groups if group["params"]], weight_decay=5e-4)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        features = self.model.avgpool(self.model.features(images)).flatten(1)
        return self.hash_layer(self.model.classifier[:6](features))

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> float:
        loss = relative_loss(self(images), targets, self.centroids)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def set_training(self, mode: bool) -> None:
        self.model.train(mode)
        self.hash_layer.train(mode)

    def train(self, batches: int) -> float:
        """Images a second."""
        self.set_training(True)
        return rate(self.step, DataLoader(self.data["train"], BATCH_SIZE, True, num_workers=WORKERS), batches)

    @torch.no_grad()
    def encode(self, images: int) -> float:
        """Images a second."""
        self.set_training(False)
        part = Subset(self.data["database"], range(images))
        return rate(
            lambda images, targets: self(images), DataLoader(part, BATCH_SIZE, num_workers=WORKERS), images // 16
        )

    def epoch(self) -> float:
        """Seconds of a pass over the training images, and of the score after it."""
        start = time.perf_counter()
        self.set_training(True)
        for images, targets in DataLoader(self.data["train"], BATCH_SIZE, True, num_workers=WORKERS, drop_last=True):
            self.step(images, targets)
        mean_average_precision(*self.codes("query"), *self.codes("database"))
        return time.perf_counter() - start

    @torch.no_grad()
    def codes(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes and targets of a split."""
        self.set_training(False)
        blocks = [(self(x), y) for x, y in DataLoader(self.data[split], BATCH_SIZE, num_workers=WORKERS)]
        codes, targets = zip(*blocks, strict=True)
        return torch.cat(codes), torch.cat(targets)

    def fit(self, epochs: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Codes and targets of query and database after so many epochs."""
        for _ in range(epochs):
            self.epoch()
        encoded = {}
        for name in ("query", "database"):
            codes, targets = self.codes(name)
            encoded[name] = codes.numpy(), targets.numpy()
        return encoded


class Plain:
    """A torchvision classifier fine-tuned as its tutorials do it: the head replaced, Adam, fp32."""

    def __init__(self, file: str, weights: str | None, size: int = 224) -> None:
        self.data, centroids = load(file, size)
        self.model = alexnet()
        self.model.load_state_dict(load_file(weights) if weights else {}, strict=False)
        self.model.classifier[6] = nn.Linear(4096, len(centroids))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> float:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), targets.argmax(1))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def train(self, batches: int) -> float:
        """Images a second."""
        self.model.train()
        return rate(self.step, DataLoader(self.data["train"], BATCH_SIZE, True, num_workers=WORKERS), batches)


def load(file: str, size: int) -> tuple[dict[str, Images], torch.Tensor]:
    """The splits, and the centroids."""
    with np.load(file, allow_pickle=False) as arrays:
        splits = {
            name: Images(arrays[name], arrays[f"{name}_targets"], size, name == "train")
            for name in ("train", "query", "database")
        }
        return splits, torch.from_numpy(arrays["centroids"])


def rate(step, loader: DataLoader, batches: int) -> float:
    """Images a second over so many batches, the first few of them not timed."""
    count = 0
    for index, batch in enumerate(islice(iter(loader), batches + WARM_UP)):
        if index == WARM_UP:
            start = time.perf_counter()
        step(*batch)
        count += len(batch[0]) if index >= WARM_UP else 0
    return count / (time.perf_counter() - start)


def relative_loss(codes, targets, centroids, beta: float = 8.0, margin: float = 0.5) -> torch.Tensor:
    """Cross-entropy of the relative similarity, for one label an image."""
    relative = codes - codes.mean()
    similarity = relative / relative.norm() @ (centroids / centroids.shape[1] ** 0.5).T
    return F.cross_entropy(beta * (similarity - margin * targets), targets.argmax(1))


def mean_average_precision(query_codes, query_targets, database_codes, database_targets, top_k=None) -> float:
    """Distances of everything by matrix product, `topk` over all ranks, a loop over the queries; one order of ties."""
    query_codes, database_codes = query_codes.sign(), database_codes.sign()
    labels, top_k, bits = database_targets.numpy(), top_k or len(database_codes), query_codes.shape[1]
    distances = torch.cat([(bits - query_codes @ block.T) / 2 for block in database_codes.split(32)], 1)
    order = distances.topk(top_k, dim=1, largest=False).indices.numpy()
    scores = []
    for ranked, target in zip(order, query_targets.numpy(), strict=True):
        wanted = np.where(target == 0, -1, target)  # the database has no -1, so only shared labels are equal
        relevant = np.sum(labels[ranked] == wanted, axis=1) > 0
        precision = np.cumsum(relevant).astype(float) / np.arange(1, top_k + 1)
        scores.append(np.sum(precision * relevant) / max(np.sum(relevant), 1))
    return float(np.mean(scores))

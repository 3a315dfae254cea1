"""`Session`: one run from its data to its folder; what a notebook and a sweep share beside the training itself."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from relahash_nb import training
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, load_dataset
from relahash_nb.features import class_centroids, decode_images, pool_features
from relahash_nb.files import timed
from relahash_nb.metrics import RetrievalScores
from relahash_nb.models import HashModel, build_model, find_device
from relahash_nb.results import Finished, lock_run, save_run


class Session:
    """A run's data, model and centroids; it alone may write the run's folder, and it counts the seconds of each stage.

    Used as a context manager it gives the folder up at the end of the block; otherwise `save` does.

    Args:
        config: What is run.
        loaded: What `load` gives for this config, where it is known.

    Attributes:
        data: The `Dataset`, on the CPU.
        features: (M, F) of the pool, where the backbone is fixed; None otherwise.
        device: The config's.
        model: The untrained `HashModel`, on the device.
        centroids: (C, K) ±1, on the device.
        seconds: By stage: `data`, `encoding`, `scoring`.

    Raises:
        RunTaken: Another process is writing the run.
        ValueError: There is no such data set or device, or the data have an error.

    Example:
        >>> session = Session(RunConfig(bits=16))
        >>> inputs, targets = next(session.batches())
        >>> session.model(inputs).shape
        torch.Size([64, 16])
    """

    def __init__(self, config: RunConfig, loaded: tuple[Dataset, Tensor | None] | None = None) -> None:
        self.config = config
        self.seconds: dict[str, float] = {}
        self.device = find_device(config.device)
        self.model = build_model(config)
        with timed(self.seconds, "data"):
            self.data, self.features = load(config, self.model) if loaded is None else loaded
        self.model.to(self.device)
        self.centroids = class_centroids(self.model, self.data, config, self.features).to(self.device)
        self.lock = lock_run(config, self.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def batches(self, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, as `training.draw_inputs` gives them; a seed gives the same ones again."""
        generator = torch.Generator().manual_seed(seed)
        data = self.data.to(self.device)
        features = None
        if self.features is not None:
            features = self.features[data.train.indices].to(self.device).float()
        return training.draw_inputs(data, self.config, generator, self.device, features)

    def encode(self) -> dict[str, Tensor]:
        """Codes of `query` (Q, K) and of `database` (D, K) float32, before the sign, on the CPU."""
        with timed(self.seconds, "encoding"):
            return training.encode_splits(self.model, self.data, self.config, self.features)

    def score(self, codes: Mapping[str, Tensor]) -> RetrievalScores:
        """The retrieval scores of such codes."""
        with timed(self.seconds, "scoring"):
            return training.score(codes["query"], codes["database"], self.data.query, self.data.database, self.config)

    def save(
        self, codes: Mapping[str, Tensor], scores: RetrievalScores, history: Sequence[Mapping[str, float]]
    ) -> Path:
        """Writes the run's folder, as `save_run` does, and gives it up; returns the folder.

        Args:
            codes: From `encode`.
            scores: From `score`.
            history: From the trainer, one record for each epoch.

        Raises:
            OSError: The disk is full, say; the run does not exist then.
        """
        finished = Finished(codes, scores, history, self.centroids.cpu(), self.seconds)
        folder = save_run(self.config, self.data, self.model, finished)
        self.lock.release()
        return folder


def load(config: RunConfig, model: HashModel | None = None) -> tuple[Dataset, Tensor | None]:
    """The data set, its image files decoded; and the features (M, F) of its pool where the backbone is fixed."""
    data = decode_images(load_dataset(config), config)
    if config.finetune:
        return data, None
    return data, pool_features(build_model(config) if model is None else model, data, config)

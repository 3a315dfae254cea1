"""`Trainer` trains a model, one epoch a call; `fit` is the loop over it."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, check_batch_size
from relahash_nb.features import class_centroids, pool_features
from relahash_nb.files import watch
from relahash_nb.inference import autocast
from relahash_nb.models import HashModel, find_device
from relahash_nb.registry import BASELINES, loaded_digest
from relahash_nb.training.batches import draw_inputs
from relahash_nb.training.callbacks import own_callbacks
from relahash_nb.training.checkpoints import Checkpoint
from relahash_nb.training.encoding import evaluate
from relahash_nb.training.optimization import SCHEDULES, make_optimizer
from relahash_nb.training.records import STATISTICS, Record, batch_statistics, check_losses, describe_epoch, make_record
from relahash_nb.training.surroundings import RandomState, thread_count

CHECK_INTERVAL = 50  # steps between looks at the loss: each look makes the host wait for the device


def fit(
    model: HashModel,
    loss: nn.Module,
    data: Dataset,
    config: RunConfig,
    features: Tensor | None = None,
    centroids: Tensor | None = None,
) -> list[Record]:
    """The loop over `Trainer.train_epoch`; arguments, history and errors are those of `Trainer`."""
    trainer = Trainer(model, loss, data, config, features, centroids)
    for _ in range(trainer.epoch, trainer.config.epochs):
        trainer.train_epoch()
    return trainer.finish()


class Trainer:
    """Trains a model, and the loss where it has parameters, in place, one epoch a call.

    A new trainer continues from the checkpoint in the run's folder. On a CPU the same config gives the same weights,
    bit for bit, also after a kill; code between two epochs may draw random numbers. A baseline is not trained: its hash
    layer is solved for when the trainer is made.

    Args:
        model: Moved to the config's device.
        loss: Called with codes (B, K) float32 and targets (B, C) uint8; moved too.
        data: The model learns from `train`; the mAP of `validation`, where it has items, chooses the epoch that is
            kept.
        config: Without `finetune` only the hash layer learns, on features without augmentation.
        features: (M, F) of the pool, from `pool_features`; without `finetune` computed where they are not given.
        centroids: (C, K) ±1, to which `centroid_accuracy` is measured; by default those that the config names.
        callbacks: Each is called with the record of an epoch that is done; so is the one that the config names.

    Attributes:
        history: One record per epoch: `epoch` from 1; means over the batches of `loss` (NaN for a baseline),
            `centroid_accuracy` (whether a code's nearest centroid is one of its own), `quantization_error`
            1 − cos(z, sign z) and `quantization_error_centred`, of z − μ; `seconds`; and, where evaluated,
            `validation_map` or `query_map`.

    Raises:
        CheckpointError: The run's folder has a checkpoint that cannot be read, or is of another run.
        FloatingPointError: A weight is infinite or NaN before training.
        ValueError: There is no such device, or a batch is larger than the train split.

    Example:
        >>> from relahash_nb.datasets import load_dataset
        >>> from relahash_nb.losses import RelaHashLoss
        >>> config = RunConfig(bits=16, epochs=1, finetune=False, checkpoint_minutes=0)
        >>> data, model = load_dataset(config), HashModel(nn.Flatten(), feature_size=8, bits=16)
        >>> trainer = Trainer(model, RelaHashLoss(torch.ones(10, 16)), data, config, features=torch.rand(7000, 8))
        >>> for epoch in range(trainer.epoch, config.epochs):
        ...     record = trainer.train_epoch()
        epoch   1/1  loss ...
        >>> trainer.finish() == [record]
        True
    """

    def __init__(
        self,
        model: HashModel,
        loss: nn.Module,
        data: Dataset,
        config: RunConfig,
        features: Tensor | None = None,
        centroids: Tensor | None = None,
        callbacks: Sequence[Callable[[Record], Any]] = (),
    ) -> None:
        self.model = model
        self.loss = loss
        self.data = data
        self.config = config
        self.callbacks = [*callbacks, *own_callbacks(config)]
        self.history: list[Record] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None  # score and weights of the epoch that is kept
        self.is_within_epoch = False
        self.is_baseline = config.loss in BASELINES
        self.device = find_device(config.device)
        self.steps = len(data.train) // config.batch_size  # of an epoch; an incomplete last batch is dropped

        self.checkpoint = Checkpoint(config)
        saved = None
        if not self.is_baseline:
            check_batch_size(config, data)
            if self.checkpoint.exists():
                saved = self.checkpoint.read(self.identity())
        if saved is None:
            check_weights(model)

        model.to(self.device).to(memory_format=torch.channels_last)
        loss.to(self.device)
        self.data = data.to(self.device)
        self.features: Tensor | None = None  # (M, F) of the pool, where the backbone is fixed
        self.train_features: Tensor | None = None  # (N, F)
        if not config.finetune:
            self.features = pool_features(model, data, config) if features is None else features
            self.train_features = self.features[data.train.indices].to(self.device).float()
        if centroids is None:
            centroids = class_centroids(model, data, config, self.features)
        self.centroids = centroids.to(self.device)
        self.optimizer = make_optimizer(model, loss, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.average = make_average(model, config)
        self.random = RandomState(self.device, config.seed)
        if self.is_baseline:
            self._solve_baseline()
        elif saved is not None:
            self.restore(saved)

    @property
    def epoch(self) -> int:
        """Epochs that are done; for a baseline all of them."""
        return self.config.epochs if self.is_baseline else len(self.history)

    @property
    def scored(self) -> HashModel:
        """The model whose codes count: that of averaged weights, or the trained one itself."""
        if self.average is None:
            return self.model
        assert isinstance(self.average.module, HashModel)
        return self.average.module

    def train_epoch(self) -> Record:
        """One pass over the training images, then the scores and the checkpoint that are due; gives the epoch's record.

        Raises:
            FloatingPointError: The loss is not finite; the message says at which epoch and batch.
            RuntimeError: All epochs are done, or the last one was interrupted.
        """
        if self.is_within_epoch:
            advice = "build model, loss and trainer again: it continues from the last checkpoint"
            raise RuntimeError(f"epoch {self.epoch + 1} was interrupted and left half-trained weights; {advice}")
        if self.epoch >= self.config.epochs:
            raise RuntimeError(f"epochs: all {self.config.epochs} are done")
        start = time.perf_counter()
        self.is_within_epoch = True
        with self.random.active(), thread_count(self.config.threads):
            record = make_record(self.epoch + 1, self._train_batches())
            record |= self.evaluate()
        record["seconds"] = time.perf_counter() - start
        self.history.append(record)
        self.is_within_epoch = False
        tqdm.write(describe_epoch(self.history, self.config.epochs))
        if self.checkpoint.is_due():
            self.checkpoint.write(self.identity(), self.state())
        for callback in self.callbacks:
            callback(record)
        return record

    def _train_batches(self) -> Tensor:
        """A step for each batch of an epoch; their statistics, (steps, 4) on the device."""
        self.model.train()
        self.loss.train()
        statistics = torch.zeros(self.steps, len(STATISTICS), device=self.device)
        batches = watch(self.batches(), self.steps, f"epoch {self.epoch + 1}")
        for number, (inputs, targets) in enumerate(batches):
            self.set_learning_rate((self.epoch + number / self.steps) / self.config.epochs)
            statistics[number] = self.step(inputs, targets)
            is_last = number + 1 == self.steps
            if is_last or (number + 1) % CHECK_INTERVAL == 0:
                check_losses(statistics[:, 0], self.epoch + 1, self.loss, self.config)
        return statistics

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The next epoch's batches, as `draw_inputs` gives them."""
        return draw_inputs(self.data, self.config, self.random.order, self.device, self.train_features)

    def set_learning_rate(self, progress: float) -> None:
        """Set the learning rates for the run's progress, from 0 to 1, as the config's schedule has them."""
        factor = SCHEDULES[self.config.schedule](progress)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step of the optimizer on a batch; the batch's `STATISTICS`, (4,) on the device."""
        with autocast(self.device, self.config.precision):
            codes = self.model(inputs) if self.config.finetune else self.model.hash(inputs)  # (B, K)
        codes = codes.float()
        loss = self.loss(codes, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # the scaler does nothing but in fp16
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return batch_statistics(loss.detach(), codes.detach(), targets, self.centroids)

    def evaluate(self) -> Record:
        """The mAP after this epoch where it is due; where validation chooses, the best epoch's weights are kept."""
        if not self._is_evaluated(self.epoch + 1):
            return {}
        if not len(self.data.validation):
            scores = evaluate(self.scored, self.data.query, self.data.database, self.config, self.features)
            return {"query_map": float(scores.mean_average_precision)}
        query = self.data.validation
        database = self.data.validation_database
        scores = evaluate(self.scored, query, database, self.config, self.features)
        value = float(scores.mean_average_precision)
        if self.best is None or value > self.best[0]:
            self.best = value, copy.deepcopy(self._learned_tensors(self.scored))
        return {"validation_map": value}

    def _is_evaluated(self, epoch: int) -> bool:
        has_validation = len(self.data.validation) > 0
        interval = self.config.eval_interval
        if interval == 0:
            return has_validation
        if has_validation and epoch == self.config.epochs:
            return True
        return epoch % interval == 0

    def finish(self) -> list[Record]:
        """Leave the model in evaluation mode, with the weights that are scored; gives `history`.

        They are those of the epoch that validation chose, and averaged where the config has `ema`.
        """
        weights = self._learned_tensors(self.scored) if self.best is None else self.best[1]
        self.model.eval().load_state_dict(weights, strict=False)  # a fixed backbone is as it was
        return self.history

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share to be continued from."""
        sources = {name: loaded_digest(name) for name in self.config.own_names}
        return {
            "run": self.config.run_id,
            **({"sources": sources} if sources else {}),
            "data": self.data.fingerprint(),
            "model": shapes_of(self._learned_tensors(self.model)),
            "loss": shapes_of(self.loss.state_dict()),
        }

    def state(self) -> dict[str, Any]:
        """All that changes, between two epochs."""
        return {
            "model": self._learned_tensors(self.model),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "order": self.random.order.get_state(),
            "random": self.random.states,
            "best": self.best,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put everything as it was when `state` gave this."""
        self.model.load_state_dict(state["model"], strict=False)  # a fixed backbone is as it was
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.random.order.set_state(state["order"])
        self.random.states |= state["random"]  # one that was written on a CPU has no state of a GPU
        self.best = state["best"]
        self.history = state["history"]
        tqdm.write(f"continues after epoch {self.epoch} of {self.config.epochs} from {self.checkpoint.path}")

    def _solve_baseline(self) -> None:
        """Solve for the hash layer of a baseline; its one record is of all training images."""
        assert self.train_features is not None  # a baseline is not finetuned
        start = time.perf_counter()
        targets = self.data.train.targets.to(self.device)
        solve(self.model, self.train_features, targets, self.config)
        seconds = time.perf_counter() - start
        codes = self.model.eval().hash(self.train_features)
        no_loss = torch.tensor(torch.nan, device=self.device)
        statistics = batch_statistics(no_loss, codes, targets, self.centroids)
        record = make_record(1, statistics[None])
        record["seconds"] = seconds
        self.history = [record]

    def _learned_tensors(self, model: HashModel) -> dict[str, Tensor]:
        """A model's tensors, without those of a backbone that is not trained."""
        tensors = model.state_dict()
        if self.config.finetune:
            return tensors
        return {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}


def check_weights(model: HashModel) -> None:
    """Refuse a model with a tensor that is not finite, with a FloatingPointError."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise FloatingPointError(f"weights: {name} holds NaN or infinity before training; use other weights")


def make_average(model: HashModel, config: RunConfig) -> AveragedModel | None:
    """The exponential average of the weights over the steps, where a config has one; a baseline has no steps."""
    if not config.ema or config.loss in BASELINES:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)


def shapes_of(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}

"""`Trainer` trains a model, one epoch a call; `fit` is the loop over it."""

import copy
import math
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split, prepare
from relahash_nb.features import BLOCK, autocast, pool_features
from relahash_nb.files import watch
from relahash_nb.metrics.statistics import cosine_to_sign
from relahash_nb.models import HashModel, find_device
from relahash_nb.registry import BASELINES
from relahash_nb.training.checkpoints import Checkpoint
from relahash_nb.training.encoding import describe_epoch, encode, evaluate

SCHEDULES: dict[str, Callable[[float], float]] = {  # the learning rate's factor, by the run's progress from 0 to 1
    "constant": lambda progress: 1.0,
    "step": lambda progress: 1.0 if progress < 0.8 else 0.1,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "one_cycle": lambda progress: min(progress / 0.2, (1 - progress) / 0.8),
}
STATISTICS = ("loss", "centroid_accuracy", "quantization_error", "quantization_error_centred")
PARTS = ("model", "loss", "optimizer", "scaler", "average")  # what changes in a step
CHECK_INTERVAL = 50  # steps between looks at the loss: each look makes the host wait for the device


def fit(
    model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None = None
) -> list[dict[str, float]]:
    """The loop over `Trainer.train_epoch`; arguments, history and errors are those of `Trainer`."""
    trainer = Trainer(model, loss, data, config, features)
    for _ in range(trainer.epoch, trainer.config.epochs):
        trainer.train_epoch()
    return trainer.finish()


class Trainer:
    """Trains a model, and the loss where it has parameters, in place, one epoch per call.

    A new trainer continues from the checkpoint in the run's folder. On a CPU the same config gives the same weights,
    bit for bit, also after a kill; code between two epochs may draw random numbers. A baseline is solved at once.

    Args:
        model: Moved to the config's device.
        loss: Called with codes (B, K) float32 and targets (B, C) uint8; moved too. It has `centroids` (C, K).
        data: `train` is learned from; the mAP of `validation`, where it has items, chooses the epoch that is kept.
        config: Resolved or not. Without `finetune` only the hash layer learns, on features without augmentation.
        features: (M, F) of the pool, from `pool_features`; without `finetune` computed where they are not given.

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
        self, model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None = None
    ) -> None:
        self.config = config
        self.device = find_device(config.device)
        self.steps = len(data.train) // config.batch_size  # of an epoch; an incomplete last batch is dropped
        self.is_baseline = config.loss in BASELINES
        if not self.steps and not self.is_baseline:
            most = f"at most {len(data.train)}, the training images{' that validation leaves' * bool(data.validation)}"
            raise ValueError(f"batch_size: {config.batch_size} given; allowed: {most}")
        self.model, self.loss, self.data = model, loss, data
        self.checkpoint = Checkpoint(config, self.identity)
        saved = None if self.is_baseline else self.checkpoint.read()  # before anything is changed
        unfit = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
        if unfit and saved is None:
            raise FloatingPointError(f"weights: {unfit[0]} holds NaN or infinity before training; use other weights")
        model.to(self.device, memory_format=torch.channels_last)
        loss.to(self.device)
        self.data = data.to(self.device)
        self.pool_features = features
        if not config.finetune:
            if features is None:
                self.pool_features = pool_features(model, data, config)  # (M, F)
            self.train_features = self.pool_features[data.train.indices].to(self.device).float()  # (N, F)
        self.optimizer = make_optimizer(model, loss, config)
        self.average = nn.Identity()
        if config.ema:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.order = torch.Generator().manual_seed(config.seed)  # of the batches and their augmentation
        self.generators = [torch.default_generator]  # that dropout and losses draw from
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            self.generators.append(torch.cuda.default_generators[index])
        self.random = [torch.Generator(g.device).manual_seed(config.seed).get_state() for g in self.generators]
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.is_within_epoch = False
        if self.is_baseline:
            self.solve()
        elif saved is not None:
            self.restore(saved)

    @property
    def epoch(self) -> int:
        """Epochs that are done: of a baseline all of them."""
        return self.config.epochs if self.is_baseline else len(self.history)

    def train_epoch(self) -> dict[str, float]:
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
        start, self.is_within_epoch = time.perf_counter(), True
        self.model.train()
        self.loss.train()
        statistics = torch.zeros(self.steps, len(STATISTICS), device=self.device)
        with self.own_state():
            for step, (images, targets) in enumerate(watch(self.batches(), self.steps, f"epoch {self.epoch + 1}")):
                progress = (self.epoch + step / self.steps) / self.config.epochs
                for group in self.optimizer.param_groups:
                    group["lr"] = group["base_lr"] * SCHEDULES[self.config.schedule](progress)
                statistics[step] = self.step(images, targets)
                if (step + 1) % CHECK_INTERVAL == 0 or step + 1 == self.steps:
                    self.check(statistics[:, 0])
            means = statistics.cpu().double().mean(0).tolist()
            record = {"epoch": self.epoch + 1, **dict(zip(STATISTICS, means, strict=True)), **self.evaluate()}
        self.history.append(record | {"seconds": time.perf_counter() - start})
        self.is_within_epoch = False
        tqdm.write(describe_epoch(self.history, self.config.epochs))
        self.checkpoint.write_when_due(self.state)
        return self.history[-1]

    def step(self, images: Tensor, targets: Tensor) -> Tensor:
        """One step of the optimizer; the batch's `STATISTICS` (4,), on the device."""
        with autocast(self.device, self.config.precision):
            codes = self.model(images) if self.config.finetune else self.model.hash(images)  # (B, K)
        codes = codes.float()
        loss = self.loss(codes, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # the scaler does nothing but in fp16
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.config.ema:
            self.average.update_parameters(self.model)
        return torch.stack([loss.detach(), *batch_statistics(codes.detach(), targets, self.loss.centroids)])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches, shuffled: images (B, 3, H, W), or the rows (B, F) of fixed features; targets (B, C)."""
        train, size = self.data.train, self.config.batch_size
        targets = train.targets.to(self.device)  # (N, C)
        order = torch.randperm(len(train), generator=self.order)[: self.steps * size]
        for rows in order.split(size):
            if self.config.finetune:
                images = train.images(rows).to(self.device, non_blocking=True)
                inputs = prepare(images, train.pool.image_size, self.config.augment, self.order)
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            else:
                inputs = self.train_features[rows.to(self.device)]
            yield inputs, targets[rows.to(self.device)]

    def check(self, losses: Tensor) -> None:
        """Stops at the epoch's first loss that is not finite: all that follows would be noise."""
        if losses.isfinite().all():
            return
        step = int(losses.isfinite().logical_not().nonzero()[0])
        if self.epoch == step == 0:  # nothing was updated yet, and the weights were finite
            causes = {name: getattr(self.loss, name) for name in ("beta", "margin") if hasattr(self.loss, name)}
        else:
            causes = {name: getattr(self.config, name) for name in ("lr", "weight_decay")}
        named = " or ".join(f"{name} (now {value})" for name, value in causes.items())
        advice = f"a smaller {named} may help" if causes else f"look at {self.config.loss} and its options"
        if self.config.precision != "fp32":
            advice += f"; so may precision fp32 (now {self.config.precision})"
        place = f"epoch {self.epoch + 1}, batch {step + 1} of {self.steps}"
        raise FloatingPointError(f"the loss is {losses[step].item()} at {place}; {advice}")

    def evaluate(self) -> dict[str, float]:
        """The mAP after this epoch where it is due; where validation chooses, the best epoch's weights are kept."""
        chooses, number = len(self.data.validation) > 0, self.epoch + 1
        interval = self.config.eval_interval or int(chooses)  # 0: never
        if not interval or (number % interval and not (chooses and number == self.config.epochs)):
            return {}
        query, database = self.data.query, self.data.database
        if chooses:
            query, database = self.data.validation, self.data.validation_database
        value = float(evaluate(self.scored, query, database, self.config, self.pool_features).mean_average_precision)
        if chooses and (self.best is None or value > self.best[0]):
            self.best = value, copy.deepcopy(self.learned(self.scored))
        return {"validation_map" if chooses else "query_map": value}

    def finish(self) -> list[dict[str, float]]:
        """Leaves the model in evaluation mode, with the weights that are scored; gives `history`.

        They are those of the epoch that validation chose, and averaged where the config has `ema`.
        """
        weights = self.learned(self.scored) if self.best is None else self.best[1]
        self.model.eval().load_state_dict(weights, strict=False)  # a fixed backbone is as it was
        return self.history

    @property
    def scored(self) -> HashModel:
        """The model whose codes count: that of averaged weights, or the trained one itself."""
        return self.average.module if self.config.ema and not self.is_baseline else self.model

    def estimate_seconds(self) -> dict[str, float]:
        """Seconds that `training` from here on and `encoding` will take, from a few steps on copies."""
        trial, left = copy.copy(self), self.config.epochs - self.epoch
        vars(trial).update(copy.deepcopy({name: getattr(self, name) for name in PARTS}))
        trial.order = self.order.clone_state()
        trial.model.train()
        batches, steps = trial.batches(), [0.0]
        if left:
            with trial.own_state():
                steps = timeit.repeat(lambda: trial.step(*next(batches)).cpu(), number=1, repeat=min(6, self.steps))
        few = Split(self.data.pool, self.data.database.indices[: BLOCK * torch.get_num_threads()])  # one for each core
        items = len(self.data.query) + len(self.data.database)
        block = lambda: encode(trial.model, few, self.config.precision, features=self.pool_features)
        blocks = timeit.repeat(block, number=1, repeat=3)
        return {"training": median(steps) * self.steps * left, "encoding": median(blocks) * items / len(few)}

    def solve(self) -> None:
        """Solves for the hash layer of a baseline; its record is of all training images."""
        start, targets = time.perf_counter(), self.data.train.targets.to(self.device)
        solve(self.model, self.train_features, targets, self.config)
        seconds = time.perf_counter() - start
        statistics = batch_statistics(self.model.eval().hash(self.train_features), targets, self.loss.centroids)
        values = [math.nan, *(value.item() for value in statistics)]
        self.history = [{"epoch": 1, **dict(zip(STATISTICS, values, strict=True)), "seconds": seconds}]

    @contextmanager
    def own_state(self) -> Iterator[None]:
        """Draws of dropout and of losses come from the trainer's own random state; the caller's is put back.

        A step on fixed features runs on one thread: of many small operators, it took 3 times as long on two.
        """
        threads, outside = torch.get_num_threads(), [generator.get_state() for generator in self.generators]
        torch.set_num_threads(self.config.threads)
        try:
            for generator, state in zip(self.generators, self.random, strict=False):  # a checkpoint of a CPU has one
                generator.set_state(state)
            yield
        finally:
            self.random = [generator.get_state() for generator in self.generators]
            for generator, state in zip(self.generators, outside, strict=True):
                generator.set_state(state)
            torch.set_num_threads(threads)

    def learned(self, model: HashModel | None = None) -> dict[str, Tensor]:
        """A model's tensors, without those of a backbone that is not trained."""
        tensors = (model or self.model).state_dict()
        return {name: tensors[name] for name in tensors if self.config.finetune or not name.startswith("backbone.")}

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share to be continued."""
        parts = {"model": self.learned(), "loss": self.loss.state_dict()}
        shapes = {part: {name: tuple(t.shape) for name, t in tensors.items()} for part, tensors in parts.items()}
        return {"run": self.config.run_id, "data": self.data.fingerprint(), **shapes}

    def state(self) -> dict[str, Any]:
        """All that changes, between two epochs."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS[1:]}
        random = {"order": self.order.get_state(), "random": self.random}
        return {"model": self.learned(), **parts, **random, "best": self.best, "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything as it was when `state` gave this."""
        self.model.load_state_dict(state["model"], strict=False)  # a fixed backbone is as it was
        for name in PARTS[1:]:
            getattr(self, name).load_state_dict(state[name])
        self.order.set_state(state["order"])
        self.random, self.best, self.history = state["random"], state["best"], state["history"]
        tqdm.write(f"continues after epoch {self.epoch} of {self.config.epochs} from {self.checkpoint.path}")


def make_optimizer(model: HashModel, loss: nn.Module, config: RunConfig) -> torch.optim.Adam:
    """Adam in two groups: pretrained tensors of the backbone at their own learning rate, and all others."""
    pretrained, others = [], [parameter for parameter in loss.parameters() if parameter.requires_grad]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (pretrained if name.removeprefix("backbone.") in model.pretrained else others).append(parameter)
    groups = [(pretrained, config.lr * config.backbone_lr_scale), (others, config.lr)]
    return torch.optim.Adam(
        [{"params": parameters, "base_lr": rate} for parameters, rate in groups if parameters],
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
    )


def batch_statistics(codes: Tensor, targets: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centroid accuracy, and quantization error of z and of z − μ, of codes (B, K), as scalars on the device."""
    nearest = (codes @ centroids.to(codes.dtype).T).argmax(1, keepdim=True)  # (B, 1)
    accuracy = (targets.gather(1, nearest) > 0).float().mean()
    return accuracy, *(1 - cosine_to_sign(z).mean() for z in (codes, codes - codes.mean()))

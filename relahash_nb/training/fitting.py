"""`fit` trains: the loop over epochs and batches, and all the state that changes in it."""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from relahash_nb.baselines import BASELINES, solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset
from relahash_nb.features import autocast, pool_features
from relahash_nb.models import HashModel
from relahash_nb.training.checkpoints import Checkpoints, State
from relahash_nb.training.encoding import evaluate, find_device
from relahash_nb.training.memory import kept_memory
from relahash_nb.training.progress import describe_epoch, say, watch

# The learning rate's factor, at a progress of the run from 0 to 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "step": lambda progress: 1.0 if progress < 0.8 else 0.1,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "one_cycle": lambda progress: min(progress / 0.2, (1 - progress) / 0.8),
}
CHECK_INTERVAL = 50  # steps between looks at the loss: each look makes the host wait for the device


def fit(
    model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None = None
) -> list[dict[str, float]]:
    """Trains a model, and the loss where it has parameters, in place.

    Adam at `lr` for the hash layer, the loss and what of the backbone was drawn anew; at `lr × backbone_lr_scale` for
    the backbone's pretrained tensors. On a CPU the same config gives the same weights, bit for bit, also where the run
    was killed and goes on from its checkpoint, which is then looked for in the run's folder.

    Args:
        model: Moved to the config's device, and left in evaluation mode.
        loss: Called with (codes, targets).
        data: `train` is learned from; `validation`, where it has items, chooses the epoch whose weights are kept, by
            its mean average precision. The queries never choose.
        config: Resolved or not. Without `finetune` only the hash layer learns, on features without augmentation.
        features: (M, F) of the pool, from `pool_features`; without `finetune` computed where they are not given.

    Returns:
        A record an epoch: `epoch` from 1; `loss`; `centroid_accuracy`, the share of codes whose nearest centroid is one
        of their own; `quantization_error` 1 − cos(z, sign z), and `quantization_error_centred`, of z − μ, all of them
        means over the batches; `seconds`; and, where evaluated, `validation_map` or `query_map`. A baseline is solved
        instead: one record, over all training images, whose loss is NaN.

    Raises:
        FloatingPointError: The loss is not finite; the message says at which epoch and batch.
        CheckpointError: The run's folder has a checkpoint that cannot be used; with `fresh` the run starts anew.
        ValueError: There is no such device.
    """
    if config.loss in BASELINES:
        return [fit_baseline(model, loss, data, config.resolve(), features)]
    checkpoints = Checkpoints(model, loss, data, config.resolve())
    state = checkpoints.find()  # first, so that one that is refused costs no time
    training = Training(model, loss, data, config, features)
    devices = [training.device] if training.device.type == "cuda" else []
    with torch.random.fork_rng(devices), training.at_work():
        torch.manual_seed(config.seed)  # of dropout, and of a loss that draws
        if state is not None:
            training.restore(state)
        while training.epoch < training.config.epochs:
            training.run_epoch()
            say(describe_epoch(training.history, training.config.epochs))
            checkpoints.write_when_due(training.state)
    training.finish()
    return training.history


def fit_baseline(
    model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None
) -> dict[str, float]:
    """Solves for the model's hash layer in place; arguments and record as for `fit`."""
    training = Training(model, loss, data, config, features)
    start = time.perf_counter()
    targets = data.train.targets.to(training.device)
    solve(model, training.features, targets, config)
    seconds = time.perf_counter() - start
    codes = model.eval().hash(training.features)
    names = ("centroid_accuracy", "quantization_error", "quantization_error_centred")
    statistics = [value.item() for value in batch_statistics(codes, targets, training.loss.centroids)]
    return {"epoch": 1, "loss": math.nan, **dict(zip(names, statistics, strict=True)), "seconds": seconds}


class Training:
    """All that changes while a model is trained; `fit` drives it.

    Args:
        model: Moved to the config's device.
        loss: Called with (codes, targets); moved too.
        data: Its images are moved too where they fit.
        config: Resolved or not.
        features: As for `fit`.
    """

    def __init__(
        self, model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig, features: Tensor | None = None
    ) -> None:
        self.config = config.resolve()
        self.device = find_device(self.config.device)
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.network = self.model
        self.loss = loss.to(self.device)
        self.data = data.to(self.device)
        self.optimizer = make_optimizer(model, loss, self.config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "fp16")
        self.generator = torch.Generator().manual_seed(self.config.seed)  # of the batches and their augmentation
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.steps = len(data.train) // self.config.batch_size  # an epoch; an incomplete last batch is dropped
        self.features: Tensor | None = None
        self.pool_features = features
        if not self.config.finetune:
            if features is None:
                self.pool_features = pool_features(self.model, data, self.config)  # (M, F)
            self.features = self.pool_features[data.train.indices].to(self.device).float()  # (N, F)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return len(self.history)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The process as it should be for steps: it keeps the memory of a step, and works alone at a small one.

        A step on fixed features takes a millisecond; several threads, which wait for one another at every operator,
        took two to three times as long wherever it was tried.
        """
        threads = torch.get_num_threads()
        with kept_memory():
            if self.features is not None:
                torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    def run_epoch(self) -> dict[str, float]:
        """One pass over the training images; its record is summed up on the device, without waiting for it."""
        start = time.perf_counter()
        self.model.train()
        self.loss.train()
        sums = torch.zeros(4, dtype=torch.float64 if self.device.type != "mps" else torch.float32, device=self.device)
        for step, (inputs, targets) in enumerate(watch(self.batches(), self.steps, f"epoch {self.epoch + 1}")):
            self.set_learning_rate((self.epoch + step / self.steps) / self.config.epochs)
            sums += self.step(inputs, targets)
            if (step + 1) % CHECK_INTERVAL == 0 or step + 1 == self.steps:
                self.check(sums, step)
        names = ("loss", "centroid_accuracy", "quantization_error", "quantization_error_centred")
        record = {"epoch": self.epoch + 1, **dict(zip(names, (sums / self.steps).tolist(), strict=True))}
        record |= self.evaluate_on_the_way()
        self.history.append(record | {"seconds": time.perf_counter() - start})
        return self.history[-1]

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step of the optimizer; gives the batch's (4,) loss, accuracy and quantization errors, detached."""
        with autocast(self.device, self.config.precision):
            codes = self.network(inputs) if self.features is None else self.model.hash(inputs)  # (B, K)
        codes = codes.float()
        loss = self.loss(codes, targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack([loss.detach(), *batch_statistics(codes.detach(), targets, self.loss.centroids)])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches, shuffled: images, or the rows of fixed features."""
        size = self.config.batch_size
        if self.features is None:
            for images, targets in self.data.train.batches(
                size, self.device, augment=self.config.augment, generator=self.generator
            ):
                yield images.contiguous(memory_format=torch.channels_last), targets
            return
        targets = self.data.train.targets.to(self.device)
        order = torch.randperm(len(targets), generator=self.generator)[: self.steps * size].to(self.device)
        for rows in order.split(size):
            yield self.features[rows], targets[rows]

    def set_learning_rate(self, progress: float) -> None:
        """By the schedule, at a progress of the run from 0 to 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * SCHEDULES[self.config.schedule](progress)

    def check(self, sums: Tensor, step: int) -> None:
        """Stops at a loss that is not finite: all that follows would be noise.

        Raises:
            FloatingPointError: With the epoch and the batch.
        """
        if not sums[0].isfinite():
            since = step // CHECK_INTERVAL * CHECK_INTERVAL + 1
            raise FloatingPointError(
                f"the loss is not finite at epoch {self.epoch + 1}, batch {since} to {step + 1} of {self.steps} "
                f"(lr {self.config.lr}, precision {self.config.precision}, {self.config.loss}); a lower lr may help"
            )

    def evaluate_on_the_way(self) -> dict[str, float]:
        """The score after this epoch, of the validation images where there are any; the best of them is kept."""
        interval, chooses = self.config.eval_interval, len(self.data.validation) > 0
        if not chooses and (not interval or (self.epoch + 1) % interval):
            return {}
        if chooses and interval and (self.epoch + 1) % interval and self.epoch + 1 < self.config.epochs:
            return {}
        query = self.data.validation if chooses else self.data.query
        database = self.data.validation_database if chooses else self.data.database
        score = evaluate(self.model, query, database, self.config, self.pool_features).mean_average_precision
        if chooses and (self.best is None or score > self.best[0]):
            self.best = score, copy.deepcopy(self.learned())
        return {"validation_map" if chooses else "query_map": score}

    def finish(self) -> None:
        """Evaluation mode; and the weights of the epoch that the validation images chose, where there were any."""
        self.model.eval()
        if self.best is not None:
            self.model.load_state_dict(self.best[1], strict=False)  # a fixed backbone is as it was

    def learned(self) -> dict[str, Tensor]:
        """The model's tensors, without those of a backbone that is not trained."""
        tensors = self.model.state_dict()
        return {name: tensors[name] for name in tensors if self.config.finetune or not name.startswith("backbone.")}

    def state(self) -> State:
        """All that changes, between two epochs; the learning rate follows from the epoch."""
        moments = self.optimizer.state_dict()["state"]  # by the parameter's number
        score, best = self.best or (None, {})
        tensors = {
            "model": self.learned(),
            "loss": self.loss.state_dict(),
            "optimizer": {f"{index}.{name}": moment for index in moments for name, moment in moments[index].items()},
            "random": {"torch": torch.get_rng_state(), "batches": self.generator.get_state()},
            "best": best,
        }
        if self.device.type == "cuda":
            tensors["random"]["cuda"] = torch.cuda.get_rng_state(self.device)
        return State(tensors, {"history": self.history, "scaler": self.scaler.state_dict(), "best_score": score})

    def restore(self, state: State) -> None:
        """Puts everything as it was when `state` gave this."""
        tensors, values = state
        self.model.load_state_dict(tensors["model"], strict=False)
        self.loss.load_state_dict(tensors["loss"])
        self.restore_optimizer(tensors["optimizer"])
        self.scaler.load_state_dict(values["scaler"])
        self.generator.set_state(tensors["random"]["batches"])
        torch.set_rng_state(tensors["random"]["torch"])
        if self.device.type == "cuda" and "cuda" in tensors["random"]:
            torch.cuda.set_rng_state(tensors["random"]["cuda"], self.device)
        self.history = values["history"]
        self.best = None if values["best_score"] is None else (values["best_score"], tensors["best"])

    def restore_optimizer(self, moments: Mapping[str, Tensor]) -> None:
        """Adam's moments and step counters, each moment laid out in memory as its parameter: a fused step asks that."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Any]] = defaultdict(dict)
        for full_name, moment in moments.items():
            index, name = full_name.split(".")
            parameter = parameters[int(index)]
            if moment.shape == parameter.shape:
                moment = torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)
            state[int(index)][name] = moment
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": dict(state)})


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
    # cos(z, sign z) is the 1-norm over √K times the 2-norm.
    errors = (
        1 - (z.norm(1, dim=1) / z.norm(2, dim=1)).mean() / z.shape[1] ** 0.5 for z in (codes, codes - codes.mean())
    )
    return accuracy, *errors

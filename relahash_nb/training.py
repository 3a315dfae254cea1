"""The only loops over data: `fit` trains, `encode` gives codes, `evaluate` scores them."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.metrics import RetrievalScores, retrieval_scores
from relahash_nb.models import HashModel

# The learning rate's factor, at a progress of the run from 0 to 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "step": lambda progress: 1.0 if progress < 0.8 else 0.1,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "one_cycle": lambda progress: min(progress / 0.2, (1 - progress) / 0.8),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHECK_INTERVAL = 50  # steps between looks at the loss: each look makes the host wait for the device


def fit(model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig) -> list[dict[str, float]]:
    """Trains a model, and the loss where it has parameters, in place.

    Adam at `lr` for the hash layer, the loss and what of the backbone was drawn anew; at `lr × backbone_lr_scale` for
    the backbone's pretrained tensors. On a CPU the same config gives the same weights, bit for bit.

    Args:
        model: Moved to the config's device, and left in evaluation mode.
        loss: Called with (codes, targets).
        data: `train` is learned from; `validation`, where it has items, chooses the epoch whose weights are kept, by
            its mean average precision. The queries never choose.
        config: Resolved or not. Without `finetune` the backbone's features are computed once, without augmentation.

    Returns:
        A record an epoch: `epoch` from 1; `loss`; `centroid_accuracy`, the share of codes whose nearest centroid is one
        of their own; `quantization_error` 1 − cos(z, sign z), and `quantization_error_centred`, of z − μ, all of them
        means over the batches; `seconds`; and, where evaluated, `validation_map` or `query_map`.

    Raises:
        FloatingPointError: The loss is not finite; the message says at which epoch and batch.
        ValueError: There is no such device.
    """
    training = Training(model, loss, data, config)
    with torch.random.fork_rng(devices=[training.device] if training.device.type == "cuda" else []):
        torch.manual_seed(config.seed)  # of dropout, and of a loss that draws
        while training.epoch < training.config.epochs:
            training.run_epoch()
            tqdm.write(describe_epoch(training.history, training.config.epochs), file=sys.stdout)
    training.finish()
    return training.history


class Training:
    """All that changes while a model is trained; `fit` drives it.

    Args:
        model: Moved to the config's device.
        loss: Called with (codes, targets); moved too.
        data: Its images are moved too where they fit.
        config: Resolved or not.
    """

    def __init__(self, model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig) -> None:
        self.config = config.resolve()
        self.device = find_device(self.config.device)
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.loss = loss.to(self.device)
        self.data = data.to(self.device)
        self.optimizer = make_optimizer(model, loss, self.config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "fp16")
        self.generator = torch.Generator().manual_seed(self.config.seed)  # of the batches and their augmentation
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.steps = len(data.train) // self.config.batch_size  # an epoch; an incomplete last batch is dropped
        self.features: Tensor | None = None
        if not self.config.finetune:
            features, _ = encode(model, data.train, self.config.precision, output="features")
            self.features = features.to(self.device)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return len(self.history)

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
            codes = self.model(inputs) if self.features is None else self.model.hash(inputs)  # (B, K)
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
        score = evaluate(self.model, query, database, self.config).mean_average_precision
        if chooses and (self.best is None or score > self.best[0]):
            self.best = score, copy.deepcopy(self.model.state_dict())
        return {"validation_map" if chooses else "query_map": score}

    def finish(self) -> None:
        """Evaluation mode; and the weights of the epoch that the validation images chose, where there were any."""
        self.model.eval()
        if self.best is not None:
            self.model.load_state_dict(self.best[1])


def encode(
    model: HashModel, split: Split, precision: str = "fp32", batch_size: int = 256, output: str = "codes"
) -> tuple[Tensor, Tensor]:
    """Codes of a whole split, in its order, in evaluation mode.

    Args:
        model: Where it is; it is left in evaluation mode.
        split: N items.
        precision: fp32, bf16 or fp16.
        batch_size: Images at a time. It changes the speed alone: in evaluation mode an item's code is its own.
        output: `codes`, or `features` before the hash layer.

    Returns:
        Codes (N, K), before the sign, or features (N, F), float32, and targets (N, C) uint8, on the CPU.
    """
    model.eval()
    device = model.mean.device
    network = model if output == "codes" else model.features
    blocks = []
    with torch.inference_mode(), autocast(device, precision):
        for images, _ in watch(split.batches(batch_size, device), math.ceil(len(split) / batch_size), "encoding"):
            blocks.append(network(images.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(blocks).cpu().clone(), split.targets  # cloned into an ordinary tensor, outside of inference mode


def evaluate(model: HashModel, query: Split, database: Split, config: RunConfig) -> RetrievalScores:
    """Tie-aware retrieval scores of a model, where it is.

    Args:
        model: It is left in evaluation mode.
        query: What is searched with.
        database: What is searched in.
        config: Of it count `precision`, `top_k`, `denominator` and `drop_self_matches`.
    """
    query_codes, database_codes = (encode(model, split, config.precision)[0] for split in (query, database))
    return score(query_codes, database_codes, query, database, config)


def score(
    query_codes: Tensor, database_codes: Tensor, query: Split, database: Split, config: RunConfig
) -> RetrievalScores:
    """Retrieval scores of codes (Q, K) and (D, K) of two splits, as a config wants them."""
    config = config.resolve()
    return retrieval_scores(
        query_codes,
        database_codes,
        query.targets,
        database.targets,
        top_k=None if config.top_k == "all" else config.top_k,
        denominator=config.denominator,
        self_matches=query.positions_in(database) if config.drop_self_matches else None,
    )


def estimate_seconds(model: HashModel, loss: nn.Module, data: Dataset, config: RunConfig) -> dict[str, float]:
    """What a run will take on this machine, from a few timed steps on copies; nothing given is changed.

    Args:
        model: Not yet trained.
        loss: Likewise.
        data: What it will be trained on.
        config: Resolved or not.

    Returns:
        Seconds for `training` and for `encoding` query and database once.
    """
    with torch.random.fork_rng():
        trial = Training(copy.deepcopy(model), copy.deepcopy(loss), data, config)
        trial.model.train()
        batches = trial.batches()
        step = _median_seconds(lambda: trial.step(*next(batches)), min(6, trial.steps))
        few = Split(data.pool, data.database.indices[:256])
        block = _median_seconds(lambda: encode(trial.model, few, trial.config.precision), 3)
    items = len(data.query) + len(data.database)
    return {"training": step * trial.steps * trial.config.epochs, "encoding": block * items / len(few)}


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


def find_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: No such device here.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {name!r} given, and not to be had here ({str(error).splitlines()[0]})") from None
    return device


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """Mixed precision as the config says; off for fp32."""
    return torch.autocast(torch.device(device).type, DTYPES[precision], enabled=precision != "fp32")


def watch(batches: Iterable, total: int, what: str) -> Iterable:
    """A progress bar in a terminal or a notebook, for what takes more than two seconds; it vanishes when done."""
    if not sys.stdout.isatty() and "ipykernel" not in sys.modules:
        return batches
    return tqdm(batches, what, total, leave=False, delay=2, mininterval=2, file=sys.stdout)


def describe_epoch(history: list[dict[str, float]], epochs: int) -> str:
    """One line on the last epoch, and how long the rest will take."""
    record = history[-1]
    left = record["seconds"] * (epochs - len(history))
    scores = "".join(f"  {name} {record[name]:.4f}" for name in ("validation_map", "query_map") if name in record)
    return (
        f"epoch {len(history):3d}/{epochs}  loss {record['loss']:.4f}"
        f"  centroid accuracy {record['centroid_accuracy']:.4f}  quantization error {record['quantization_error']:.4f}"
        f"{scores}  {record['seconds']:.1f} s, {left:.0f} s to go"
    )


def _median_seconds(work: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]

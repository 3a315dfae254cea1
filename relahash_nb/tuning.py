"""Tuning: the same budget of Optuna trials for every method, scored on held-out training images alone."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relahash_nb.config import TUNED_FIELDS, RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.features import class_centroids
from relahash_nb.files import write
from relahash_nb.losses import build_loss, find_loss, wants_batch_norm
from relahash_nb.models import build_model
from relahash_nb.paths import project_path
from relahash_nb.registry import LOSSES
from relahash_nb.results import describe_hardware, describe_versions
from relahash_nb.training import evaluate, fit

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# What is searched for every method; a loss adds its own `SEARCH`. A range is (low, high, scale), a choice a list.
COMMON: dict[str, Any] = {
    "lr": (1e-4, 3e-2, "log"),
    "weight_decay": (1e-6, 1e-2, "log"),
    "epochs": [5, 10, 20, 40],
    "batch_size": [16, 32, 64, 128],
    "batch_norm": [True, False],
}
HELD_OUT = 0.2  # of the training images


def search_space(loss: str) -> dict[str, Any]:
    """What is searched for a loss, by name: a range (low, high, `log` or `linear`), or a list of choices.

    Raises:
        ValueError: There is no such loss of ours, or it is a baseline.

    Example:
        >>> search_space("csq")["quantization"]
        (0.0001, 1.0, 'log')
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: {loss} given; allowed: {', '.join(LOSSES)}")
    return COMMON | find_loss(loss).SEARCH


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The config with a trial's values; a name that is no field of a config is an option of its loss.

    Example:
        >>> with_values(RunConfig(loss="csq"), {"lr": 0.01, "quantization": 0.1}).loss_options
        {'quantization': 0.1}
    """
    fields = {}
    options = dict(config.loss_options or {})
    for name, value in values.items():
        if name in RunConfig.model_fields:
            fields[name] = value
        else:
            options[name] = value
    return config.replace(**fields, loss_options=options or None)


def hold_out(data: Dataset, seed: int) -> Dataset:
    """The data set within its train split: a fifth of it is query and database at once, the rest is learned from.

    Neither a query nor a database image that is no training image is in it: protocols grant a method the labels of
    the training images alone. Each held-out image is searched for among the others of them.
    """
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    count = int(len(order) * HELD_OUT)
    held_out = split_of(data, order[:count])
    train = split_of(data, order[count:])
    nothing = split_of(data, order[:0])
    return replace(data, train=train, query=held_out, database=held_out, validation=nothing)


def split_of(data: Dataset, rows: torch.Tensor) -> Split:
    """The training images at these positions of the train split, in their order in it."""
    return Split(data.pool, data.train.indices[rows.sort().values])


def score_values(config: RunConfig, data: Dataset, features: torch.Tensor | None) -> float:
    """Mean average precision of a config on a `hold_out` data set; 0 where the training diverges."""
    config = config.replace(drop_self_matches=True, checkpoint_minutes=0.0, eval_interval=0)
    model = build_model(config)
    centroids = class_centroids(model, data, config, features)
    loss = build_loss(config, centroids)
    try:
        fit(model, loss, data, config, features, centroids)
    except FloatingPointError:
        return 0.0
    scores = evaluate(model, data.query, data.database, config, features)
    return float(scores.mean_average_precision)


def tune(config: RunConfig, data: Dataset, features: torch.Tensor | None = None, trials: int = 24) -> Path:
    """Search for a method's options; goes on with a search that was interrupted, or that another process is at.

    The first trial is the method at its defaults, nine are random, the others are drawn by TPE (Bergstra et al.,
    NeurIPS 2011). A process alone finds the same values again from the same `config.seed`, also after a kill.

    Args:
        config: Its options other than `TUNED_FIELDS` are fixed.
        data: As `load_dataset` gives it; only its train split is used.
        features: (M, F) of the pool, from `pool_features`; without `finetune`.
        trials: Those that are finished when the search ends.

    Returns:
        The file, below `tuned/` of the results folder, with the best values and all trials.

    Raises:
        ValueError: The loss has no search space, or Optuna is not installed.
    """
    space = make_distributions(config.loss)
    held_out = hold_out(data, config.split_seed)
    path = tuned_path(config, project_path(config.results_dir) / "tuned")
    path.parent.mkdir(parents=True, exist_ok=True)
    study = open_study(path)
    if not study.trials:
        study.enqueue_trial(default_values(config, space))
    finished = finished_trials(study)
    while len(finished) < trials:
        score = run_trial(study, space, config, held_out, features)
        finished = finished_trials(study)
        count = f"trial {len(finished)} of {trials}"
        print(f"{config.loss}, {config.bits} bits: {count}: {score:.4f}, best {study.best_value:.4f}")
    content = describe_search(config, data, len(held_out.query), finished[:trials])
    write(path, lambda file: file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return path


def make_distributions(loss: str) -> dict[str, BaseDistribution]:
    """The search space of a loss, as Optuna wants it; a ValueError if Optuna is not installed."""
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution
    except ImportError:
        raise ValueError("tune: needs Optuna; pip install 'relahash-nb[tuning]'") from None
    space: dict[str, BaseDistribution] = {}
    for name, values in search_space(loss).items():
        if isinstance(values, list):
            space[name] = CategoricalDistribution(values)
        else:
            low, high, scale = values
            space[name] = FloatDistribution(low, high, log=scale == "log")
    return space


def open_study(path: Path) -> Study:
    """The search whose trials are in a journal beside `path`, which several processes may write at once."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(path.with_suffix(".journal"))))
    return optuna.create_study(storage=storage, study_name=path.stem, direction="maximize", load_if_exists=True)


def default_values(config: RunConfig, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The values of a method's own defaults that lie in the search space."""
    loss = build_loss(config, torch.ones(2, config.bits))
    options = {**vars(loss), "batch_norm": wants_batch_norm(config)}
    defaults = {}
    for name, distribution in space.items():
        value = options.get(name, getattr(config, name, None))
        if is_in(value, distribution):
            defaults[name] = value
    return defaults


def is_in(value: Any, distribution: BaseDistribution) -> bool:
    """Whether a search may draw a value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution)
    return distribution.low <= value <= distribution.high


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials of all processes that have a score, the first finished first."""
    finished = []
    for trial in study.trials:
        if trial.state.is_finished() and trial.datetime_complete is not None:
            finished.append((trial.datetime_complete, trial.number, trial))
    return [trial for _, _, trial in sorted(finished)]


def run_trial(
    study: Study,
    space: dict[str, BaseDistribution],
    config: RunConfig,
    data: Dataset,
    features: torch.Tensor | None,
) -> float:
    """Draw a trial's values, score them on a `hold_out` data set, keep the score in the study and return it."""
    import optuna

    # Seeded by the number of finished trials, so that a trial that a kill cut off is drawn again.
    study.sampler = optuna.samplers.TPESampler(seed=1_000 * config.seed + len(finished_trials(study)))
    trial = study.ask(space)
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        score = score_values(with_values(config, trial.params), data, features)
    trial.set_user_attr("seconds", round(time.perf_counter() - start, 2))
    study.tell(trial, score)
    return score


def describe_search(config: RunConfig, data: Dataset, queries: int, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """The content of a search's file; `queries` is the number of held-out images."""
    rows = []
    for trial in trials:
        rows.append({"values": trial.params, "score": trial.value, "seconds": trial.user_attrs["seconds"]})
    best = max(rows, key=lambda row: row["score"])
    seconds = sum(row["seconds"] for row in rows)
    return {
        "schema": 1,
        "method": {"loss": config.loss, "bits": config.bits},
        "best": best["values"],
        "score": f"mAP@{config.top_k} of {queries} held-out training images, each among the others",
        "budget": {"trials": len(rows), "seed": config.seed, "seconds": round(seconds)},
        "space": search_space(config.loss),
        "config": fixed_values(config),
        "data": data.fingerprint(),
        "trials": rows,
        "hardware": describe_hardware(config.device),
        "versions": describe_versions(),
    }


def tuned(config: RunConfig, folder: Path | str) -> RunConfig:
    """The config with the values that a search has found for its method, bits and setting.

    Args:
        config: Of any seed, split seed and centroid seed. A value that it gives for one of `TUNED_FIELDS` is replaced.
        folder: That `tune` wrote to, such as `results/tuned`.

    Raises:
        ValueError: There is no search for it; the line says which command makes one.
    """
    path = tuned_path(config, project_path(folder))
    if not path.is_file():
        method = f"{config.loss} at {config.bits} bits on these data"
        untuned = config.replace(**dict.fromkeys(TUNED_FIELDS))
        command = untuned.command.replace("relahash train", "relahash tune")
        raise ValueError(f"tuned: {folder} has no search for {method}; this makes it: {command}")
    content = json.loads(path.read_text(encoding="utf-8"))
    budget = f"{content['budget']['trials']} trials"
    return with_values(config, content["best"] | {"tuning": budget})


def fixed_values(config: RunConfig) -> dict[str, Any]:
    """The options that a search holds fixed, without seeds, where they are not the defaults."""
    not_fixed = (*TUNED_FIELDS, "tuning", "split_seed", "centroid_seed")
    values = {}
    for name, value in config.setting().items():
        if name == "weights":
            value = Path(value).name
        if name not in not_fixed and value != RunConfig.model_fields[name].default:
            values[name] = value
    return values


def tuned_path(config: RunConfig, folder: Path) -> Path:
    """The file of a search: data set, bits, loss, and a hash of all that was fixed."""
    fixed = json.dumps(fixed_values(config), sort_keys=True)
    digest = hashlib.sha256(fixed.encode()).hexdigest()[:8]
    data = config.dataset
    if config.root is not None:
        data += f"-{Path(config.root).resolve().name}"
    name = re.sub(r"[^A-Za-z0-9._-]+", ".", f"{data}-{config.bits}bits-{config.loss}-{digest}")
    return folder / f"{name}.json"

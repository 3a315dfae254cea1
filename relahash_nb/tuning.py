"""Tuning: the same budget of Optuna trials for every method, scored on held-out training images alone."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from relahash_nb.config import TUNED_FIELDS, RunConfig
from relahash_nb.datasets import Dataset, Split
from relahash_nb.features import class_centroids
from relahash_nb.files import write
from relahash_nb.losses import build_loss, find_loss, wants_batch_norm
from relahash_nb.models import build_model
from relahash_nb.paths import project_path
from relahash_nb.registry import LOSSES
from relahash_nb.results import describe_versions
from relahash_nb.results.runs import describe_hardware
from relahash_nb.training import evaluate, fit

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

    Example:
        >>> search_space("csq")["quantization"]
        (0.0001, 1.0, 'log')
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: {loss} given; allowed: {', '.join(LOSSES)}")
    return COMMON | find_loss(loss).SEARCH


def with_values(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """The config with a trial's values; what is no field of a config is an option of its loss.

    Example:
        >>> with_values(RunConfig(loss="csq"), {"lr": 0.01, "quantization": 0.1}).loss_options
        {'quantization': 0.1}
    """
    fields = {name: value for name, value in values.items() if name in RunConfig.model_fields}
    options = {name: value for name, value in values.items() if name not in fields}
    return config.replace(**fields, loss_options=(config.loss_options or {}) | options or None)


def hold_out(data: Dataset, seed: int) -> Dataset:
    """The data set within its train split: a fifth of it is query and database at once, the rest is learned from.

    Neither a query nor a database image that is no training image is in it: protocols grant a method the labels of
    the training images alone. Each held-out image is searched for among the others of them.
    """
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    cut = int(len(order) * HELD_OUT)
    held, left = (Split(data.pool, data.train.indices[rows.sort().values]) for rows in (order[:cut], order[cut:]))
    return replace(data, train=left, query=held, database=held, validation=Split(data.pool, held.indices[:0]))


def score_values(config: RunConfig, data: Dataset, features: torch.Tensor | None) -> float:
    """Mean average precision of a config on a `hold_out` data set; 0 where the training diverges."""
    config = config.replace(drop_self_matches=True, checkpoint_minutes=0.0, eval_interval=0).resolve()
    model = build_model(config)
    centroids = class_centroids(model, data, config, features)
    try:
        fit(model, build_loss(config, centroids), data, config, features)
    except FloatingPointError:
        return 0.0
    return float(evaluate(model, data.query, data.database, config, features).mean_average_precision)


def tune(config: RunConfig, data: Dataset, features: torch.Tensor | None = None, trials: int = 24) -> Path:
    """Searches for a method's options; goes on with a search that was interrupted, or that another process is at.

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
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise ValueError("tune: needs Optuna; pip install 'relahash-nb[tuning]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {
        name: optuna.distributions.CategoricalDistribution(one)
        if isinstance(one, list)
        else optuna.distributions.FloatDistribution(*one[:2], log=one[2] == "log")
        for name, one in search_space(config.loss).items()
    }
    config, within = config, hold_out(data, config.split_seed)
    path = tuned_path(config, project_path(config.results_dir) / "tuned")
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(path.with_suffix(".journal"))))
    study = optuna.create_study(storage=storage, study_name=path.stem, direction="maximize", load_if_exists=True)
    if not study.trials:
        may_be = lambda one, value: value in one.choices if hasattr(one, "choices") else one.low <= value <= one.high
        usual = vars(build_loss(config, torch.ones(2, config.bits))) | {"batch_norm": wants_batch_norm(config)}
        usual = {name: usual.get(name, getattr(config, name, None)) for name in space}
        study.enqueue_trial({name: value for name, value in usual.items() if may_be(space[name], value)})
    while len(done := [trial for trial in study.trials if trial.state.is_finished()]) < trials:
        # Seeded by what is finished, so that a trial that a kill cut off is drawn again.
        study.sampler = optuna.samplers.TPESampler(seed=1_000 * config.seed + len(done))
        trial, start = study.ask(space), time.perf_counter()
        with redirect_stdout(io.StringIO()):
            value = score_values(with_values(config, trial.params), within, features)
        trial.set_user_attr("seconds", round(time.perf_counter() - start, 2))
        study.tell(trial, value)
        best = max([value, *(trial.value for trial in done)])
        print(f"{config.loss}, {config.bits} bits: trial {len(done) + 1} of {trials}: {value:.4f}, best {best:.4f}")
    done = sorted(done, key=lambda trial: trial.datetime_complete)[:trials]
    rows = [{"values": one.params, "score": one.value, **one.user_attrs} for one in done]
    content = {
        "schema": 1,
        "method": {name: config.to_dict()[name] for name in ("loss", "bits")},
        "best": max(rows, key=lambda row: row["score"])["values"],
        "score": f"mAP@{config.top_k} of {len(within.query)} held-out training images, each among the others",
        "budget": {"trials": trials, "seed": config.seed, "seconds": round(sum(row["seconds"] for row in rows))},
        "space": search_space(config.loss),
        "config": key_of(config),
        "data": data.fingerprint(),
        "trials": rows,
        "hardware": describe_hardware(config.device),
        "versions": describe_versions(),
    }
    write(path, lambda file: file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return path


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
        where = f"{config.loss} at {config.bits} bits on these data"
        command = config.replace(**dict.fromkeys(TUNED_FIELDS)).command.replace("relahash train", "relahash tune")
        raise ValueError(f"tuned: {folder} has no search for {where}; this makes it: {command}")
    content = json.loads(path.read_text(encoding="utf-8"))
    return with_values(config, content["best"] | {"tuning": f"{content['budget']['trials']} trials"})


def key_of(config: RunConfig) -> dict[str, Any]:
    """The options that a search holds fixed, without seeds, where they are not the defaults."""
    values = config.setting()
    values["weights"] = Path(values["weights"]).name
    usual = {name: field.default for name, field in RunConfig.model_fields.items()}
    free = (*TUNED_FIELDS, "tuning", "split_seed", "centroid_seed")
    return {name: value for name, value in values.items() if name not in free and value != usual[name]}


def tuned_path(config: RunConfig, folder: Path) -> Path:
    """The file of a search: data set, bits, loss, and a hash of all that was fixed."""
    digest = hashlib.sha256(json.dumps(key_of(config), sort_keys=True).encode()).hexdigest()[:8]
    data = config.dataset if config.root is None else f"{config.dataset}-{Path(config.root).resolve().name}"
    return folder / (re.sub(r"[^A-Za-z0-9._-]+", ".", f"{data}-{config.bits}bits-{config.loss}-{digest}") + ".json")

"""A search: its space, its trials, the file that it leaves, and a config with what it found."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relahash_nb.config import TUNED_FIELDS, RunConfig
from relahash_nb.datasets import Dataset
from relahash_nb.features import class_centroids
from relahash_nb.files import write
from relahash_nb.losses import build_loss, find_loss, wants_batch_norm
from relahash_nb.models import build_model
from relahash_nb.paths import project_path
from relahash_nb.registry import LOSSES
from relahash_nb.results import describe_hardware, describe_versions
from relahash_nb.results.runs import named
from relahash_nb.training import evaluate, fit
from relahash_nb.tuning.journal import Journal, Trial
from relahash_nb.tuning.targets import TARGETS, hold_out

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# What is searched for every method; a loss adds its own `SEARCH`. A range is (low, high, scale), a choice a list.
COMMON: dict[str, Any] = {
    "lr": (1e-4, 1e-1, "log"),
    "weight_decay": (1e-6, 1.0, "log"),
    "epochs": [2, 5, 10, 20, 40, 80],
    "batch_size": [16, 32, 64, 128],
    "batch_norm": [True, False],
}
SCHEMA = 2  # of a search's file; 1 had no target


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


def score_values(config: RunConfig, data: Dataset, features: torch.Tensor | None) -> float:
    """Mean average precision of a config on a `hold_out` data set; 0 where the training diverges."""
    config = config.replace(drop_self_matches=True, checkpoint_minutes=0.0, eval_interval=0, callback=None)
    model = build_model(config)
    centroids = class_centroids(model, data, config, features)
    loss = build_loss(config, centroids)
    try:
        fit(model, loss, data, config, features, centroids)
    except FloatingPointError:
        return 0.0
    scores = evaluate(model, data.query, data.database, config, features)
    return float(scores.mean_average_precision)


def tune(
    config: RunConfig,
    data: Dataset,
    features: torch.Tensor | None = None,
    trials: int = 24,
    target: str = "new_images",
) -> Path:
    """Search for a method's options; goes on with a search that was interrupted, or that another process is at.

    The first trial is the method at its defaults, nine are random, the others are drawn by TPE (Bergstra et al.,
    NeurIPS 2011). A process alone finds the same values again from the same `config.seed`, also after a kill.

    Args:
        config: Its options other than `TUNED_FIELDS` are fixed; its seed is that of the search.
        data: As `load_dataset` gives it; only its train split is used.
        features: (M, F) of the pool, from `pool_features`; without `finetune`.
        trials: Those that are finished when the search ends.
        target: What the options are for, one of `TARGETS`; see `hold_out`.

    Returns:
        The file, below `tuned/` of the results folder, with the best values and all trials.

    Raises:
        ValueError: The loss has no search space, Optuna is not installed, or the journal of an earlier call is damaged.
    """
    space = make_distributions(config.loss)
    held_out = hold_out(data, config.split_seed, target)
    path = tuned_path(config, search_folder(config, target))
    journal = Journal(path.with_suffix(".jsonl"))
    finished = journal.read()
    while missing := [turn for turn in range(trials) if turn not in finished]:
        with journal.take(missing) as turn:
            finished = journal.read()
            if turn not in finished:
                trial = run_trial(turn, finished.values(), space, config, held_out, features)
                journal.append(trial)
                finished[turn] = trial
                print(describe_trial(config, trial, finished.values(), trials))
    content = describe_search(config, data, held_out, target, [finished[turn] for turn in range(trials)])
    write(path, lambda file: file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return path


def plan_searches(configs: Sequence[RunConfig], target: str, trials: int) -> str:
    """The searches, and which of them are done."""
    lines = []
    done = 0
    for config in configs:
        path = tuned_path(config, search_folder(config, target))
        is_done = path.is_file() and read_search(path)["budget"]["trials"] >= trials
        done += is_done
        lines.append(f"{path.parent.name}/{path.stem}: {'done' if is_done else 'to do'}")
    return "\n".join([*lines, f"{done} done, {len(configs) - done} to do"])


def search_folder(config: RunConfig, target: str) -> Path:
    """Where the searches for a target go: one of each method, so that `sweep --tuned` takes the folder."""
    name = target if config.seed == 0 else f"{target}-seed{config.seed}"
    return project_path(config.results_dir) / "tuned" / name


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


def run_trial(
    turn: int,
    finished: Iterable[Trial],
    space: dict[str, BaseDistribution],
    config: RunConfig,
    data: Dataset,
    features: torch.Tensor | None,
) -> Trial:
    """Draw the values of a turn, and score them on a `hold_out` data set."""
    drawn = draw(space, finished, seed=1_000 * config.seed + turn)
    if turn == 0:
        drawn |= default_values(config, space)
    values = as_options(config.loss, drawn)
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        score = score_values(with_values(config, values), data, features)
    seconds = round(time.perf_counter() - start, 2)
    return Trial(turn=turn, drawn=drawn, values=values, score=score, seconds=seconds)


def draw(space: dict[str, BaseDistribution], finished: Iterable[Trial], seed: int) -> dict[str, Any]:
    """Values that Optuna's TPE draws after the finished trials; the same from the same seed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="maximize")
    for trial in finished:
        study.add_trial(optuna.trial.create_trial(params=trial.drawn, distributions=space, value=trial.score))
    return study.ask(space).params


def default_values(config: RunConfig, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The values of a method's own defaults that lie in the search space."""
    loss = build_loss(config, torch.ones(2, config.bits))
    options = {**vars(loss), "batch_norm": wants_batch_norm(config)}
    factors = batch_factors(config.loss, config.batch_size)
    defaults = {}
    for name, distribution in space.items():
        value: Any = options.get(name, getattr(config, name, None))
        if name in factors:
            value /= factors[name]
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


def as_options(loss: str, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The options that follow from what was drawn, which may depend on the batch size.

    Example:
        >>> as_options("relahash", {"batch_size": 64, "beta": 1.0, "margin": 4.0})
        {'batch_size': 64, 'beta': 8.0, 'margin': 0.5}
    """
    factors = batch_factors(loss, drawn["batch_size"])
    return {name: value * factors[name] if name in factors else value for name, value in drawn.items()}


def batch_factors(loss: str, batch_size: int) -> dict[str, float]:
    """What a searched value is multiplied by to be an option of the loss, where that depends on the batch size."""
    return {name: batch_size**power for name, power in find_loss(loss).BATCH_POWER.items()}


def describe_trial(config: RunConfig, trial: Trial, finished: Iterable[Trial], trials: int) -> str:
    """A line for a trial that has a score."""
    scores = [other.score for other in finished]
    count = f"trial {len(scores)} of {trials}"
    return f"{config.loss}, {config.bits} bits: {count}: {trial.score:.4f}, best {max(scores):.4f}"


def describe_search(
    config: RunConfig, data: Dataset, held_out: Dataset, target: str, trials: Sequence[Trial]
) -> dict[str, Any]:
    """The content of a search's file."""
    best = max(trials, key=lambda trial: trial.score)
    learned = len(held_out.database) - len(held_out.query)
    among = f"{len(held_out.query)} held-out training images, among the others and {learned} that were learned from"
    return {
        "schema": SCHEMA,
        "method": {"loss": config.loss, "bits": config.bits},
        "target": target,
        "best": best.values,
        "score": f"mAP@{config.top_k} of {among}",
        "budget": {
            "trials": len(trials),
            "seed": config.seed,
            "seconds": round(sum(trial.seconds for trial in trials)),
        },
        "space": describe_space(config.loss),
        "config": fixed_values(config),
        "data": data.fingerprint(),
        "trials": [trial.model_dump(include={"values", "score", "seconds"}) for trial in trials],
        "hardware": describe_hardware(config.device),
        "versions": describe_versions(),
    }


def describe_space(loss: str) -> dict[str, Any]:
    """The search space with what is searched by name, such as `beta / batch_size**0.5`."""
    powers = find_loss(loss).BATCH_POWER
    space = {}
    for name, values in search_space(loss).items():
        title = f"{name} / batch_size**{powers[name]}" if name in powers else name
        space[title] = values
    return space


def tuned(config: RunConfig, folder: Path | str) -> RunConfig:
    """The config with the values that a search has found for its method, bits and setting.

    Args:
        config: Of any seed, split seed and centroid seed. A value that it gives for one of `TUNED_FIELDS` is replaced.
        folder: That `tune` wrote to, such as `results/tuned/new_images`.

    Raises:
        ValueError: There is no search for it, and the line says which command makes one; or its file is damaged.
    """
    path = tuned_path(config, project_path(folder))
    if not path.is_file():
        raise ValueError(f"tuned: {folder} has no search for {describe_missing(config, Path(folder))}")
    content = read_search(path)
    with named(path):
        return with_values(config, content["best"] | {"tuning": describe_budget(content)})


def read_search(path: Path) -> dict[str, Any]:
    """The content of a search's file, whose `best` and `budget` are there; a ValueError names a damaged one."""
    with named(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["best"], dict) or not isinstance(content["budget"]["trials"], int):
            raise ValueError("expected the best values, and a number of trials")
        return content


def describe_budget(content: Mapping[str, Any]) -> str:
    """What a run says of the search that its options are from, such as `24 trials, new images`."""
    budget = content["budget"]
    parts = [f"{budget['trials']} trials"]
    if "target" in content:  # searches of schema 1 had one alone, and no seed made another file
        parts.append(TARGETS[content["target"]])
        if budget["seed"]:
            parts.append(f"search {budget['seed']}")
    return ", ".join(parts)


def describe_missing(config: RunConfig, folder: Path) -> str:
    """A method without a search, and the command that makes one for this folder."""
    target, _, seed = folder.name.partition("-seed")
    untuned = config.replace(**dict.fromkeys(TUNED_FIELDS), seed=int(seed) if seed.isdigit() else 0)
    command = untuned.command.replace("relahash train", "relahash tune")
    if target in TARGETS:
        command += f" --target {target}"
    elif (folder / "new_images").is_dir():
        command += f"; the searches are in the folders of {folder}"
    return f"{config.loss} at {config.bits} bits on these data; this makes it: {command}"


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

"""The supervision dividend: how far does an 8-byte supervised code stay above the embedding it was made from?

    python -m study.dividend --plan              # what is to be done
    python -m study.dividend                     # EfficientNet-Lite0; goes on where it was stopped
    python -m study.dividend --network lite2

A hash layer is trained on fixed features of 52 of the 100 classes of miniImageNet. Then the queries' classes leave the
training set (the share of unseen classes in the database goes from 0 to 1), and the training images leave the database
(from 55 to 0 percent of the images of a seen class). Each score stands beside that of the float features, by the
cosine, in the same database. `study.class_splits` says how the databases are made, `study.dividend_methods` what is
compared.

Each loss is tuned for each of four targets (`TARGETS`), by the same number of random trials, the first of them its
defaults; a trial is one training, scored for all four. The search sees the training images of the seen classes of a
split of its own, a part of whose classes plays "unseen"; the five splits that are measured choose nothing. Methods
without labels learn from the same images, though they could take those of all classes.

Related work. "An Empirical Study on Training Paradigms for Deep Supervised Hashing" (IJCV; DSH_Analysis) compares 17
methods on seen and unseen classes and finds pointwise losses better on seen, pairwise ones on unseen classes; here each
loss is tuned for each target, and the share of unseen classes varies. "Projection and Quantisation … to the RAG Era"
(arXiv 2510.04127; BitBudget) finds that with labels a code of 8 bytes more than doubles the quality of the floats.
Sablayrolles et al. (ICASSP 2017) ask of supervised codes to be better than the index of the predicted class,
`class_index` here. RaBitQ: arXiv 2405.12497. Hashing-Baseline: arXiv 2509.14427.

Trials and scores of each class go to `results/dividend/`, the table to `docs/results/dividend.csv`, and what was
chosen, with versions and hardware, to `docs/results/dividend.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from tqdm import tqdm

from relahash_nb.config import RunConfig
from relahash_nb.files import write
from relahash_nb.registry import LOSSES
from relahash_nb.results import describe_hardware, describe_versions
from relahash_nb.sweep import load_shared
from relahash_nb.tuning import default_values, search_space
from study.class_splits import TRAINING_SHARES, Composition, class_split, compositions, search_fold
from study.dividend_methods import BASELINES, baseline_distances, loss_config, loss_distances
from study.dividend_scores import Bench, Measure, score_everywhere
from study.dividend_table import write_table

ROOT = Path(__file__).parent.parent
NETWORKS = {"lite0": ("tf_efficientnet_lite0", 112), "lite2": ("tf_efficientnet_lite2", 128)}  # weights, pixels
TARGETS = {
    "seen": Composition(0.0, 0.0),  # new images of seen classes
    "published": Composition(0.0, TRAINING_SHARES[-1]),  # as the lists of miniImageNet have it
    "unseen": Composition(1.0, 0.0),
    "half": Composition(0.5, 0.0),
}
SPLITS = (0, 1, 2, 3, 4)
SEARCH_SPLIT = 5
SEARCH_FOLDS = (0, 1)
SEEDS = (0, 1, 2)
TRIALS = 24
WITHOUT_SEED = ("float", "class_index")  # methods that draw nothing
ORDER = ("relahash", "orthohash", "csq", "dpn", "sdh_c", "hashnet", "average_precision", "jmlh")  # first of the losses
EPOCHS = [2, 3, 5, 8, 12, 20, 40, 80]
# Of the scale and the margin of a cosine loss; RelaHash's are brought to it by `loss_config`.
COSINE_BOX = {"beta": (0.1, 32.0, "log"), "margin": (0.02, 12.0, "log")}
RELAHASH_DEFAULTS = {"beta": 1.0, "margin": 4.0}  # its β 8 and m .5 at batches of 64, as scale and margin of a cosine


def main() -> None:
    """Search and measure all methods, or say what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="lite0", help="(default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=[*BASELINES, *LOSSES], default=all_methods(), metavar="METHOD")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of the search of a loss (default: %(default)s)")
    parser.add_argument(
        "--root", default="data/miniimagenet100_10k", help="folder of the images (default: %(default)s)"
    )
    parser.add_argument("--plan", action="store_true", help="only say what is to be done")
    options = parser.parse_args()
    study = Dividend(options.network, options.root, options.trials)
    if options.plan:
        print_plan(study, options.methods)
        return
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study.measure("float")  # what the others stand beside
    for method in options.methods:
        study.search(method)
        study.measure(method)
        study.publish()


def print_plan(study: Dividend, methods: Sequence[str]) -> None:
    """Print what is left to do for each method, and in all."""
    left = {method: study.left(method) for method in methods}
    trials, runs = np.sum(list(left.values()), axis=0)
    for name, counts in [*left.items(), ("in all", (trials, runs))]:
        print(f"{name}: {counts[0]} trials, {counts[1]} runs")


def all_methods() -> list[str]:
    """Baselines first, then the losses in the order of interest."""
    return [*BASELINES, *ORDER, *[loss for loss in LOSSES if loss not in ORDER]]


@dataclass(frozen=True)
class Run:
    """One training and its scores; a baseline has no values."""

    method: str
    split: int
    seed: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its file: readable, with a digest of the values."""
        digest = hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.method}-split{self.split}-seed{self.seed}-{digest}.npz"


@dataclass(frozen=True)
class Dividend:
    """The study of one network: its files, and what makes them.

    Attributes:
        network: One of `NETWORKS`.
        root: The folder of the images and their lists.
        trials: Of each search.
        folder: Where trials and scores are kept.
    """

    network: str
    root: str
    trials: int
    folder: Path = ROOT / "results" / "dividend"

    @cached_property
    def loaded(self) -> tuple[Any, torch.Tensor]:
        """The data set, and the features (M, F) of its images."""
        backbone, size = NETWORKS[self.network]
        config = RunConfig(
            dataset="lists", root=self.root, recipe="photos", backbone=backbone,
            weights=f"data/weights/{backbone}.safetensors", image_size=size,
        )  # fmt: skip
        return load_shared(config)

    @cached_property
    def benches(self) -> list[Bench]:
        """One for each split that is measured."""
        data, features = self.loaded
        return [Bench.of(class_split(data, split), data, features) for split in SPLITS]

    @cached_property
    def search_benches(self) -> list[Bench]:
        """One for each fold of the search."""
        data, features = self.loaded
        return [Bench.of(search_fold(data, SEARCH_SPLIT, fold), data, features) for fold in SEARCH_FOLDS]

    def search_path(self, loss: str) -> Path:
        """The file of a loss's trials."""
        return self.folder / self.network / "search" / f"{loss}.json"

    def run_path(self, run: Run) -> Path:
        """The file of a run's scores."""
        return self.folder / self.network / "runs" / run.name

    def finished_trials(self, loss: str) -> list[dict[str, Any]]:
        """The trials of a loss that have scores: `values`, and `scores` by target."""
        path = self.search_path(loss)
        if not path.exists():
            return []
        return json.loads(path.read_text(encoding="utf-8"))

    def chosen(self, loss: str) -> dict[str, dict[str, Any]]:
        """By target, the trial with the highest score; empty where the search is not finished."""
        finished = self.finished_trials(loss)[: self.trials]
        if len(finished) < self.trials:
            return {}
        best = {}
        for target in TARGETS:
            best[target] = max(finished, key=lambda trial: trial["scores"][target])
        return best

    def runs(self, method: str) -> dict[str, list[Run]]:
        """By target, the runs of a method; a baseline has the target "none"."""
        values_of = (
            {"none": {}} if method in BASELINES else {t: best["values"] for t, best in self.chosen(method).items()}
        )
        seeds = SEEDS[:1] if method in WITHOUT_SEED else SEEDS
        runs = {}
        for target, values in values_of.items():
            runs[target] = [Run(method, split, seed, values) for split in SPLITS for seed in seeds]
        return runs

    def missing(self, method: str) -> list[Run]:
        """The runs of a method that have no file yet; those that two targets share are named once."""
        by_name = {run.name: run for runs in self.runs(method).values() for run in runs}
        return [run for run in by_name.values() if not self.run_path(run).exists()]

    def left(self, method: str) -> tuple[int, int]:
        """How many trials and runs of a method are missing; before the search is done, the runs are the most there are.

        Targets that choose the same values share their runs.
        """
        if method in BASELINES:
            return 0, len(self.missing(method))
        trials = self.trials - len(self.finished_trials(method))
        if trials > 0:
            return trials, len(TARGETS) * len(SPLITS) * len(SEEDS)
        return 0, len(self.missing(method))

    def search(self, method: str) -> None:
        """Score the trials of a loss that are missing; for a baseline there are none."""
        if method in BASELINES:
            return
        finished = self.finished_trials(method)
        draws = draw_values(method, self.trials)
        for values in tqdm(draws[len(finished) :], f"{method}: search", len(draws), initial=len(finished)):
            finished.append({"values": values, "scores": self.trial_scores(method, values)})
            save_text(self.search_path(method), json.dumps(finished, indent=1))

    def trial_scores(self, loss: str, values: Mapping[str, Any]) -> dict[str, float]:
        """By target, the mAP by Hamming distance as a mean over the folds; 0 where the training diverges."""
        scores = []
        for fold, bench in zip(SEARCH_FOLDS, self.search_benches, strict=True):
            config = loss_config(loss, values, seed=fold)
            distances = loss_distances(config, bench.features, bench.data, bench.rows)
            if distances is None:
                return dict.fromkeys(TARGETS, 0.0)
            hamming = {"hamming": distances["hamming"]}
            by_class = score_everywhere(bench, hamming, list(TARGETS.values()))["hamming", "map"]
            scores.append(by_class.mean(axis=1, dtype=np.float64))
        return dict(zip(TARGETS, np.mean(scores, axis=0).round(5).tolist(), strict=True))

    def measure(self, method: str) -> None:
        """Make the runs of a method that are missing."""
        for run in tqdm(self.missing(method), f"{method}: runs"):
            path = self.run_path(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, partial(save_scores, scores=self.run_scores(run)))

    def run_scores(self, run: Run) -> dict[Measure, np.ndarray]:
        """Scores (compositions, C) of a run's queries, a mean for each class.

        Raises:
            FloatingPointError: The training diverges, with values that a search has chosen.
        """
        bench = self.benches[SPLITS.index(run.split)]
        if run.method in BASELINES:
            train = bench.trial.train
            distances = baseline_distances(run.method, bench.features, bench.targets, train, bench.rows, run.seed)
        else:
            config = loss_config(run.method, run.values, run.seed)
            trained = loss_distances(config, bench.features, bench.data, bench.rows)
            if trained is None:
                raise FloatingPointError(f"{run.name}: the training diverges with {dict(run.values)}")
            distances = trained
        return score_everywhere(bench, distances, compositions())

    def finished(self, method: str) -> Iterator[tuple[str, Run, dict[Measure, np.ndarray]]]:
        """Yield target, run and scores of the runs that have a file."""
        for target, runs in self.runs(method).items():
            for run in runs:
                path = self.run_path(run)
                if path.exists():
                    yield target, run, read_scores(path)

    def publish(self) -> None:
        """Write the table of all finished methods of this network, and the facts about it, beside those of others."""
        complete = [method for method in all_methods() if self.runs(method) and not self.missing(method)]
        trials = [bench.trial for bench in self.benches]
        results = ROOT / "docs" / "results"
        finished = {method: list(self.finished(method)) for method in complete}
        write_table(results / "dividend.csv", self.network, trials, finished, self.trials)
        facts_path = results / "dividend.json"
        facts = json.loads(facts_path.read_text(encoding="utf-8")) if facts_path.exists() else {}
        facts[self.network] = {
            "trials": self.trials,
            "splits": len(SPLITS),
            "seeds": len(SEEDS),
            "hardware": describe_hardware("cpu"),
            "versions": describe_versions() | {"faiss": faiss.__version__},
            "chosen": {method: self.chosen(method) for method in complete if method not in BASELINES},
        }
        save_text(facts_path, json.dumps(facts, indent=1))


def draw_values(loss: str, trials: int) -> list[dict[str, Any]]:
    """The options of each trial: first the defaults of the loss, then random ones; always the same."""
    space = make_space(loss)
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    defaults = default_values(loss_config(loss, {}, seed=0), space)
    if loss == "relahash":
        defaults |= RELAHASH_DEFAULTS
    search.enqueue_trial(defaults)
    return [search.ask(space).params for _ in range(trials)]


def make_space(loss: str) -> dict[str, BaseDistribution]:
    """The ranges and choices of a loss's options."""
    ranges = search_space(loss) | {"epochs": EPOCHS}
    if loss in ("relahash", "orthohash"):
        ranges |= COSINE_BOX
    space: dict[str, BaseDistribution] = {}
    for name, values in ranges.items():
        if isinstance(values, list):
            space[name] = CategoricalDistribution(values)
        else:
            low, high, scale = values
            space[name] = FloatDistribution(low, high, log=scale == "log")
    return space


def save_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, lambda file: file.write_text(text + "\n", encoding="utf-8"))


def save_scores(path: Path, scores: Mapping[Measure, np.ndarray]) -> None:
    """Write scores (compositions, C) of each measure to this very path."""
    with path.open("wb") as file:  # NumPy adds an ending to a path, but not to an open file
        np.savez_compressed(file, measures=np.array(list(scores)), scores=np.stack(list(scores.values())))


def read_scores(path: Path) -> dict[Measure, np.ndarray]:
    """What `save_scores` wrote."""
    with np.load(path) as arrays:
        measures = [(distance, metric) for distance, metric in arrays["measures"].tolist()]
        return dict(zip(measures, arrays["scores"], strict=True))


if __name__ == "__main__":
    main()

"""`relahash …`: each command takes its options, prints, and gives an exit code."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from relahash_nb import notebooks
from relahash_nb.cluster import ClusterOptions
from relahash_nb.command_line import Parser
from relahash_nb.config import SETTING_FIELDS, RunConfig
from relahash_nb.failures import explain
from relahash_nb.files import rename_over
from relahash_nb.options import Count, LocalPath, Options, Positive, option
from relahash_nb.paths import project_path
from relahash_nb.registry import BASELINES, did_you_mean
from relahash_nb.threads import available_cores

CHECKED = ("dataset", "protocol", "root", "holdout", "truncated", "drop_self_matches", "split_seed", "data_dir")

TRIAL_FIELDS = tuple(
    name for name in RunConfig.model_fields if name not in ("metrics", "callback")
)  # those are of runs

HELP = """usage: relahash COMMAND [options]

To begin:
  relahash train --bits 32                          train and score a model on images that come along
  relahash sweep --loss relahash csq --seed 0 1 2   compare losses; relahash report prints the table
  relahash index photos --index my_index            make your own pictures searchable

  train       train and score one hash model
  sweep       train and score a model for every combination of several values
  tune        search for the options of each loss, with the same budget [tuning]
  check       find what is wrong with a data set, before anything is trained
  report      print the finished runs as a table
  figures     draw the finished runs: executes the analysis notebooks
  export      write a finished run's model to one file, model.onnx [search]
  hash        write the codes of a folder of your own pictures to a file [search]
  index       make a folder of your own pictures searchable [search]
  search      find the nearest pictures in an index [search]
  duplicates  find equal files and near-duplicates in an index [search]

[name]: needs pip install 'relahash-nb[name]'. relahash COMMAND --help lists the options."""


class TrainOptions(Options):
    """Train and score one hash model."""

    tag: str | None = option(None, "accepted, since the published command has it, but not used")


class SweepOptions(ClusterOptions):
    """Train and score every combination of the values."""

    plan: bool = option(False, "only print the runs, and which are finished", "flag")
    file: LocalPath | None = option(None, "YAML file with names and values; an option on the command line overrides it")
    tuned: LocalPath | None = option(
        None, "folder that relahash tune wrote, such as results/tuned/new_images; each run takes its options from there"
    )
    jobs: Count | None = option(None, "runs at once; default: as many as the cores have threads for, one on a GPU")
    direct: bool = option(False, "train in this process, without a notebook per run: faster on fixed features", "flag")
    minutes: Positive | None = option(None, "limit for one cell of a run; default: no limit")


class TuneOptions(Options):
    """Search for the options of each loss."""

    target: Literal["new_images", "protocol", "unseen"] = option(
        "new_images",
        "what the options are for. Held-out images are searched for among each other (new_images), or also among the "
        "data set's share of training images (protocol). unseen: as new_images, with held-out classes",
    )
    trials: Count = option(24, "trials for each loss and number of bits; 2 are a quick try")
    file: LocalPath | None = option(
        None, "YAML file with names and values, as for a sweep; its baselines and seeds are ignored"
    )
    plan: bool = option(False, "only print the searches, and which are finished", "flag")


class CheckOptions(Options):
    """Say what is wrong with a data set."""

    images: bool = option(False, "decode every image, instead of a few, and find copies", "flag")


class ExportOptions(Options):
    """Write the model of a finished run to one file, which hashes pictures without torch and without this package."""

    run: str | None = option(None, "a run's folder, its name in results/runs, or its model.safetensors", "positional")
    out: LocalPath = option("model.onnx", "file to write")
    weights: str | None = option(None, "weights of a frozen backbone, if their file is not where the run found it")
    backbone: str | None = option(None, "package.module:function, if the run's backbone is your own")


class FiguresOptions(Options):
    """Execute the analysis notebooks that are older than the runs."""

    results_dir: LocalPath = option("results", "folder that holds runs/; the figures go to figures/ beside it")
    dataset: str | None = option(None, "data set, by its name in the table; default: the one with most runs")


class ReportOptions(Options):
    """Print the finished runs as a table: all of them, or those with the given values."""

    results_dir: LocalPath = option("results", "folder that holds runs/")
    format: Literal["markdown", "csv", "latex"] = option("markdown", "format of the table; latex: the best in bold")
    metric: str = option("mean_average_precision", "score to show: a column of the runs, or one of your own --metrics")
    out: LocalPath | None = option(None, "file for the table, which is then not printed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, with `arguments` instead of `sys.argv[1:]`.

    Exit code: 0; 1 where a run failed, a check found errors, or nobody reads the output; 2 where options or data are
    wrong and nothing was begun; 130 where it was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A log is read while the run goes on; and a letter that a terminal does not have ends no training.
            stream.reconfigure(line_buffering=True, errors="replace")
    warnings.filterwarnings("ignore", module="PIL")  # of damaged pictures, which are named in lines of their own
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("--help", "-h"):
        print(HELP)
        return 0
    if command == "--version":
        print(f"relahash-nb {metadata.version('relahash-nb')}")
        return 0
    if command not in COMMANDS:
        allowed = f"{', '.join(COMMANDS)}{did_you_mean(command, COMMANDS)}"
        print(f"relahash: {command!r} given; allowed: {allowed}", file=sys.stderr)
        return 2
    if "" not in sys.path:
        sys.path.append("")  # your own data sets and losses may lie in the working directory, as for a notebook
    return run(command, rest)


def run(command: str, arguments: Sequence[str]) -> int:
    """Runs one of `COMMANDS`; what it raises is a line of its own, and an exit code as `main` has them."""
    try:
        return COMMANDS[command](arguments)
    except BrokenPipeError:  # who reads the lines has enough of them, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 1
    except ValueError as error:
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 2
    except notebooks.RunFailed as error:
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        advice = "the same command again does what is missing; training goes on from its last checkpoint"
        print(f"\ninterrupted: no half result was left; {advice}", file=sys.stderr)
        return 130
    except Exception as error:  # of the disk, a database or a cluster; all else is a fault of ours, and is shown
        line = explain(error)
        if line is None:
            raise
        print(f"relahash {command}: {line}", file=sys.stderr)
        return 1


def parse(
    command: str,
    arguments: Sequence[str],
    kind: type[Options],
    run_fields: Sequence[str] = tuple(RunConfig.model_fields),
    several: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """A command's own options, and those given of a run: as lists where it takes several values."""
    parser = Parser(command, kind.__doc__)
    parser.add_fields(kind, kind.model_fields)
    parser.add_fields(RunConfig, run_fields, several)
    values = parser.read(arguments)
    of_command = {name: value for name, value in values.items() if parser.fields[name] is kind}
    of_run = {name: value for name, value in values.items() if parser.fields[name] is RunConfig}
    return kind(**of_command), of_run


def train(arguments: Sequence[str]) -> int:
    """`relahash train`: one run, its lines printed as they come."""
    options, given = parse("train", arguments, TrainOptions)
    if options.tag is not None:
        print("tag: not used; a run's name says what was run", file=sys.stderr)
    config = RunConfig(**given)
    from relahash_nb.sweep import NOTEBOOK, describe_run, execute

    notebooks.check_runs([config])
    run = execute(config, sys.stdout)
    print(f"{describe_run(run)}\n{run.folder / NOTEBOOK}")
    return 0


def sweep(arguments: Sequence[str]) -> int:
    """`relahash sweep`: every combination of the values given."""
    options, given = parse("sweep", arguments, SweepOptions, several=True)
    from relahash_nb.sweep import plan
    from relahash_nb.sweep import sweep as run_all

    check_ways(options)
    configs = read_configs(options.file, given)
    if options.plan:
        print(plan(*split_tuned(configs, options.tuned)))
        return 0
    if options.tuned:
        configs = take_tuned(configs, options.tuned)
    notebooks.check_runs(configs)
    cluster = options.workers, options.scheduler
    outcomes = run_all(configs, options.jobs, *cluster, options.minutes, notebooks=not options.direct)
    print_outcomes(configs, outcomes, with_notebooks=not options.direct)
    return 1 if any(outcome.run is None for outcome in outcomes) else 0


def check_ways(options: SweepOptions) -> None:
    """Refuses options for several ways to execute the runs, of which a sweep has one."""
    ways = [name for name in ("direct", "jobs", "workers", "scheduler") if getattr(options, name)]
    if len(ways) > 1:
        raise ValueError(f"{ways[0]}: given beside {', '.join(ways[1:])}; allowed: one of them")
    if options.direct and options.minutes:
        raise ValueError("direct: given beside minutes, which limit a notebook's cells; allowed: one of them")


def read_configs(file: str | None, given: dict[str, list[Any]]) -> list[RunConfig]:
    """Every combination of the values of a YAML file and of the command line, which goes before."""
    from relahash_nb.sweep import expand, read_grid

    grid = read_grid(Path(file)) if file else {}
    return expand(grid | given)


def take_tuned(configs: list[RunConfig], folder: str) -> list[RunConfig]:
    """The configs with the options that `relahash tune` found; a baseline has none."""
    from relahash_nb.tuning import tuned

    return [config if config.loss in BASELINES else tuned(config, folder) for config in configs]


def split_tuned(configs: list[RunConfig], folder: str | None) -> tuple[list[RunConfig], int]:
    """The configs with the options that were found, where there is a folder; and how many wait for their search."""
    if folder is None:
        return configs, 0
    found = []
    for config in configs:
        with suppress(ValueError):
            found += take_tuned([config], folder)
    return found, len(configs) - len(found)


def print_outcomes(configs: Sequence[RunConfig], outcomes: Sequence[Any], with_notebooks: bool) -> None:
    """The table of the runs that are there, where they lie, and each that failed with its command."""
    from relahash_nb.results.tables import load_runs, summarize, table
    from relahash_nb.sweep import NOTEBOOK

    place = project_path(configs[0].results_dir)
    failed = [outcome for outcome in outcomes if outcome.run is None]
    if len(failed) < len(outcomes):
        runs = load_runs(place)
        these = runs["run_id"].isin([config.run_id for config in configs])
        print(f"\n{table(summarize(runs[these]))}")
    print(f"\nresults: {place}/runs")
    if with_notebooks:
        print(f"notebooks: {place}/runs/*/{NOTEBOOK}")
    if failed:
        advice = "repeat the sweep, which tries only these, or use the command of each"
        print(f"\n{len(failed)} of {len(configs)} runs failed; {advice}:", file=sys.stderr)
    for outcome in failed:
        print(outcome.config.command, *outcome.error.splitlines(), sep="\n  ", file=sys.stderr)


def tune(arguments: Sequence[str]) -> int:
    """`relahash tune`: a search for every combination of the values given, which share one data set and backbone."""
    options, given = parse("tune", arguments, TuneOptions, TRIAL_FIELDS, several=True)
    from relahash_nb.sweep import load_shared
    from relahash_nb.tuning import plan_searches, search_space
    from relahash_nb.tuning import tune as search

    given.setdefault("seed", [0])  # of the search; those of a file are of its runs
    configs = read_configs(options.file, given)
    if options.file:
        configs = [config for config in configs if config.loss not in BASELINES]
    for config in configs:
        search_space(config.loss)  # refuses what cannot be tuned before anything is loaded
    if len({config.replace(loss="relahash", bits=64, seed=0).run_id for config in configs}) > 1:
        raise ValueError("tune: several values are given; allowed: of loss, bits and seed alone")
    if options.plan:
        print(plan_searches(configs, options.target, options.trials))
        return 0
    data, features = load_shared(configs[0])
    for config in configs:
        print(search(config, data, features, options.trials, options.target))
    return 0


def check(arguments: Sequence[str]) -> int:
    """`relahash check`: everything that is wrong with a data set, or may be; 1 where something is an error."""
    options, given = parse("check", arguments, CheckOptions, CHECKED)
    config = RunConfig(**given)
    from relahash_nb.datasets import describe_classes, describe_dataset, inspect_dataset

    try:
        data = inspect_dataset(config, options.images)
    except ValueError as error:
        print(f"error: {error}\n1 error, 0 warnings")
        return 1
    print(describe_dataset(data), *describe_classes(data), *data.findings, sep="\n")
    levels = [finding.level for finding in data.findings]
    print(f"{count(levels.count('error'), 'error')}, {count(levels.count('warning'), 'warning')}")
    return 1 if "error" in levels else 0


def count(number: int, noun: str) -> str:
    """A number with its noun, such as '2 errors'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def report(arguments: Sequence[str]) -> int:
    """`relahash report`: the finished runs as a table."""
    options, given = parse("report", arguments, ReportOptions, (*SETTING_FIELDS, "seed"), several=True)
    from relahash_nb.files import write
    from relahash_nb.results.tables import report as render

    for name, values in given.items():
        for value in values:
            # A table names a folder of images by its last name too, as in `lists corel5k`.
            RunConfig.check_value(name, str(value).partition(" ")[0] if name == "dataset" else value)
    text = render(options.results_dir, options.format, options.metric, **given).rstrip("\n")
    if options.out is None:
        print(text)
    else:
        write(Path(options.out), lambda path: path.write_text(f"{text}\n", encoding="utf-8"))
    return 0


def figures(arguments: Sequence[str]) -> int:
    """`relahash figures`: the analysis notebooks over the finished runs, where they are older than these."""
    options, _ = parse("figures", arguments, FiguresOptions, run_fields=())
    from relahash_nb.results import select_runs

    place = project_path(options.results_dir)
    select_runs(options.results_dir, options.dataset)  # says what is missing before a kernel is started for it

    def execute(name: str, kernels: notebooks.Kernels | None) -> notebooks.RunFailed | None:
        try:
            execute_analysis(name, place, options, kernels)
        except notebooks.RunFailed as error:
            return error
        return None

    names = (*notebooks.ANALYSES, notebooks.COMPARISON)
    failures = [error for _, error in notebooks.execute_at_once(execute, names, available_cores()) if error]
    for error in failures:
        print(f"relahash figures: {error}", file=sys.stderr)
    print(f"figures: {place}/figures")
    return 1 if failures else 0


def execute_analysis(name: str, place: Path, options: FiguresOptions, kernels: notebooks.Kernels | None) -> None:
    """Executes a notebook over finished runs, where it is older than these, and prints where it is."""
    data_parameter = "data" if name == notebooks.COMPARISON else "dataset"
    parameters = {"results_dir": options.results_dir, data_parameter: options.dataset}
    target = place / name
    if notebooks.is_current(target, name, parameters):
        print(f"{target}: up to date")
        return
    partial = place / f".{name}"
    notebooks.execute_notebook(name, partial, parameters, kernels=kernels)
    rename_over(partial, target)
    print(target)


def export(arguments: Sequence[str]) -> int:
    """`relahash export`: a run's model as one file."""
    options, _ = parse("export", arguments, ExportOptions, run_fields=())
    if options.run is None:
        raise ValueError("run: not given; see relahash export --help")
    from relahash_nb.export import export_run
    from relahash_nb.files import write

    content = export_run(options.run, options.weights, options.backbone)
    write(Path(options.out), lambda temporary: temporary.write_bytes(content))
    print(f"{options.out}: {len(content) / 1e6:,.1f} MB")
    return 0


def search(command: str, arguments: Sequence[str]) -> int:
    """`relahash hash`, `index`, `search` and `duplicates`: your own pictures."""
    from relahash_search import commands
    from relahash_search.options import SearchOptions

    def read(names: tuple[str, ...]) -> dict[str, Any]:
        parser = Parser(command, commands.COMMANDS[command][0].__doc__)
        parser.add_fields(SearchOptions, names)
        return parser.read(arguments)

    return commands.run(command, read)


SEARCH = ("hash", "index", "search", "duplicates")
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "sweep": sweep,
    "tune": tune,
    "check": check,
    "report": report,
    "figures": figures,
    "export": export,
    **{command: partial(search, command) for command in SEARCH},
}

if __name__ == "__main__":
    sys.exit(main())

"""`relahash …`: the command line, generated from `RunConfig`."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from relahash_nb import notebooks
from relahash_nb.cluster import ClusterOptions
from relahash_nb.config import BASELINE_NAMES, RECIPES, SETTING_FIELDS, RunConfig, project_path
from relahash_nb.options import Count, Options, Positive, did_you_mean, option

# Of the published code's command line.
ALIASES = {"dataset": "--ds", "bits": "--nbit", "batch_size": "--bs", "centroids": "--init-centroids-method"}
ALIASES |= {"k": "-k"}
PUBLISHED_VALUES = {
    "dataset": {"nuswide": "nuswide_21"},
    "centroids": {"N": "normal", "U": "uniform", "B": "bernoulli", "M": "max_hamming", "H": "hadamard"},
}
CHECKED = ("dataset", "protocol", "root", "holdout", "drop_self_matches", "split_seed", "data_dir")
NOT_GIVEN = "(not given)"
SEVERAL = ("sweep", "tune", "report")  # commands that take lists of values of a run's options

HELP = """usage: relahash COMMAND [options]

  train       train and score one hash model
  sweep       the same for every combination of several values
  tune        search for the options of each loss, with the same budget [tuning]
  check       what is wrong with a data set, before anything is trained
  report      the finished runs as a table
  figures     the finished runs as figures: executes the analysis notebooks
  hash        codes of a folder of your own pictures, in a file
  index       the same, in an index that can be searched [search]
  search      the nearest pictures in an index [search]
  duplicates  groups of near-duplicates in an index [search]

[name]: needs pip install 'relahash-nb[name]'. relahash COMMAND --help lists the options."""


class TrainOptions(Options):
    """Train and score one hash model."""

    tag: str | None = option(None, "accepted as in the published command, and not used")


class SweepOptions(ClusterOptions):
    """Train and score every combination of the values."""

    plan: bool = option(False, "only print the runs, which are finished, and what the rest will take", "flag")
    file: str | None = option(None, "YAML file with names and values; an option on the command line overrides it")
    tuned: str | None = option(None, "folder that relahash tune wrote; its best options replace those of each run")
    direct: bool = option(False, "train in this process, without a notebook per run: faster on fixed features", "flag")
    minutes: Positive | None = option(None, "limit for one cell of a run; default: no limit")


class TuneOptions(Options):
    """Search for the options of each loss."""

    trials: Count = option(24, "trials for each loss and number of bits")
    file: str | None = option(None, "YAML file with names and values, as for a sweep; its baselines are passed over")


class CheckOptions(Options):
    """Say what is wrong with a data set."""

    images: bool = option(False, "decode every image, not only a few; this finds copies too", "flag")


class FiguresOptions(Options):
    """Execute the analysis notebooks, where they are older than the runs."""

    results_dir: str = option("results", "folder that holds runs/; the figures go to figures/ beside it")
    dataset: str | None = option(None, "data set, as the table of results names it; default: the one with most runs")


class ReportOptions(Options):
    """Print the finished runs as a table: all of them, or those with the given values."""

    results_dir: str = option("results", "folder that holds runs/")
    format: Literal["markdown", "csv", "latex"] = option("markdown", "format of the table")
    out: str | None = option(None, "file to write the table to, instead of printing it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, with `arguments` instead of `sys.argv[1:]`.

    Exit code: 0; 1 where a run failed, a check found errors, or nobody reads the output; 2 where options or data are
    wrong and nothing was begun; 130 where it was interrupted.
    """
    sys.stdout.reconfigure(line_buffering=True)  # a log is read while the run goes on
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("--help", "-h"):
        print(HELP)
        return 0
    if command == "--version":
        print(f"relahash-nb {metadata.version('relahash-nb')}")
        return 0
    if command not in COMMANDS:
        said = f"{command!r} given; allowed: {', '.join(COMMANDS)}{did_you_mean(command, COMMANDS)}"
        print(f"relahash: {said}", file=sys.stderr)
        return 2
    if "" not in sys.path:
        sys.path.append("")  # your own data sets and losses may lie in the working directory, as for a notebook
    try:
        return COMMANDS[command](rest)
    except BrokenPipeError:  # who reads the lines has enough of them, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 1
    except (ValueError, OSError, notebooks.RunFailed) as error:  # OSError: the disk is full, or cannot be written
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        again = "the same command again does what is missing, and goes on from a checkpoint where there is one"
        print(f"\ninterrupted: no half result was left; {again}", file=sys.stderr)
        return 130


def parse(
    command: str, arguments: Sequence[str], kind: type[Options], only: Sequence[str] = tuple(RunConfig.model_fields),
    own: Sequence[str] = (), description: str | None = None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """A command's own options, of `own` names or all; and those given of a run, as lists if of several runs."""
    import dataclasses

    import tyro

    owner = dict.fromkeys(own or kind.model_fields, kind) | dict.fromkeys(only, RunConfig)
    fields = []  # texts, since tyro neither reads lists of values of any type nor says in a line what is wrong
    for name, of in owner.items():
        is_filter = command == "report" and of is RunConfig  # of values that runs have: none is the default
        usual = None if is_filter else of.model_fields[name].default
        meaning = explain(of, name) + ("" if usual is None else f" (default: {usual})")
        is_positional, is_flag = (name in of.of_kind(kind) for kind in ("positional", "flag"))
        metavar = name.upper() if is_positional else "VALUE" + " ..." * several(command, of, name)
        aliases = [ALIASES[name]] if name in ALIASES else None
        shown = dict(help=meaning, help_behavior_hint="", metavar=None if is_flag else metavar, aliases=aliases)
        hint, default = (bool, False) if is_flag else (tuple[str, ...], (NOT_GIVEN,))
        hint = tyro.conf.Positional[hint] if is_positional else hint
        fields.append((name, Annotated[hint, tyro.conf.arg(**shown)], dataclasses.field(default=default)))
    options = dataclasses.make_dataclass(
        "Options", fields, kw_only=True, namespace={"__doc__": description or kind.__doc__}
    )
    typed = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    if twice := [word for word in typed if typed.count(word) > 1]:
        raise ValueError(f"{twice[0]}: given twice; several values follow one another, as in --bits 16 32")
    settings = dict(config=(tyro.conf.FlagCreatePairsOff,), return_unknown_args=True)
    given, unknown = tyro.cli(options, prog=f"relahash {command}", args=list(arguments), **settings)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0].replace("-", "_")
        hint = did_you_mean(name, owner).replace("mean ", "mean --").replace("_", "-")
        raise ValueError(f"{unknown[0]}: no such option{hint}")
    values: dict[type[Options], dict[str, Any]] = {kind: {}, RunConfig: {}}
    for name, texts in vars(given).items():
        of = owner[name]
        if name in of.of_kind("flag"):
            values[of][name] = texts
        elif texts != (NOT_GIVEN,):
            takes_several = several(command, of, name)
            if not texts or (len(texts) > 1 and not takes_several):
                allowed = "one value (relahash sweep takes several), " * (of is RunConfig and len(texts) > 1)
                allowed += of.describe_allowed(name)
                raise ValueError(f"{name}: {' '.join(texts) or 'no value'} given; allowed: {allowed}")
            read = [of.read_text(name, PUBLISHED_VALUES.get(name, {}).get(text, text)) for text in texts]
            values[of][name] = read if takes_several else read[0]
    return kind(**values[kind]), values[RunConfig]


def several(command: str, kind: type[Options], name: str) -> bool:
    """Whether an option takes several values."""
    return (command in SEVERAL and kind is RunConfig) or "array" in str(kind.schema_of(name))


def explain(kind: type[Options], name: str) -> str:
    """An option in a help text: its meaning, what is allowed, what the recipes say."""
    allowed = kind.describe_allowed(name).removesuffix(", or None")
    is_plain = name in kind.of_kind("flag") or allowed in ("a text", "a list")
    recipes = RECIPES if kind is RunConfig else {}
    usual = [f"{recipe[name]} with {title}" for title, recipe in recipes.items() if name in recipe]
    parts = kind.schema_of(name)["description"], "" if is_plain else allowed, usual and f"default: {', '.join(usual)}"
    return "; ".join(part for part in parts if part)


def train(arguments: Sequence[str]) -> int:
    """`relahash train`: one run, its lines printed as they come."""
    options, given = parse("train", arguments, TrainOptions)
    if options.tag is not None:
        print("tag: not used; a run's name says what was run", file=sys.stderr)
    config = RunConfig(**given).check()
    from relahash_nb.sweep import NOTEBOOK, describe_run, execute

    notebooks.check_runs([config])
    run = execute(config, sys.stdout)
    print(f"{describe_run(run)}\n{run.folder / NOTEBOOK}")
    return 0


def sweep(arguments: Sequence[str]) -> int:
    """`relahash sweep`: every combination of the values given."""
    options, given = parse("sweep", arguments, SweepOptions)
    from relahash_nb.results.tables import load_runs, summarize, table
    from relahash_nb.sweep import NOTEBOOK, expand, plan, read_grid
    from relahash_nb.sweep import sweep as run_all

    configs = expand((read_grid(Path(options.file)) if options.file else {}) | given)
    if options.direct and (options.workers or options.scheduler or options.minutes):
        raise ValueError("direct: given beside workers, scheduler or minutes, which are of notebooks; allowed: alone")
    if options.tuned:
        from relahash_nb.tuning import tuned

        configs = [config if config.loss in BASELINE_NAMES else tuned(config, options.tuned) for config in configs]
    configs = [config.check() for config in configs]
    place = project_path(configs[0].results_dir)
    if options.plan:
        print(plan(configs, load_runs(place)))
        return 0
    notebooks.check_runs(configs)
    outcomes = run_all(configs, options.workers, options.scheduler, options.minutes, not options.direct)
    failed = [outcome for outcome in outcomes if outcome.run is None]
    if len(failed) < len(outcomes):
        runs = load_runs(place)
        print(f"\n{table(summarize(runs[runs['run_id'].isin([config.run_id for config in configs])]))}")
    print(f"\nresults: {place}/runs" + f"\nnotebooks: {place}/runs/*/{NOTEBOOK}" * (not options.direct))
    if failed:
        retry = "the same sweep again tries only these, or each by its command"
        print(f"\n{len(failed)} of {len(configs)} runs failed; {retry}:", file=sys.stderr)
    for outcome in failed:
        print(outcome.config.command, *outcome.error.splitlines(), sep="\n  ", file=sys.stderr)
    return 1 if failed else 0


def tune(arguments: Sequence[str]) -> int:
    """`relahash tune`: a search for every combination of the values given, which share one data set and backbone."""
    options, given = parse("tune", arguments, TuneOptions)
    from relahash_nb.sweep import expand, load_shared, read_grid
    from relahash_nb.tuning import search_space

    grid = (read_grid(Path(options.file)) if options.file else {}) | given
    grid |= {"seed": grid.get("seed", [0])[:1]}  # that of the search
    configs = [config.check() for config in expand(grid) if config.loss not in BASELINE_NAMES or not options.file]
    for config in configs:
        search_space(config.loss)  # refuses what cannot be tuned before anything is loaded
    if len({config.replace(loss="relahash", bits=64).run_id for config in configs}) > 1:
        raise ValueError("tune: several values are given; allowed: of loss and bits alone")
    from relahash_nb.tuning import tune as search

    data, features = load_shared(configs[0])
    for config in configs:
        print(search(config, data, features, options.trials))
    return 0


def check(arguments: Sequence[str]) -> int:
    """`relahash check`: everything that is wrong with a data set, or may be; 1 where something is an error."""
    options, given = parse("check", arguments, CheckOptions, only=CHECKED)
    config = RunConfig(**given).check()
    from relahash_nb.datasets import describe_dataset, inspect_dataset

    try:
        data = inspect_dataset(config, options.images)
    except ValueError as error:
        print(f"error: {error}\n1 error, 0 warnings")
        return 1
    print(describe_dataset(data), *data.findings, sep="\n")
    levels = [finding.level for finding in data.findings]
    errors, warnings = levels.count("error"), levels.count("warning")
    print(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    return 1 if errors else 0


def report(arguments: Sequence[str]) -> int:
    """`relahash report`: the finished runs as a table."""
    options, given = parse("report", arguments, ReportOptions, only=(*SETTING_FIELDS, "seed"))
    from relahash_nb.files import write
    from relahash_nb.results.tables import report as render

    text = render(options.results_dir, format=options.format, **given).rstrip("\n")
    if options.out is None:
        print(text)
    else:
        write(Path(options.out), lambda path: path.write_text(f"{text}\n", encoding="utf-8"))
    return 0


def figures(arguments: Sequence[str]) -> int:
    """`relahash figures`: the analysis notebooks over the finished runs, where they are older than these."""
    options, _ = parse("figures", arguments, FiguresOptions, only=())
    from relahash_nb.results import select_runs

    place = project_path(options.results_dir)
    select_runs(options.results_dir, options.dataset)  # says what is missing before a kernel is started for it
    for name in (*notebooks.ANALYSES, notebooks.COMPARISON):
        called = "data" if name == notebooks.COMPARISON else "dataset"
        parameters = {"results_dir": options.results_dir, called: options.dataset}
        target, partial = place / name, place / f".{name}"
        if notebooks.is_current(target, name, parameters):
            print(f"{target}: up to date")
            continue
        notebooks.execute_notebook(name, partial, parameters)
        partial.replace(target)
        print(target)
    print(f"figures: {place}/figures")
    return 0


def search(command: str, arguments: Sequence[str]) -> int:
    """`relahash hash`, `index`, `search` and `duplicates`: your own pictures."""
    from relahash_search import commands

    run, names = commands.COMMANDS[command]
    options, _ = parse(command, arguments, commands.SearchOptions, (), names, run.__doc__)
    for name in ("folder", "pictures", "index"):
        if name in names and not getattr(options, name):
            raise ValueError(f"{name}: not given; see relahash {command} --help")
    return run(options, **options.model_dump(include=options.model_fields_set.intersection(commands.MODEL)))


SEARCH = ("hash", "index", "search", "duplicates")
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    **{"train": train, "sweep": sweep, "tune": tune, "check": check, "report": report, "figures": figures},
    **{command: lambda rest, command=command: search(command, rest) for command in SEARCH},
}

if __name__ == "__main__":
    sys.exit(main())

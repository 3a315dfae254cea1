"""`relahash …`: the command line, generated from `RunConfig`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from relahash_nb.config import RECIPES, RunConfig, project_path
from relahash_nb.options import Options, Positive, did_you_mean, option

# Of the published code's command line.
ALIASES = {"dataset": "--ds", "bits": "--nbit", "batch_size": "--bs", "centroids": "--init-centroids-method"}
ALIASES |= {"k": "-k"}
PUBLISHED_VALUES = {
    "dataset": {"nuswide": "nuswide_21"},
    "centroids": {"N": "normal", "U": "uniform", "B": "bernoulli", "M": "max_hamming", "H": "hadamard"},
}
CHECKED = ("images", "dataset", "protocol", "root", "holdout", "drop_self_matches", "split_seed", "data_dir")
NOT_GIVEN = "(not given)"

HELP = """usage: relahash COMMAND [options]

  train    train and score one hash model
  sweep    the same for every combination of several values
  check    what is wrong with a data set, before anything is trained
  report   the finished runs as a table
  figures  the finished runs as figures: executes the analysis notebooks
  hash     codes of a folder of your own pictures, in a file
  index    the same, in an index that can be searched
  search   the nearest pictures in an index
  duplicates  groups of near-duplicates in an index

relahash COMMAND --help lists the options."""


class TrainOptions(Options):
    """Of `relahash train`, beside those of a run."""

    tag: str | None = option(None, "accepted as in the published command, and not used")


class SweepOptions(Options):
    """Of `relahash sweep`, beside those of a run."""

    plan: bool = option(False, "only print the runs, which are finished, and what the rest will take", "flag")
    file: str | None = option(None, "YAML file with names and values; an option on the command line goes before it")
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = option(
        None, "processes of a local Dask cluster; default: one run after another, without a cluster"
    )
    scheduler: str | None = option(None, "address of a running Dask scheduler, such as tcp://host:8786")
    minutes: Positive | None = option(None, "limit for one cell of a run; default: no limit")


class CheckOptions(Options):
    """Of `relahash check`, beside those of a run."""

    images: bool = option(False, "decode every image, not only a few; this finds copies too", "flag")


class FiguresOptions(Options):
    """Of `relahash figures`."""

    results_dir: str = option("results", "folder that holds runs/; the figures go to figures/ beside it")
    dataset: str | None = option(None, "data set, as the table of results names it; default: the one with most runs")


class ReportOptions(Options):
    """Of `relahash report`."""

    results_dir: str = option("results", "folder that holds runs/")
    format: Literal["markdown", "csv", "latex"] = option("markdown", "format of the table")
    dataset: str | None = option(None, "only this data set, as the table names it")
    bits: list[int] | None = option(None, "only these lengths of code")
    loss: list[str] | None = option(None, "only these losses")
    out: str | None = option(None, "file to write the table to, instead of printing it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Instead of `sys.argv[1:]`.

    Returns:
        Exit code: 0; 1 where a run failed, a check found errors, or nobody reads the output; 2 where options or data
        are wrong and nothing was begun; 130 where it was interrupted.
    """
    sys.stdout.reconfigure(line_buffering=True)  # a log is read while the run goes on
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("--help", "-h"):
        print(HELP)
        return 0
    if command not in COMMANDS:
        names = [name for name in COMMANDS if name != "look"]
        said = f"{command!r} given; allowed: {', '.join(names)}{did_you_mean(command, names)}"
        print(f"relahash: {said}", file=sys.stderr)
        return 2
    if "" not in sys.path:
        sys.path.append("")  # your own data sets and losses may lie in the working directory, as for a notebook
    try:
        return COMMANDS[command](rest)
    except ValueError as error:
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads the lines has enough of them, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 1
    except OSError as error:  # the disk is full, or cannot be written
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: no half result was left; the same command again does what is missing", file=sys.stderr)
        return 130


def parse(
    command: str, description: str, arguments: Sequence[str], *kinds: type[Options], only: Sequence[str] = ()
) -> dict[str, Any]:
    """The values that are given on the command line, by name; those of a sweep's runs as lists.

    Args:
        command: Its name.
        description: For the help text.
        arguments: After the command's name.
        kinds: Whose fields are the options.
        only: Of their fields; empty: all.

    Raises:
        ValueError: There is no such option, or it has no value, or too many.
    """
    import dataclasses

    import tyro

    owner = {name: kind for kind in kinds for name in kind.model_fields if name in (only or (name,))}
    fields = []  # texts, since tyro neither reads lists of values of any type nor says in a line what is wrong
    for name, kind in owner.items():
        meaning = f"{explain(kind, name)} (default: {kind.model_fields[name].default})"
        aliases = [ALIASES[name]] if name in ALIASES else None
        argument = tyro.conf.arg(help=meaning, help_behavior_hint="", metavar="VALUE", aliases=aliases)
        hint, default = (bool, False) if name in kind.of_kind("flag") else (tuple[str, ...], (NOT_GIVEN,))
        hint = tyro.conf.Positional[hint] if name in kind.of_kind("positional") else hint
        fields.append((name, Annotated[hint, argument], dataclasses.field(default=default)))
    options = dataclasses.make_dataclass("Options", fields, kw_only=True, namespace={"__doc__": description})
    settings = dict(config=(tyro.conf.FlagCreatePairsOff,), return_unknown_args=True)
    given, unknown = tyro.cli(options, prog=f"relahash {command}", args=list(arguments), **settings)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0].replace("-", "_")
        raise ValueError(f"{unknown[0]}: no such option{did_you_mean(name, owner).replace('_', '-')}")
    values: dict[str, Any] = {}
    for name, texts in vars(given).items():
        kind = owner[name]
        if name in kind.of_kind("flag"):
            values |= {name: True} if texts else {}
        elif texts != (NOT_GIVEN,):
            several = (command == "sweep" and kind is RunConfig) or "array" in str(kind.schema_of(name))
            if not texts or (len(texts) > 1 and not several):
                typed = " ".join(texts) or "no value"
                raise ValueError(f"{name}: {typed} given; allowed: {kind.describe_allowed(name)}")
            read = [kind.read_text(name, PUBLISHED_VALUES.get(name, {}).get(text, text)) for text in texts]
            values[name] = read if several else read[0]
    return values


def explain(kind: type[Options], name: str) -> str:
    """An option in a help text: its meaning, what is allowed, what the recipes say.

    Example:
        >>> explain(RunConfig, "epochs").partition("; default: ")[2]
        '100 with paper, 20 with quick, 20 with photos'
    """
    allowed = kind.describe_allowed(name).removesuffix(", or None")
    is_plain = name in kind.of_kind("flag") or allowed in ("a text", "a list")
    usual = [f"{recipe[name]} with {title}" for title, recipe in RECIPES.items() if name in recipe]
    parts = kind.schema_of(name)["description"], "" if is_plain else allowed, usual and f"default: {', '.join(usual)}"
    return "; ".join(part for part in parts if part)


def train(arguments: Sequence[str]) -> int:
    """`relahash train`: one run, its lines printed as they come."""
    given = parse("train", "Train and score one hash model.", arguments, RunConfig, TrainOptions)
    if given.pop("tag", None) is not None:
        print("tag: not used; a run's name says what was run", file=sys.stderr)
    config = RunConfig(**given).check()
    from relahash_nb.notebooks import RunFailed, check_runs
    from relahash_nb.sweep import NOTEBOOK, describe_run, execute

    check_runs([config])
    try:
        run = execute(config, sys.stdout)
    except RunFailed as error:
        print(f"relahash train: {error}", file=sys.stderr)
        return 1
    print(f"{describe_run(run)}\n{run.folder / NOTEBOOK}")
    return 0


def sweep(arguments: Sequence[str]) -> int:
    """`relahash sweep`: every combination of the values given."""
    given = parse("sweep", "Train and score every combination of the values.", arguments, RunConfig, SweepOptions)
    options = SweepOptions(**{name: given.pop(name) for name in SweepOptions.model_fields if name in given})
    from relahash_nb.notebooks import check_runs
    from relahash_nb.results import load_runs, summarize, table
    from relahash_nb.sweep import NOTEBOOK, expand, plan, read_grid
    from relahash_nb.sweep import sweep as run_all

    configs = expand((read_grid(Path(options.file)) if options.file else {}) | given)
    configs = [config.check() for config in configs]
    place = project_path(configs[0].results_dir)
    if options.plan:
        print(plan(configs, load_runs(place)))
        return 0
    check_runs(configs)
    outcomes = run_all(configs, options.workers, options.scheduler, options.minutes)
    failed = [outcome for outcome in outcomes if outcome.run is None]
    if len(failed) < len(outcomes):
        runs = load_runs(place)
        print(f"\n{table(summarize(runs[runs['run_id'].isin([config.run_id for config in configs])]))}")
    print(f"\nresults: {place}/runs\nnotebooks: {place}/runs/*/{NOTEBOOK}")
    if failed:
        retry = "the same sweep again tries only these, or each by its command"
        print(f"\n{len(failed)} of {len(configs)} runs failed; {retry}:", file=sys.stderr)
    for outcome in failed:
        print(outcome.config.command, *outcome.error.splitlines(), sep="\n  ", file=sys.stderr)
    return 1 if failed else 0


def check(arguments: Sequence[str]) -> int:
    """`relahash check`: everything that is wrong with a data set, or may be; 1 where something is an error."""
    given = parse("check", "Say what is wrong with a data set.", arguments, RunConfig, CheckOptions, only=CHECKED)
    all_images = given.pop("images", False)
    config = RunConfig(**given).check()
    from relahash_nb.datasets import describe_dataset, inspect_dataset

    try:
        data = inspect_dataset(config, all_images)
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
    options = ReportOptions(**parse("report", "Print the finished runs as a table.", arguments, ReportOptions))
    from relahash_nb.files import write
    from relahash_nb.results import report as render

    filters = options.model_dump(include={"dataset", "bits", "loss"}, exclude_none=True)
    text = render(options.results_dir, format=options.format, **filters).rstrip("\n")
    if options.out is None:
        print(text)
    else:
        write(Path(options.out), lambda path: path.write_text(f"{text}\n", encoding="utf-8"))
    return 0


def figures(arguments: Sequence[str]) -> int:
    """`relahash figures`: the analysis notebooks over the finished runs, where they are older than these."""
    what = "Execute the analysis notebooks, where they are older than the runs."
    options = FiguresOptions(**parse("figures", what, arguments, FiguresOptions))
    from relahash_nb.notebooks import ANALYSES, COMPARISON, RunFailed, execute_notebook, is_current
    from relahash_nb.results import select_runs

    place = project_path(options.results_dir)
    select_runs(options.results_dir, options.dataset)  # says what is missing before a kernel is started for it
    for name in (*ANALYSES, COMPARISON):
        called = "data" if name == COMPARISON else "dataset"
        parameters = {"results_dir": options.results_dir, called: options.dataset}
        target, partial = place / name, place / f".{name}"
        if is_current(target, name, parameters):
            print(f"{target}: up to date")
            continue
        try:
            execute_notebook(name, partial, parameters)
        except RunFailed as error:
            print(f"relahash figures: {error}", file=sys.stderr)
            return 1
        partial.replace(target)
        print(target)
    print(f"figures: {place}/figures")
    return 0


def search(command: str, arguments: Sequence[str]) -> int:
    """`relahash hash`, `index`, `search` and `duplicates`: your own pictures."""
    from relahash_nb.search import commands

    run, names = commands.COMMANDS[command]
    given = parse(command, run.__doc__, arguments, commands.SearchOptions, RunConfig, only=names)
    options = commands.SearchOptions(**{name: given.pop(name) for name in {*given} - {*commands.BASELINE}})
    for name in ("folder", "pictures", "index", "place"):
        if name in names and not getattr(options, name):
            raise ValueError(f"{name}: not given; see relahash {command} --help")
    return run(options, **given)


SEARCH = ("hash", "index", "search", "duplicates")
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    **{"train": train, "sweep": sweep, "check": check, "report": report},
    **{"figures": figures, "look": figures},
    **{command: lambda rest, command=command: search(command, rest) for command in SEARCH},
}

if __name__ == "__main__":
    sys.exit(main())

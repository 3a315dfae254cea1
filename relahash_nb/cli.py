"""`relahash …`: the command line, generated from `RunConfig`."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from relahash_nb.config import LOSS_DEFAULTS, RECIPES, ROOT_DATASETS, RunConfig, describe_allowed

ALIASES = {"dataset": "--ds", "bits": "--nbit"}
"""Names of the published code that are understood too."""

SWEEP_OPTIONS = (
    ("plan", bool, False, "only print the runs, which are done, and what the rest will take"),
    ("file", str | None, None, "a YAML file with names and values; what is given here goes before it"),
    ("workers", int, 0, "processes of a local Dask cluster; 0: one run after another, in this one"),
    ("scheduler", str | None, None, "address of a running Dask scheduler, such as tcp://host:8786"),
    ("minutes", float | None, None, "that one cell of a run may take"),
)

CHECKED = ("dataset", "protocol", "root", "drop_self_matches", "split_seed", "max_megapixels", "data_dir")
CHECK_OPTIONS = (("images", bool, False, "read and decode every image, not a few; it finds copies too"),)

HELP = """usage: relahash COMMAND [options]

  train    train and score one hash model
  sweep    the same for every combination of several values
  check    what is wrong with a data set, before anything is trained
  report   the finished runs as a table

relahash COMMAND --help lists the options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Instead of `sys.argv[1:]`.

    Returns:
        Exit code: 0; 1 where a run failed or a check found errors; 2 where the command was wrong, or the data that it
        names, and nothing was begun; 130 where it was interrupted.
    """
    sys.stdout.reconfigure(line_buffering=True)  # a log is read while the run goes on
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("--help", "-h"):
        print(HELP)
        return 0
    if command not in COMMANDS:
        print(f"relahash: {command!r} given; allowed: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[command](rest)
    except ValueError as error:
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # the disk is full, or cannot be written
        print(f"relahash {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: no half result was left; the same command again goes on with what is missing",
            file=sys.stderr,
        )
        return 130


def train(arguments: Sequence[str]) -> int:
    """`relahash train`: one run, its lines printed as they come."""
    from relahash_nb.sweep import NOTEBOOK, RunFailed, describe_run, execute

    config = RunConfig.from_dict(parse("train", "Train and score one hash model.", arguments))
    check_paths(config)
    check_data([config])
    try:
        run = execute(config, sys.stdout)
    except RunFailed as error:
        print(f"relahash train: {error}", file=sys.stderr)
        return 1
    print(f"{describe_run(run)}\n{run.folder / NOTEBOOK}")
    return 0


def sweep(arguments: Sequence[str]) -> int:
    """`relahash sweep`: every combination of the values given."""
    from relahash_nb.results import load_runs, summarize, table
    from relahash_nb.sweep import NOTEBOOK, expand, plan, read_grid
    from relahash_nb.sweep import sweep as run_all

    given = parse(
        "sweep", "Train and score every combination of the values.", arguments, several=True, extra=SWEEP_OPTIONS
    )
    options = {name: given.pop(name) for name, *_ in SWEEP_OPTIONS}
    if options["file"] is not None:
        usual = {knob.name: (knob.default,) for knob in dataclasses.fields(RunConfig)}
        chosen = {name: values for name, values in given.items() if values != usual[name]}
        given = read_grid(Path(options["file"])) | chosen
    configs = expand(given)
    for config in configs:
        check_paths(config)
    results_dir = configs[0].results_dir
    if options["plan"]:
        print(plan(configs, load_runs(results_dir)))
        return 0
    check_data(configs)
    outcomes = run_all(configs, options["workers"], options["scheduler"], options["minutes"])
    runs = load_runs(results_dir)
    if len(runs):
        runs = runs[runs["run_id"].isin([config.run_id for config in configs])]
        print(f"\n{table(summarize(runs))}" if len(runs) else "")
    print(f"\nresults: {results_dir}/runs\nnotebooks: {results_dir}/runs/*/{NOTEBOOK}")
    failed = [outcome for outcome in outcomes if outcome.run is None]
    if failed:
        errors = [(outcome.config.command, *outcome.error.splitlines()) for outcome in failed]
        lines = "\n".join("\n  ".join(parts) for parts in errors)
        retry = "the same sweep again tries just these, or each by its command"
        print(f"\n{len(failed)} of {len(configs)} runs failed; {retry}:\n{lines}", file=sys.stderr)
    return 1 if failed else 0


def check(arguments: Sequence[str]) -> int:
    """`relahash check`: everything that is wrong with a data set, or may be; 1 where something is an error."""
    given = parse("check", "Say what is wrong with a data set.", arguments, extra=CHECK_OPTIONS, only=CHECKED)
    all_images = given.pop("images")
    config = RunConfig.from_dict(given)
    check_paths(config)
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
    """`relahash report`: all finished runs."""
    import tyro

    from relahash_nb.files import write
    from relahash_nb.results import load_runs, summarize, table

    def show(results_dir: str = "results") -> int:
        """The finished runs as a table, and as `summary.csv` in the results folder."""
        runs = load_runs(results_dir)
        if runs.empty:
            print(f"no finished run in {results_dir}/runs; relahash train makes one")
            return 0
        summary = summarize(runs)
        write(Path(results_dir, "summary.csv"), lambda path: summary.to_csv(path, index=False))
        print(f"{table(summary)}\n\nevery run: {results_dir}/summary.csv")
        return 0

    return tyro.cli(show, prog="relahash report", args=list(arguments))


def parse(
    command: str,
    description: str,
    arguments: Sequence[str],
    several: bool = False,
    extra: Sequence[tuple[str, Any, Any, str]] = (),
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The values given on the command line, by tyro; a wrong one ends the program with exit code 2.

    Args:
        command: Its name.
        description: For the help text.
        arguments: After the command's name.
        several: Whether each option takes several values.
        extra: Further options: name, type, default, meaning.
        only: The fields of `RunConfig` that are options; None: all.

    Returns:
        Values, or lists of values, by the names of `RunConfig`'s fields.
    """
    import tyro

    hints = typing.get_type_hints(RunConfig)
    fields = []
    for knob in dataclasses.fields(RunConfig):
        if only is not None and knob.name not in only:
            continue
        hint, default = hints[knob.name], knob.default
        if "choices" in knob.metadata:
            hint = Literal[knob.metadata["choices"]] | None if default is None else Literal[knob.metadata["choices"]]
        if hint is bool:
            hint = tyro.conf.FlagConversionOff[bool]  # a value, as all others have
        if knob.name == "loss_options":
            hint = str | None
        aliases = [ALIASES[knob.name]] if knob.name in ALIASES else None
        argument = tyro.conf.arg(help=explain(knob), aliases=aliases)
        if several:
            hint, default = tuple[hint, ...], (default,)
        fields.append((knob.name, Annotated[hint, argument], dataclasses.field(default=default)))
    for name, hint, default, meaning in extra:
        argument = tyro.conf.arg(help=meaning)
        fields.append((name, Annotated[hint, argument], dataclasses.field(default=default)))
    options = dataclasses.make_dataclass("Options", fields, kw_only=True)
    options.__doc__ = description
    given = tyro.cli(options, prog=f"relahash {command}", args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    values = vars(given)
    if "loss_options" in values:
        values["loss_options"] = _from_json(values["loss_options"])
    return values


def explain(knob: dataclasses.Field) -> str:
    """A field of `RunConfig` in a help text: meaning, range, and what None stands for in each recipe.

    Example:
        >>> explain(RunConfig.__dataclass_fields__["epochs"])
        'passes over the training images; an integer from 1 up; None: 100 with paper, 20 with quick'
    """
    parts = [knob.metadata["meaning"]]
    if knob.metadata.keys() & {"names", "minimum", "above"}:
        parts.append(describe_allowed(knob).removesuffix(", or None"))
    stands_for = [f"{recipe[knob.name]} with {name}" for name, recipe in RECIPES.items() if knob.name in recipe]
    stands_for += [f"{loss[knob.name]} with {name}" for name, loss in LOSS_DEFAULTS.items() if knob.name in loss]
    return "; ".join(parts + (["None: " + ", ".join(stands_for)] if stands_for else []))


def check_paths(config: RunConfig) -> None:
    """Refuses a folder or file that is not there before a kernel is started for it.

    Raises:
        ValueError: `root` or `weights` names nothing.
    """
    if config.root is not None and not Path(config.root).is_dir():
        raise ValueError(f"root: {config.root!r} given, and there is no such folder")
    if config.root is None and config.dataset in ROOT_DATASETS:
        raise ValueError(f"root: None given; {config.dataset} needs the folder that holds the images")
    weights = config.resolve().weights
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise ValueError(f"weights: {weights!r} given, and there is no such file; allowed: imagenet, none, or a file")


def check_data(configs: Sequence[RunConfig]) -> None:
    """The checks of data that lie in a folder, before a kernel is started for it; each folder once.

    Raises:
        DataError: Nothing should be trained on one of them.
        ValueError: One of them cannot be read.
    """
    folders = {(config.dataset, config.root): config for config in configs if config.dataset in ROOT_DATASETS}
    if folders:
        from relahash_nb.datasets import load_dataset  # seconds of imports that the embedded study need not wait for
    for config in folders.values():
        load_dataset(config)


def _from_json(value: Any) -> Any:
    """The options of a loss from their JSON text, or several of them."""
    if isinstance(value, tuple):
        return tuple(_from_json(one) for one in value)
    try:
        return None if value is None else json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"loss_options: {value!r} given; allowed: JSON, as in '{{\"scale\": 8}}' ({error})") from None


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"train": train, "sweep": sweep, "check": check, "report": report}

if __name__ == "__main__":
    sys.exit(main())

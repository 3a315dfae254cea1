"""`relahash …`: the command line, generated from `RunConfig`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from relahash_nb.config import ROOT_DATASETS, RunConfig
from relahash_nb.options import parse

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
  look     the finished runs as figures: executes the analysis notebooks
  hash     codes of your own pictures, in a file
  index    the same, into an index that can be searched
  search   the nearest pictures in an index
  duplicates  groups of near-duplicates in an index

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
        given = read_grid(Path(options["file"])) | given
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


def look(arguments: Sequence[str]) -> int:
    """`relahash look`: the analysis notebooks over the finished runs."""
    import tyro

    from relahash_nb.notebooks import ANALYSES, RunFailed, execute_notebook, is_current
    from relahash_nb.results import select_runs

    def show(results_dir: str = "results", dataset: str | None = None) -> int:
        """Executes the analysis notebooks, where they are older than the runs, into the results folder.

        Args:
            results_dir: the folder that holds runs/; the figures go to figures/ beside it
            dataset: as the table of results names it; None: the one with the most runs
        """
        select_runs(results_dir, dataset)  # says what is missing before a kernel is started for it
        parameters = {"results_dir": results_dir, "dataset": dataset}
        for name in ANALYSES:
            target, partial = Path(results_dir, name), Path(results_dir, f".{name}")
            if is_current(target, name, parameters):
                print(f"{target}: up to date")
                continue
            try:
                execute_notebook(name, partial, parameters)
            except RunFailed as error:
                print(f"relahash look: {error}", file=sys.stderr)
                return 1
            partial.replace(target)
            print(target)
        print(f"figures: {results_dir}/figures")
        return 0

    return tyro.cli(show, prog="relahash look", args=list(arguments))


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


def search_command(name: str, function: str) -> Callable[[Sequence[str]], int]:
    """A command that is a function of `relahash_nb.search`, its options by tyro."""

    def run(arguments: Sequence[str]) -> int:
        import tyro

        from relahash_nb import search

        return tyro.cli(getattr(search, function), prog=f"relahash {name}", args=list(arguments))

    return run


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "sweep": sweep,
    "check": check,
    "report": report,
    "look": look,
    "hash": search_command("hash", "index_folder"),
    "index": search_command("index", "index_folder"),
    "search": search_command("search", "search_index"),
    "duplicates": search_command("duplicates", "find_duplicates"),
}

if __name__ == "__main__":
    sys.exit(main())

"""`relahash hash`, `index`, `search` and `duplicates`: each takes its options, prints, and gives an exit code."""

import json
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relahash_search.location import hide_secrets
from relahash_search.options import MODEL, SearchOptions

if TYPE_CHECKING:  # a help text need not wait for them
    from relahash_search.duplicates import Group
    from relahash_search.index import Index, Match
    from relahash_search.reading import Fault

Answers = dict[str, "list[Match]"]  # by the name of the query


def run_index(options: SearchOptions) -> int:
    """Bring an index up to date with a folder: only what is new or has changed is read. The first time makes it."""
    from relahash_search.index import describe_card
    from relahash_search.models import open_index

    if options.list or options.remove is not None:
        return change_folders(options)
    if options.folder is None:
        raise ValueError("folder: not given; see relahash index --help")
    index, fitted = open_index(options)
    if fitted is not None:
        print(f"a new index, whose model stays: {describe_card(index.card)}")
    update = index.update(options.folder, options.workers, options.scheduler, fitted)
    print_faults(update.faults)
    for note in update.notes:
        print(note)
    codes = index.tables.count_codes()
    print(f"{update}; {len(index):,} in the index, {codes:,} different codes")
    print_recall(index, options.k)
    return exit_code(options, len(update.faults))


def change_folders(options: SearchOptions) -> int:
    """Take a folder out of an index, or print its folders."""
    from relahash_search.index import Index, describe_card

    index = Index(str(options.index))
    if options.remove is not None:
        print(f"{index.remove(options.remove):,} pictures are taken out; no file was touched")
        return 0
    print(describe_card(index.card))
    for folder in index.tables.folders():
        missing = "" if Path(folder.place).is_dir() else "  (not there any more)"
        print(f"{index.tables.count(folder):8,}  {clean(folder.place)}{missing}")
    return 0


def run_search(options: SearchOptions) -> int:
    """Print the pictures of an index that are nearest to others; = marks the same file."""
    from relahash_search.index import Index
    from relahash_search.reading import Fault, reason

    index = Index(str(options.index), options.kind)
    answers: Answers = {}
    faults = []
    for name in options.pictures or ():
        try:
            answers[name] = index.search(name, options.k)
        except (OSError, ValueError) as error:
            faults.append(Fault(name, reason(error, name)))
    print_faults(faults)
    print_recall(index, options.k)
    PRINT_ANSWERS[options.format](answers)
    return 1 if len(faults) == len(options.pictures or ()) else exit_code(options, len(faults))


def print_answers_table(answers: Answers) -> None:
    """Print each query's name, and below it a row for each answer: rank, distance, path."""
    for name, matches in answers.items():
        print(clean(name))
        for rank, match in enumerate(matches, start=1):
            mark = "=" if match.is_same_file else " "
            state = f"  ({match.state})" if match.state else ""
            print(f"{rank:5} {match.distance:5} {mark} {clean(match.path)}{state}")


def print_answers_jsonl(answers: Answers) -> None:
    """Print each answer as a line of JSON."""
    for name, matches in answers.items():
        for rank, match in enumerate(matches, start=1):
            print(json.dumps({"query": name, "rank": rank} | match._asdict()))


def print_answers_html(answers: Answers) -> None:
    """Print a page with thumbnails."""
    from relahash_search.page import answers_html, whole_page

    print(whole_page("Search", answers_html({name: name for name in answers}, answers)))


def run_duplicates(options: SearchOptions) -> int:
    """Print pictures that are in an index more than once: the same files, then groups of near-duplicates."""
    from relahash_search.duplicates import default_radius, find_duplicates
    from relahash_search.index import Index

    index = Index(str(options.index))
    radius = default_radius(index.card["bits"]) if options.radius is None else options.radius
    groups, passed_over = find_duplicates(index.tables, radius)
    PRINT_GROUPS[options.format](groups)
    same = [group for group in groups if group.kind == "same file"]
    counts = f"{len(same)} groups of the same file, {len(groups) - len(same)} groups within {radius} bits"
    print(f"{counts} of the group's first", file=sys.stderr)
    if passed_over:
        advice = "relahash index FOLDER brings the index up to date"
        print(f"{passed_over} pictures are gone or have changed, and are passed over; {advice}", file=sys.stderr)
    if index.card["run"]:
        advice = "for near-duplicates index without --run"
        print(f"a model that was trained on classes gives many of their pictures one code; {advice}", file=sys.stderr)
    return 0


def print_groups_table(groups: "Sequence[Group]") -> None:
    """Print a title for each group, a line for each of its pictures, and an empty line."""
    for group in groups:
        print(f"{group.kind}, {len(group.copies)} pictures")
        for copy in group.copies:
            pixels = "" if copy.width is None else f"{copy.width}×{copy.height}"
            print(f"{copy.distance:4} bits  {copy.size:12,} bytes  {pixels:>11}  {clean(copy.path)}")
        print()


def print_groups_jsonl(groups: "Sequence[Group]") -> None:
    """Print each picture as a line of JSON."""
    for number, group in enumerate(groups, start=1):
        for copy in group.copies:
            print(json.dumps({"group": number, "kind": group.kind} | copy._asdict()))


def print_groups_html(groups: "Sequence[Group]") -> None:
    """Print a page with thumbnails."""
    from relahash_search.page import groups_html, whole_page

    print(whole_page("Duplicates", groups_html(groups)))


def run_hash(options: SearchOptions) -> int:
    """Write the packed codes of a folder's pictures, or of an index, to a file."""
    import numpy as np

    from relahash_nb.files import write
    from relahash_search.models import hash_folder

    if (options.folder is None) == (options.index is None):
        raise ValueError("folder, index: both or neither given; allowed: one of them")
    out = Path(options.out).expanduser()
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: {options.out!r} given; its folder is not there")
    faults: list[Fault] = []
    if options.index is not None:
        from relahash_search.index import Index

        index = Index(options.index)
        card = index.card
        paths, codes = index.codes()
    else:
        card, paths, codes, faults = hash_folder(options)
    print_faults(faults)
    text = json.dumps(card)
    buffer = BytesIO()
    np.savez(buffer, codes=codes, paths=np.array(paths, str), bit_order=np.array("big"), card=np.array(text))
    write(out, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    print(f"{options.out}: {len(paths)} codes of {card['bits']} bits")
    return exit_code(options, len(faults))


def print_faults(faults: "Sequence[Fault]") -> None:
    """Say which pictures were skipped, and why."""
    for fault in faults:
        print(clean(hide_secrets(f"skipped: {fault.path}: {fault.reason}")), file=sys.stderr)


def print_recall(index: "Index", k: int) -> None:
    """Say what an approximate index finds, measured now."""
    if index.kind != "flat" and len(index) > 0:
        print(f"{index.kind}: recall@{k} {index.recall(k):.3f}, by codes of the index itself", file=sys.stderr)


def exit_code(options: SearchOptions, skipped: int) -> int:
    """1 where a picture was skipped and the user asked to be told so."""
    return 1 if skipped and options.strict else 0


def clean(text: str) -> str:
    """Text for a terminal: line breaks, control characters and lone surrogates are written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


PRINT_ANSWERS = {"table": print_answers_table, "jsonl": print_answers_jsonl, "html": print_answers_html}
PRINT_GROUPS = {"table": print_groups_table, "jsonl": print_groups_jsonl, "html": print_groups_html}
COMMANDS: dict[str, tuple[Callable[[SearchOptions], int], tuple[str, ...]]] = {
    "hash": (run_hash, ("folder", "index", "out", "strict", *MODEL)),
    "index": (run_index, ("folder", "index", "list", "remove", "kind", "strict", "workers", "scheduler", *MODEL)),
    "search": (run_search, ("pictures", "index", "kind", "k", "format", "strict")),
    "duplicates": (run_duplicates, ("index", "radius", "format")),
}
NEEDED = {"index": ("index",), "search": ("pictures", "index"), "duplicates": ("index",), "hash": ()}


def run(command: str, read: Callable[[tuple[str, ...]], dict[str, Any]]) -> int:
    """Run one of `COMMANDS`.

    Args:
        command: Its name.
        read: Gives the values of the options with these names that were given.

    Raises:
        ValueError: One line, without a password.
    """
    function, names = COMMANDS[command]
    try:
        options = SearchOptions(**read(names))
        for name in NEEDED[command]:
            if not getattr(options, name):
                raise ValueError(f"{name}: not given; see relahash {command} --help")
        return function(options)
    except ValueError as error:
        raise ValueError(hide_secrets(str(error))) from None

"""What may be wrong with a data set, and the checks before anything is learned from it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from relahash_nb.datasets.images import MISSING, OUTSIDE, FileImages
from relahash_nb.datasets.splits import Dataset, Finding, Split

LIST_FILES = {"train": "train.txt", "query": "test.txt", "database": "database.txt"}
SAMPLE = 64  # files that are decoded before a training
SHOWN = 3  # items or classes that a finding names


class DataError(ValueError):
    """Data that nothing is trained on; its text is the first error, in one line, its `findings` are all."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding.text for finding in findings if finding.level == "error"]
        text = errors[0]
        if len(errors) > 1:
            text += f" (and {len(errors) - 1} more; relahash check lists all)"
        super().__init__(text)


def check_splits(data: Dataset, drop_self_matches: bool = False, all_images: bool = False) -> list[Finding]:
    """Everything that is wrong with a data set's splits and images, or may be; see `inspect_dataset`."""
    findings = []
    if len(data.pool.ids) and len(data.class_names) < 2:
        findings.append(Finding("one class", f"{data.name}: all images are of one class"))
    findings += _check_overlaps(data, drop_self_matches)
    for name in LIST_FILES:
        findings += _check_labels(data, name)
    findings += _check_relevance(data)
    images = data.pool.images
    if isinstance(images, FileImages):
        findings += _check_places(data, images)
        findings += _check_content(data, images, all_images)
    return findings


def _check_overlaps(data: Dataset, drop_self_matches: bool) -> list[Finding]:
    """Queries that are in another split too."""
    query = data.query.indices.numpy()
    learned = np.flatnonzero(np.isin(query, data.train.indices.numpy()))
    findings = _describe_rows(data, "query", learned, "query in train", "are in train too")
    remedy = "is left out of its ranking" if drop_self_matches else "finds itself; drop_self_matches helps"
    searched = np.flatnonzero(np.isin(query, data.database.indices.numpy()))
    text = f"are in the database too, and each {remedy}"
    return findings + _describe_rows(data, "query", searched, "query in database", text)


def _check_labels(data: Dataset, name: str) -> list[Finding]:
    """Labels and repetitions of one split."""
    split: Split = getattr(data, name)
    if not len(split):
        return []
    targets = split.targets.numpy()  # (N, C)
    unlabelled = np.flatnonzero(~targets.any(axis=1))
    if len(unlabelled) == len(split):
        return [Finding("no labels", f"{name}: none of {len(split):,} images has a label")]
    findings = _describe_rows(data, name, unlabelled, "no label", "have no label")
    unused = np.flatnonzero(~targets.any(axis=0))
    if len(unused):
        names = _join([data.class_names[label] for label in unused[:SHOWN]], len(unused))
        text = f"{name}: {len(unused)} of {len(data.class_names)} classes have no image: {names}"
        findings.append(Finding("no item", text))
    _, first_rows = np.unique(split.indices.numpy(), return_index=True)
    repeated = np.setdiff1d(np.arange(len(split)), first_rows)
    return findings + _describe_rows(data, name, repeated, "listed twice", "are listed a second time")


def _check_relevance(data: Dataset) -> list[Finding]:
    """Queries with labels, none of which any database item has."""
    if not len(data.database):
        return []
    query_labels = data.query.targets.numpy() > 0  # (Q, C)
    in_database = data.database.targets.numpy().any(axis=0)  # (C,)
    has_label = query_labels.any(axis=1)  # (Q,)
    has_relevant = query_labels[:, in_database].any(axis=1)  # (Q,)
    rows = np.flatnonzero(has_label & ~has_relevant)
    return _describe_rows(data, "query", rows, "nothing to find", "have no relevant item in the database")


def _check_places(data: Dataset, images: FileImages) -> list[Finding]:
    """Whether each file is there, and below the root."""
    findings = []
    sizes = images.files[:, 0]
    for size, rule, fault in ((MISSING, "missing image", "are not there"), (OUTSIDE, "leads out", "lead out of it")):
        rows = np.flatnonzero(sizes == size).tolist()
        if rows:
            places = [shorten(images.paths[row]) + _list_line(data, row) for row in rows[:SHOWN]]
            text = f"{len(rows):,} of {len(images):,} images {fault}: {_join(places, len(rows))}"
            findings.append(Finding(rule, f"{images.root}: {text}"))
    return findings


def _check_content(data: Dataset, images: FileImages, all_images: bool) -> list[Finding]:
    """Whether the files, or a sample of them, can be decoded; and, of all files, which are alike."""
    rows = np.flatnonzero(images.files[:, 0] >= 0)
    if not all_images:
        chosen = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)
        rows = rows[chosen]
    hide_bar = None if all_images else True  # None: hidden unless it is in a terminal
    examined = tqdm(
        images.threads.map(images.examine, rows.tolist()),
        "checking", len(rows), unit=" images", leave=False, delay=2, mininterval=1, disable=hide_bar,
    )  # fmt: skip
    faults = []
    flat = []
    cut = []
    digests = {}  # of the files that can be decoded, by their positions in the pool
    for row, found in zip(rows.tolist(), examined, strict=True):
        place = _list_line(data, row)
        if found.fault:
            faults.append(shorten(found.fault, 300) + place)
            continue
        digests[row] = found.digest
        if found.has_one_level:
            flat.append(shorten(images.paths[row]) + place)
        if found.is_cut:
            cut.append(shorten(images.paths[row]) + place)
    tried = f"{len(rows):,} {'images' if all_images else 'images that were tried'}"
    findings = [
        *_count("unreadable image", faults, tried, "cannot be used"),
        *_count("single level", flat, tried, "have a single level: black, white, or another colour alone"),
        *_count("truncated", cut, tried, "are JPEG files without their end, and are taken, grey where it is missing"),
    ]
    if all_images:
        findings += _find_copies(data, digests)
    return findings


def _count(rule: str, items: Sequence[str], tried: str, text: str) -> list[Finding]:
    """A finding of a rule: how many items of those that were tried are so, and the first of them; none without any."""
    if not items:
        return []
    return [Finding(rule, f"{len(items):,} of {tried} {text}: {_join(items[:SHOWN], len(items), between='; ')}")]


def _find_copies(data: Dataset, digests: dict[int, bytes]) -> list[Finding]:
    """Queries whose files have the same bytes as other files in train or database."""
    findings = []
    for name in ("train", "database"):
        members = set(getattr(data, name).indices.tolist()) & digests.keys()
        files = Counter(digests[item] for item in members)
        rows = []
        for row, item in enumerate(data.query.indices.tolist()):
            itself = 1 if item in members else 0
            if item in digests and files[digests[item]] > itself:
                rows.append(row)
        text = f"are, byte by byte, images of other names in {name}"
        findings += _describe_rows(data, "query", np.array(rows, dtype=int), "copies", text)
    return findings


def shorten(text: str, length: int = 80) -> str:
    """A text of any length for a message: its middle is left out."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[-length // 3 :]}"


def _describe_rows(data: Dataset, name: str, rows: np.ndarray, rule: str, text: str) -> list[Finding]:
    """A finding on these rows of a split, where there are any: how many, and the first few with their lines."""
    if not len(rows):
        return []
    split: Split = getattr(data, name)
    items = []
    for row in rows[:SHOWN].tolist():
        line = f" ({data.list_files[name]}:{row + 1})" if name in data.list_files else ""
        items.append(shorten(str(split.ids[row])) + line)
    return [Finding(rule, f"{name}: {len(rows):,} of {len(split):,} images {text}: {_join(items, len(rows))}")]


def _list_line(data: Dataset, item: int) -> str:
    """Where an item of the pool is listed, in brackets; nothing where it comes from no list."""
    for name, file in data.list_files.items():
        rows = np.flatnonzero(getattr(data, name).indices.numpy() == item)
        if len(rows):
            return f" ({file}:{rows[0] + 1})"
    return ""


def _join(texts: Sequence[str], count: int, between: str = ", ") -> str:
    """The first texts of `count`, and an ellipsis for the others."""
    if count > len(texts):
        texts = [*texts, "…"]
    return between.join(texts)

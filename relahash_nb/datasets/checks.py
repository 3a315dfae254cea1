"""What may be wrong with a data set, and the checks before anything is learned from it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from relahash_nb.datasets.images import FileImages
from relahash_nb.datasets.splits import Dataset, Finding, Split

LIST_FILES = {"train": "train.txt", "query": "test.txt", "database": "database.txt"}
SAMPLE = 64  # files that are decoded before a training
SHOWN = 3  # items or classes that a finding names


class DataError(ValueError):
    """Data that nothing is trained on; its text is the first error, in one line, its `findings` are all."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding.text for finding in findings if finding.level == "error"]
        more = f" (and {len(errors) - 1} more; relahash check lists all)" if len(errors) > 1 else ""
        super().__init__(errors[0] + more)


def check(data: Dataset, drop_self_matches: bool = False, all_images: bool = False) -> list[Finding]:
    """Everything that is wrong with a data set's splits and images, or may be; see `inspect_dataset`."""
    findings = []
    if len(data.pool.ids) and len(data.class_names) < 2:
        findings.append(Finding("one class", f"{data.name}: all images are of one class"))
    query, database = data.query.indices.numpy(), data.database.indices.numpy()
    both = np.flatnonzero(np.isin(query, data.train.indices.numpy()))
    findings += _about(data, "query", both, "query in train", "are in train too")
    remedy = "is left out of its ranking" if drop_self_matches else "finds itself; drop_self_matches helps"
    both = np.flatnonzero(np.isin(query, database))
    findings += _about(data, "query", both, "query in database", f"are in the database too, and each {remedy}")
    for name in LIST_FILES:
        findings += _check_labels(data, name)
    if len(database):
        wanted, known = data.query.targets, data.database.targets.any(0)  # (Q, C), (C,)
        lost = np.flatnonzero((wanted.any(1) & ~wanted[:, known.bool()].any(1)).numpy())
        findings += _about(data, "query", lost, "nothing to find", "have no relevant item in the database")
    return findings + (_check_files(data, all_images) if isinstance(data.pool.images, FileImages) else [])


def _check_labels(data: Dataset, name: str) -> list[Finding]:
    """Labels and repetitions of one split."""
    split: Split = getattr(data, name)
    if not len(split):
        return []
    targets = split.targets.numpy()  # (N, C)
    bare, unused = np.flatnonzero(~targets.any(1)), np.flatnonzero(~targets.any(0))
    if len(bare) == len(split):
        return [Finding("no labels", f"{name}: none of {len(split):,} images has a label")]
    findings = _about(data, name, bare, "no label", "have no label")
    if len(unused):
        names = _few([data.class_names[label] for label in unused[:SHOWN]], len(unused))
        text = f"{name}: {len(unused)} of {len(data.class_names)} classes have no image: {names}"
        findings.append(Finding("no item", text))
    again = np.setdiff1d(np.arange(len(split)), np.unique(split.indices.numpy(), return_index=True)[1])
    return findings + _about(data, name, again, "listed twice", "stand there before")


def _check_files(data: Dataset, everything: bool) -> list[Finding]:
    """Whether the files are there and can be decoded; and, of all files, which are alike."""
    images, findings = data.pool.images, []
    sizes = images.files[:, 0]
    for size, rule, what in ((-1, "missing image", "are not there"), (-2, "leads out", "lead out of it")):
        rows = np.flatnonzero(sizes == size)
        if len(rows):
            text = _few([f"{shorten(images.paths[row])}{_place(data, row)}" for row in rows[:SHOWN]], len(rows))
            findings.append(Finding(rule, f"{images.root}: {len(rows):,} of {len(images):,} images {what}: {text}"))
    rows = np.flatnonzero(sizes >= 0)
    if not everything:
        rows = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)]
    look = dict(unit=" images", leave=False, delay=2, mininterval=1, disable=None if everything else True)
    seen = list(tqdm(images.threads.map(images.examine, rows.tolist()), "checking", len(rows), **look))
    faults = [f"{shorten(fault, 300)}{_place(data, row)}" for row, (fault, _) in zip(rows, seen, strict=True) if fault]
    if faults:
        tried = f"{len(rows):,} images" + ("" if everything else " that were tried")
        text = f"{len(faults):,} of {tried} cannot be used: {_few(faults[:SHOWN], len(faults), '; ')}"
        findings.append(Finding("unreadable image", text))
    if not everything:
        return findings
    digests = {row: digest for row, (fault, digest) in zip(rows.tolist(), seen, strict=True) if not fault}
    query = data.query.indices.tolist()
    for name in ("train", "database"):
        members = set(getattr(data, name).indices.tolist()) & digests.keys()
        held = Counter(digests[item] for item in members)
        copies = [row for row, item in enumerate(query) if item in digests and held[digests[item]] > (item in members)]
        findings += _about(data, "query", copies, "copies", f"are, byte by byte, images of other names in {name}")
    return findings


def shorten(text: str, length: int = 80) -> str:
    """A text of any length for a message: its middle is left out."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 3 :]}"


def _about(data: Dataset, name: str, rows: Sequence[int], rule: str, text: str) -> list[Finding]:
    """A finding on these rows of a split, where there are any: how many, and the first few with their lines."""
    if not len(rows):
        return []
    split = getattr(data, name)
    places = [f" ({LIST_FILES[name]}:{row + 1})" if data.listed else "" for row in rows[:SHOWN]]
    items = [f"{shorten(str(one))}{place}" for one, place in zip(split.ids[rows[:SHOWN]], places, strict=True)]
    return [Finding(rule, f"{name}: {len(rows):,} of {len(split):,} images {text}: {_few(items, len(rows))}")]


def _place(data: Dataset, item: int) -> str:
    """Where an item of the pool is listed, in brackets; nothing where it comes from no list."""
    for name, file in LIST_FILES.items() if data.listed else ():
        rows = np.flatnonzero(getattr(data, name).indices.numpy() == item)
        if len(rows):
            return f" ({file}:{rows[0] + 1})"
    return ""


def _few(texts: list[str], count: int, between: str = ", ") -> str:
    return between.join(texts) + (f"{between}…" if count > len(texts) else "")

"""What may be wrong with a data set: each finding falls under a rule, and the rule says whether it is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# An error: what is listed contradicts itself or cannot be read, or the queries were learned from; nothing is trained.
# A warning: a run makes sense, but its score may say something else than one thinks.
RULES = {
    "list": "error",  # missing, empty, or with a wrong line
    "labels differ": "error",  # an image has other labels in another line
    "one class": "error",
    "query in train": "error",
    "missing image": "error",
    "leads out": "error",  # of the root, by a link
    "unreadable image": "error",
    "query in database": "warning",  # it finds itself, unless `drop_self_matches` leaves it out
    "copies": "warning",  # files of other names, alike byte by byte, in query and train or query and database
    "listed twice": "warning",
    "no label": "warning",
    "no item": "warning",  # of a class
    "nothing to find": "warning",  # a query without a relevant item counts as 0
    "count": "warning",  # other than published
    "unknown list": "warning",  # its SHA-256 is not that of the published one
}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
        rule: One of `RULES`.
        text: One line: how many, of what, and the first few with file and line.

    Example:
        >>> print(Finding("no label", "test.txt: 2 of 10 images have no label"))
        warning: test.txt: 2 of 10 images have no label
    """

    rule: str
    text: str

    @property
    def level(self) -> str:
        """`error` or `warning`."""
        return RULES[self.rule]

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


class DataError(ValueError):
    """Data that nothing is trained on; its text is the first error, in one line.

    Attributes:
        findings: All, warnings too.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding.text for finding in findings if finding.level == "error"]
        more = f" (and {len(errors) - 1} more; relahash check lists all)" if len(errors) > 1 else ""
        super().__init__(errors[0] + more)

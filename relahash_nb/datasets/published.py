"""The published data sets that come as list files: what they should hold, and whether they do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relahash_nb.datasets.findings import Finding
from relahash_nb.datasets.lists import LIST_FILES


@dataclass(frozen=True)
class Published:
    """What a published data set holds.

    Attributes:
        classes: How many.
        counts: Lines of each list.
        sha256: Of each list, where it is known.
        notes: By rule, what is known of it.
    """

    classes: int
    counts: Mapping[str, int]
    sha256: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)


PUBLISHED = {
    # HashNet's lists, which all that came after share.
    "imagenet100": Published(
        classes=100,
        counts={"train": 13_000, "query": 5_000, "database": 128_503},
        sha256={
            "train": "c141cb443b3c674cd2b1e69700eadf85208a280f33ea15bd70edc082f94716d4",
            "query": "0aadea2e9afadd0e79ea734278b9dc390e66f6c10234d0b029c12fc6514885ed",
            "database": "a23990649ead18c4b76764336e2175dda06d495bcc8c026a2158c81b41b2aa92",
        },
    ),
    # DeepHash-pytorch's. Another split of the same sizes goes by the same name.
    "nuswide_21": Published(
        classes=21,
        counts={"train": 10_500, "query": 2_100, "database": 193_734},
        sha256={
            "train": "c31007d63075cc173cb368f91475e4072a76b312b7dca0d14e88b1cc23586851",
            "query": "bbdbc13c08e340068064eb4f9849f33800139816fbe0e0792d5a49953581b41f",
        },
        notes={
            "list": "nuswide_21's database list has 193,734 lines, and copies of the lists often lack it; "
            "the README, Data, says where it may be had"
        },
    ),
    # HashNet's: the database has all queries, and none of the training images. Another split goes by the same name.
    "coco": Published(
        classes=80,
        counts={"train": 10_000, "query": 5_000, "database": 112_218},
        sha256={
            "train": "95b0e4222a23dca457f5026b303cdca78772d00d973553d5651bc69a5028fa30",
            "query": "b3db5fc7d3ee0bd97de6d890a5ea592c6874fb88e255bc680b341cddd35d6d4a",
            "database": "2f0778ca6f0a66fb524fe3d332a155f849c10c962f9c432008da039c32de854c",
        },
        notes={"query in database": "HashNet's published COCO lists are so"},
    ),
}


def check_published(published: Published, root: Path, lengths: Mapping[str, int]) -> list[Finding]:
    """Whether the lists are the published ones.

    Args:
        published: What should be there.
        root: The folder with the lists.
        lengths: Lines of each list that could be read.
    """
    findings = []
    for name, length in lengths.items():
        file, known = root / LIST_FILES[name], published.sha256.get(name)
        with file.open("rb") as content:
            is_known = known is not None and hashlib.file_digest(content, "sha256").hexdigest() == known
        if length != published.counts[name]:
            text = f"{file}: {length:,} images; the published list has {published.counts[name]:,}"
            findings.append(Finding("count", text))
        elif known is not None and not is_known:
            text = "as many images as in the published list, but its SHA-256 is another; scores may not be comparable"
            findings.append(Finding("unknown list", f"{file}: {text}"))
    return findings

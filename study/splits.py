"""Other splits of data in list format: images with the same labels change places between query, train and database.

    python -m study.splits data/miniimagenet100_10k 1 2 3 4

writes data/splits/1/miniimagenet100_10k and so on, with the same number of images of each kind in each list. An image
whose labels no other has stays where it is. The images are hard links; the folder keeps its name, so that
`sweep --tuned` finds the searches of the first split.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

LISTS = ("train.txt", "test.txt", "database.txt")


def main(root: str, *seeds: str) -> None:
    """Write the splits of a folder for these seeds."""
    source = Path(root)
    lists = {name: (source / name).read_text(encoding="utf-8").splitlines() for name in LISTS}
    images = {line.split()[0] for lines in lists.values() for line in lines}
    for seed in seeds:
        target = source.parent / "splits" / seed / source.name
        link_images(source, target, images)
        for name, lines in shuffle_lists(lists, int(seed)).items():
            (target / name).write_text("\n".join([*lines, ""]), encoding="utf-8")
        print(target)


def shuffle_lists(lists: dict[str, list[str]], seed: int) -> dict[str, list[str]]:
    """The lines of each list with other images, `path labels` a line.

    Example:
        >>> shuffle_lists({"train": ["a 0 1"], "test": ["b 0 1", "c 1 0"]}, seed=3)
        {'train': ['b 0 1'], 'test': ['a 0 1', 'c 1 0']}
    """
    alike = defaultdict(list)
    for line in dict.fromkeys(line for lines in lists.values() for line in lines):
        alike[line.split(maxsplit=1)[1]].append(line)
    generator = np.random.default_rng(seed)
    other: dict[str, str] = {}
    for lines in alike.values():
        other |= zip(lines, generator.permutation(lines).tolist(), strict=True)
    return {name: [other[line] for line in lines] for name, lines in lists.items()}


def link_images(source: Path, target: Path, images: Iterable[str]) -> None:
    """Hard links to the images below another folder; those that are there stay."""
    for image in images:
        place = target / image
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(source / image, place)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Answers as thumbnails, and a place to drop pictures on: for a notebook, a Voila page, or a file."""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
from PIL import ImageOps

from relahash_nb.pictures import open_picture, read_square
from relahash_search.index import HashIndex, absolute_path
from relahash_search.pictures import File

SIDE = 140  # pixels, at most, of a thumbnail's height and width
STYLE = "width:140px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere"


class Match(NamedTuple):
    """A picture that a search found: its distance in bits, its path, and whether it is the query itself."""

    distance: int
    path: str
    is_query: bool


Answer = list[Match] | str  # nearest first; or why the query cannot be read


def nearest(index: HashIndex, pictures: Mapping[str, File], k: int = 20) -> dict[str, Answer]:
    """Find the k nearest of each picture, by its name; of a picture that cannot be read, say why not."""
    answers: dict[str, Answer] = {}
    for name, picture in pictures.items():
        try:
            distances, paths = index.search([picture], k)
        except ValueError as error:
            answers[name] = str(error)
            continue
        query_path = absolute_path(picture)
        answers[name] = [
            Match(distance, path, path == query_path)
            for distance, path in zip(distances[0].tolist(), paths[0], strict=True)
        ]
    return answers


def thumbnails(pictures: Mapping[str, File], answers: Mapping[str, Answer]) -> str:
    """Draw the answers of `nearest` as HTML: a row for each query, its picture first, then answers and distances."""
    rows = []
    for name, answer in answers.items():
        if isinstance(answer, str):
            message = html.escape(f"{name}: {answer}")
            rows.append(f"<p>{message}</p>")
            continue
        figures = [figure(pictures[name], name, "query")]
        for match in answer:
            caption = f"{match.distance} bits"
            if match.is_query:
                caption += ", the query itself"
            figures.append(figure(match.path, match.path, caption))
        rows.append(f'<div style="display:flex;flex-wrap:wrap">{"".join(figures)}</div>')
    return "\n".join(rows)


def figure(picture: File, name: str, caption: str) -> str:
    """Draw one picture as HTML, with a caption and the last part of its name."""
    try:
        content = thumbnail(picture)
        shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(content).decode()}">'
    except (OSError, ValueError):
        shown = "(not there any more)"
    title = html.escape(name)
    last = html.escape(Path(name).name)
    below = f"<figcaption><b>{caption}</b><br>{last}</figcaption>"
    return f'<figure style="{STYLE}" title="{title}">{shown}{below}</figure>'


def thumbnail(picture: File) -> bytes:
    """Shrink a picture to a JPEG file of at most `SIDE` pixels; an OSError or a ValueError says why not."""
    small = ImageOps.contain(open_picture(picture, smallest=SIDE), (SIDE, SIDE))
    file = BytesIO()
    small.save(file, "JPEG")
    return file.getvalue()


def small_images(paths: Sequence[str], side: int = 64) -> np.ndarray:
    """Read pictures as squares for a figure: (N, 3, side, side) uint8."""
    return np.array([read_square(path, side) for path in paths], dtype=np.uint8).reshape(-1, 3, side, side)


def show_duplicates(index: HashIndex, radius: int, groups: int = 5, k: int = 11) -> str:
    """Draw near-duplicates as HTML: their number, and the largest groups with distances from their first pictures.

    Args:
        index: An index.
        radius: As for `HashIndex.duplicates`.
        groups: Number of groups that are drawn.
        k: Number of pictures, at most, that are drawn beside the first of a group.
    """
    found = index.duplicates(radius)
    largest = sorted(found, key=len, reverse=True)[:groups]
    paths, codes = index.codes()
    code_of = dict(zip(paths, codes, strict=True))
    answers: dict[str, Answer] = {}
    for first, *others in largest:
        matches = []
        for other in others[:k]:
            distance = int(np.bitwise_count(code_of[first] ^ code_of[other]).sum())
            matches.append(Match(distance, other, False))
        answers[first] = matches
    pictures = {first: first for first in answers}
    count = sum(len(group) for group in found)
    return f"<p>{len(found)} groups, {count} pictures</p>{thumbnails(pictures, answers)}"


def choose_radius(index: HashIndex, radius: int, k: int = 11) -> ipywidgets.VBox:
    """Make a slider for the radius, from `radius` on; below it the near-duplicates that `show_duplicates` draws."""
    slider = ipywidgets.IntSlider(radius, 0, index.card["bits"] // 4, description="radius", continuous_update=False)
    shown = ipywidgets.HTML(show_duplicates(index, radius, k=k))

    def on_move(change: Mapping[str, Any]) -> None:
        shown.value = show_duplicates(index, change["new"], k=k)

    slider.observe(on_move, "value")
    return ipywidgets.VBox([slider, shown])


def add_pictures(index: HashIndex, files: Mapping[str, bytes], folder: Path) -> str:
    """Write files, by their names, into a folder, and add its pictures to an index; return a sentence that says so."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
    index.add(folder)
    return f"{len(index):,} pictures are in the index"


def drop_pictures(answer: Callable[[dict[str, bytes]], str]) -> ipywidgets.VBox:
    """Make a place to drop pictures on, or to choose them.

    Without anywidget, pictures can only be chosen.

    Args:
        answer: Gives the HTML that is shown below the place, from the names and contents of the files.
    """
    shown = ipywidgets.HTML()

    def show(files: dict[str, bytes]) -> None:
        shown.value = answer(files)

    def on_drop(widget: Any, names: Sequence[str], contents: Sequence[memoryview]) -> None:
        show({name: bytes(content) for name, content in zip(names, contents, strict=True)})

    def on_upload(change: Mapping[str, Any]) -> None:
        show(uploaded(change["new"]))

    try:
        import anywidget
    except ImportError:
        upload = ipywidgets.FileUpload(accept="image/*", multiple=True)
        upload.observe(on_upload, "value")
        return ipywidgets.VBox([upload, shown])
    place = anywidget.AnyWidget(_esm=Path(__file__).with_name("drop.js").read_text(encoding="utf-8"))
    place.on_msg(on_drop)
    return ipywidgets.VBox([place, shown])


def uploaded(value: Any) -> dict[str, bytes]:
    """Names and contents of what a FileUpload holds: a dictionary in ipywidgets 7, a tuple in ipywidgets 8."""
    if isinstance(value, dict):
        return {name: bytes(file["content"]) for name, file in value.items()}
    return {file["name"]: bytes(file["content"]) for file in value}

"""Answers as thumbnails, and a place to drop pictures on: for a notebook, a Voila page, or a file."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import ipywidgets
from PIL import Image

from relahash_nb.datasets.images import FORMATS, to_rgb
from relahash_nb.search.index import HashIndex

Answer = list[tuple[int, str, bool]] | str  # distance, path, and whether it is the query itself; or why there is none
SIDE = 140  # pixels of a thumbnail, at most


def nearest(index: HashIndex, pictures: Mapping[str, Any], k: int = 20) -> dict[str, Answer]:
    """The k nearest of each picture (a path, or a file's bytes) by its name; of one that cannot be read, why not."""
    answers: dict[str, Answer] = {}
    for name, picture in pictures.items():
        try:
            distances, paths = index.search([picture], k)
            own = index.find(picture)
            found = zip(distances[0].tolist(), paths[0], strict=True)
            answers[name] = [(distance, path, path == own) for distance, path in found]
        except ValueError as error:
            answers[name] = str(error)
    return answers


def thumbnails(pictures: Mapping[str, Any], answers: Mapping[str, Answer]) -> str:
    """HTML: a row for each query, its picture first, with the answers of `nearest` and their distances."""
    rows = []
    for name, answer in answers.items():
        if isinstance(answer, str):
            rows.append(f"<p>{html.escape(name)}: {html.escape(answer)}</p>")
            continue
        row = [figure(pictures[name], "query", name)]
        row += [figure(path, f"{far} bits{', the query itself' * itself}", path) for far, path, itself in answer]
        rows.append(f'<div style="display:flex;flex-wrap:wrap">{"".join(row)}</div>')
    return "\n".join(rows)


def figure(picture: Any, caption: str, name: str) -> str:
    """A picture as a thumbnail in HTML, with a caption and the last part of its name, which stands whole in its title."""
    try:
        with Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture, formats=FORMATS) as image:
            image.draft(None, (2 * SIDE, 2 * SIDE))
            small = to_rgb(image)
            small.thumbnail((SIDE, SIDE))
            small.save(buffer := BytesIO(), "JPEG")
        source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        shown = f'<img src="{source}" alt="{html.escape(Path(name).name)}">'
    except (OSError, ValueError):
        shown = "(not there any more)"
    text = f"<figcaption><b>{caption}</b><br>{html.escape(Path(name).name)}</figcaption>"
    style = f"width:{SIDE}px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere"
    return f'<figure style="{style}" title="{html.escape(name)}">{shown}{text}</figure>'


def drop_pictures(answer: Callable[[dict[str, bytes]], str]) -> ipywidgets.VBox:
    """A place to drop pictures on, or to choose them; below it the HTML that `answer` makes of names and contents."""
    shown = ipywidgets.HTML()

    def show(files: dict[str, bytes]) -> None:
        shown.value = "searching …"
        shown.value = answer(files)

    try:
        import anywidget

        place = anywidget.AnyWidget(_esm=Path(__file__).with_name("drop.js"))
        place.on_msg(lambda _, content, buffers: show(dict(zip(content, map(bytes, buffers), strict=True))))
    except ImportError:
        place = ipywidgets.FileUpload(accept="image/*", multiple=True)
        place.observe(lambda change: show(uploaded(change["new"])), "value")
    return ipywidgets.VBox([place, shown])


def uploaded(value: Any) -> dict[str, bytes]:
    """Names and contents of what a FileUpload of ipywidgets 7 (a dictionary) or 8 (a tuple) holds.

    Example:
        >>> uploaded({"a.png": {"content": b"1"}}) == uploaded(({"name": "a.png", "content": memoryview(b"1")},))
        True
    """
    files = value.items() if isinstance(value, dict) else [(file["name"], file) for file in value]
    return {name: bytes(file["content"]) for name, file in files}

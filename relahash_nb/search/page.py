"""Answers as thumbnails, and a place to drop pictures on: for a notebook, a Voila page, or a file."""

import base64
import html
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import ipywidgets
from PIL import Image, ImageOps

from relahash_nb.datasets.images import FORMATS, to_rgb
from relahash_nb.search.index import HashIndex

Answer = list[tuple[int, str, bool]] | str  # distance, path, whether it is the query itself; or why there is none
STYLE = "width:140px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere"


def nearest(index: HashIndex, pictures: Mapping[str, Any], k: int = 20) -> dict[str, Answer]:
    """The k nearest of each picture (a path, or a file's bytes) by its name; of one that cannot be read, why not."""
    answers: dict[str, Answer] = {}
    for name, picture in pictures.items():
        try:
            (distances,), (paths,) = index.search([picture], k)
            own = str(Path(name).absolute())
            answers[name] = [(far, path, path == own) for far, path in zip(distances.tolist(), paths, strict=True)]
        except ValueError as error:
            answers[name] = str(error)
    return answers


def thumbnails(pictures: Mapping[str, Any], answers: Mapping[str, Answer]) -> str:
    """HTML: a row for each query, its picture first, with the answers of `nearest` and their distances."""
    rows = []
    for name, answer in answers.items():
        if isinstance(answer, str):
            rows.append(f"<p>{html.escape(f'{name}: {answer}')}</p>")
            continue
        row = [figure(pictures[name], name, "query")]
        row += [figure(path, path, f"{far} bits{', the query itself' * itself}") for far, path, itself in answer]
        rows.append(f'<div style="display:flex;flex-wrap:wrap">{"".join(row)}</div>')
    return "\n".join(rows)


def figure(picture: Any, name: str, caption: str) -> str:
    """A picture (a path, or a file's bytes) with a caption and the last part of its name, as HTML."""
    try:
        with Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture, formats=FORMATS) as image:
            ImageOps.contain(to_rgb(image), (140, 140)).save(buffer := BytesIO(), "JPEG")
        shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    except (OSError, ValueError):
        shown = "(not there any more)"
    name, last = html.escape(name), html.escape(Path(name).name)
    return f'<figure style="{STYLE}" title="{name}">{shown}<figcaption><b>{caption}</b><br>{last}</figcaption></figure>'


def drop_pictures(answer: Callable[[dict[str, bytes]], str]) -> ipywidgets.VBox:
    """A place to drop pictures on, or to choose them; below it the HTML that `answer` makes of names and contents."""
    shown = ipywidgets.HTML()
    show = lambda files: shown.set_trait("value", answer(files))
    try:
        import anywidget

        place = anywidget.AnyWidget(_esm=Path(__file__).with_name("drop.js").read_text())
        place.on_msg(lambda _, names, contents: show(dict(zip(names, map(bytes, contents), strict=True))))
    except ImportError:
        place = ipywidgets.FileUpload(accept="image/*", multiple=True)
        place.observe(lambda change: show(uploaded(change["new"])), "value")
    return ipywidgets.VBox([place, shown])


def uploaded(value: Any) -> dict[str, bytes]:
    """Names and contents of what a FileUpload of ipywidgets 7 (a dictionary) or 8 (a tuple) holds."""
    files = value.items() if isinstance(value, dict) else [(file["name"], file) for file in value]
    return {name: bytes(file["content"]) for name, file in files}

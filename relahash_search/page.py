"""Answers as thumbnails, and a place to drop pictures on: for a notebook, a Voila page, or a file."""

import base64
import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from PIL import ImageOps

from relahash_nb.pictures import open_picture, read_square
from relahash_search.duplicates import Group, find_duplicates
from relahash_search.index import Index, Match

SIDE = 140  # pixels, at most, of a thumbnail's height and width
LONGEST = 30  # letters, at most, of a file's name before and after its last dot, of up to four bytes each
STYLE = "width:140px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere"
ROW = '<div style="display:flex;flex-wrap:wrap">{}</div>'

File = str | Path | bytes  # a path, or the content of a file
Answer = list[Match] | str  # nearest first; or why the query cannot be read


def index_folder(parent: Path, folder: str | Path, model: str) -> Path:
    """Where the page keeps the index of a folder: one for each folder and model, also of folders of one name."""
    place = Path(folder).expanduser().resolve()
    digest = hashlib.sha256(f"{place}\n{model}".encode(errors="surrogateescape")).hexdigest()
    return parent / f"{place.name}-{digest[:12]}"


def warn_of_dataset(card: Mapping[str, Any]) -> str:
    """A warning, as HTML, that a run's model was trained on other images; empty of a baseline."""
    if card["run"] is None:
        return ""
    text = f"This model was trained on {card['dataset']}. Its codes say little about other pictures: "
    text += "leave run_id out for a backbone that has seen photographs."
    return f'<p style="color:#b00020;font-weight:bold">{html.escape(text)}</p>'


def nearest(index: Index, pictures: Mapping[str, File], k: int = 20) -> dict[str, Answer]:
    """Find the k nearest of each picture, by its name; of a picture that cannot be read, say why not."""
    answers: dict[str, Answer] = {}
    for name, picture in pictures.items():
        try:
            answers[name] = index.search(picture, k)
        except (OSError, ValueError) as error:
            answers[name] = str(error)
    return answers


def in_bits(distance: int) -> str:
    """A Hamming distance in words."""
    return "1 bit" if distance == 1 else f"{distance} bits"


def answers_html(pictures: Mapping[str, File], answers: Mapping[str, Answer]) -> str:
    """Draw the answers of `nearest` as HTML: a row for each query, its picture first, then answers and distances."""
    rows = []
    for name, answer in answers.items():
        if isinstance(answer, str):
            message = html.escape(f"{name}: {answer}")
            rows.append(f"<p>{message}</p>")
            continue
        figures = [figure(pictures[name], name, "query")]
        for match in answer:
            caption = in_bits(match.distance)
            if match.is_same_file:
                caption += ", the same file"
            if match.state:
                caption += f", {match.state}"
            figures.append(figure(match.path, match.path, caption))
        rows.append(ROW.format("".join(figures)))
    return "\n".join(rows)


def groups_html(groups: Sequence[Group], k: int | None = None) -> str:
    """Draw groups of duplicates as HTML: a row for each; `k`: of each group no more than so many pictures."""
    rows = []
    for group in groups:
        rows.append(f"<h4>{group.kind}, {len(group.copies)} pictures</h4>")
        figures = []
        for copy in group.copies[:k]:
            caption = f"{in_bits(copy.distance)}, {copy.size:,} bytes, {copy.width}×{copy.height}"
            figures.append(figure(copy.path, copy.path, caption))
        rows.append(ROW.format("".join(figures)))
    return "\n".join(rows)


def whole_page(title: str, body: str) -> str:
    """A page that needs no other file."""
    return f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>\n{body}'


def figure(picture: File, name: str, caption: str) -> str:
    """Draw one picture as HTML, with a caption, its folder and its name."""
    try:
        content = thumbnail(picture)
        shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(content).decode()}">'
    except (OSError, ValueError):
        shown = "(cannot be shown: gone, or broken)"
    title = html.escape(name)
    shortened = html.escape("/".join(Path(name).parts[-2:]))
    below = f"<figcaption><b>{caption}</b><br>{shortened}</figcaption>"
    return f'<figure style="{STYLE}" title="{title}">{shown}{below}</figure>'


def thumbnail(picture: File) -> bytes:
    """Shrink a picture to a JPEG file of at most `SIDE` pixels; an OSError or a ValueError says why not."""
    small = ImageOps.contain(open_picture(picture, smallest=SIDE), (SIDE, SIDE))
    file = BytesIO()
    small.save(file, "JPEG")
    return file.getvalue()


def small_images(paths: Sequence[str], side: int = 64) -> np.ndarray:
    """Read pictures as squares for a figure: (N, 3, side, side) uint8; one that cannot be read is grey."""
    images = np.full((len(paths), 3, side, side), 128, np.uint8)
    for row, path in enumerate(paths):
        try:
            images[row] = read_square(path, side)
        except (OSError, ValueError):
            continue
    return images


def duplicates_html(index: Index, radius: int, groups: int = 5, k: int = 12) -> str:
    """Draw duplicates as HTML: how many there are, and the largest groups.

    Args:
        index: An index.
        radius: As for `find_duplicates`.
        groups: Number of groups that are drawn.
        k: Number of pictures, at most, that are drawn of a group.
    """
    found = find_duplicates(index.tables, radius).groups
    largest = sorted(found, key=lambda group: (group.kind == "near", -len(group.copies)))[:groups]
    count = sum(len(group.copies) for group in found)
    return f"<p>{len(found)} groups, {count} pictures</p>{groups_html(largest, k)}"


def choose_radius(index: Index, radius: int, k: int = 12) -> ipywidgets.VBox:
    """Make a slider for the radius, from `radius` on; below it the duplicates that `duplicates_html` draws."""
    slider = ipywidgets.IntSlider(radius, 0, index.card["bits"] // 4, description="radius", continuous_update=False)
    shown = ipywidgets.HTML(duplicates_html(index, radius, k=k))

    def on_move(change: Mapping[str, Any]) -> None:
        shown.value = duplicates_html(index, change["new"], k=k)

    slider.observe(on_move, "value")
    return ipywidgets.VBox([slider, shown])


def add_pictures(index: Index, files: Mapping[str, bytes], folder: Path) -> str:
    """Write files into a folder, none over another, and bring an index up to date with it; return a sentence on it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        save_upload(folder, name, content)
    update = index.update(folder)
    return f"{update}; {len(index):,} pictures are in the index"


def save_upload(folder: Path, name: str, content: bytes) -> Path:
    """Write a file that somebody sent: another of its name gets a number; the same one again is not written twice."""
    wanted = Path(name.replace("\\", "/").rpartition("/")[2].lstrip(".") or "picture")
    stem = wanted.stem[:LONGEST]
    number = 1
    path = folder / f"{stem}{wanted.suffix[:LONGEST]}"
    while True:
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            if path.is_file() and path.read_bytes() == content:
                return path
        number += 1
        path = folder / f"{stem}-{number}{wanted.suffix[:LONGEST]}"


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

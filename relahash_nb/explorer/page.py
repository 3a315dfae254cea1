"""A view as the browser gets it: names and numbers as JSON, tables and images as bytes, all of it once."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

from relahash_nb.explorer.view import View
from relahash_nb.files import write
from relahash_nb.plots.style import RIGHT, WRONG

FOLDER = Path(__file__).parent


def pack_state(view: View) -> dict[str, Any]:
    """Gives the state of an explorer: what JSON can hold, the tables as little-endian bytes, a sheet of thumbnails."""
    sheet, columns, rows = draw_sheet(view.thumbnails)
    query, radius = view.start
    return {
        "view": {
            "name": view.title,
            "bits": view.bits,
            "groups": view.groups,
            "sizes": view.sizes,
            "members": view.members,
            "query_labels": view.query_labels,
            "query_thumbnails": view.query_thumbnails.tolist(),
            "nearest_labels": view.nearest_labels,
            "nearest_distances": view.nearest_distances.tolist(),
            "nearest_relevant": view.nearest_relevant.tolist(),
            "nearest_thumbnails": view.nearest_thumbnails.tolist(),
            "sheet": {"columns": columns, "rows": rows},
            "colours": [RIGHT, WRONG],
        },
        "relevant": view.relevant.astype("<u4").tobytes(),
        "irrelevant": view.irrelevant.astype("<u4").tobytes(),
        "precision": view.precision.astype("<f4").tobytes(),
        "recall": view.recall.astype("<f4").tobytes(),
        "thumbnails": sheet,
        "group": 0,
        "query": query,
        "radius": radius,
    }


def draw_sheet(images: np.ndarray) -> tuple[bytes, int, int]:
    """Draws images (T, 1 or 3, h, w) uint8 as tiles of one WebP image; gives its bytes, columns and rows."""
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = Image.new("L" if channels == 1 else "RGB", (columns * width, rows * height))
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        pixels = image[0] if channels == 1 else np.moveaxis(image, 0, -1)  # (h, w) or (h, w, 3)
        sheet.paste(Image.fromarray(pixels), (column * width, row * height))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=80)
    return file.getvalue(), columns, rows


def export_html(views: View | Sequence[View], path: Path | str, links: Mapping[str, str] | None = None) -> Path:
    """Writes the explorer as a page that needs no kernel, server or network, and gives the page's path.

    Args:
        views: One run, or several with a menu.
        path: The file; its folder must exist.
        links: Titles and addresses of other pages, for the head of the page.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    if isinstance(views, View):
        views = [views]
    states = [pack_state(view) for view in views]
    state = json.dumps(states, separators=(",", ":"), default=encode_bytes)
    anchors = [f"<a href={quoteattr(address)}>{escape(title)}</a>" for title, address in (links or {}).items()]
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        style=(FOLDER / "explorer.css").read_text(encoding="utf-8"),
        links=" · ".join(anchors),
        state=state.replace("<", "\\u003c"),  # so that no name opens or ends a tag
        script=base64.b64encode((FOLDER / "explorer.js").read_bytes()).decode(),
    )
    write(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def encode_bytes(data: bytes) -> dict[str, str]:
    """Makes bytes fit for JSON; the page's script reads them back."""
    return {"base64": base64.b64encode(data).decode()}

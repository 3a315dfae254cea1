"""A view as the browser gets it: names and numbers as JSON, tables and images as bytes, once."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

from relahash_nb.explorer.view import TABLES, View
from relahash_nb.files import write
from relahash_nb.plots.style import RIGHT, WRONG

FOLDER = Path(__file__).parent


def pack_state(view: View) -> dict[str, Any]:
    """The state of an explorer: `view` for JSON, thumbnails as one WebP sheet, tables as little-endian bytes."""
    sheet, columns, rows = draw_sheet(view.thumbnails)
    narrow = "<u2" if max(view.relevant.max(), view.irrelevant.max()) < 1 << 16 else "<u4"
    kinds = narrow, narrow, "<f4", "<f4"
    names = ("query_thumbnails", "nearest_labels", "nearest_distances", "nearest_relevant", "nearest_thumbnails")
    return {
        "view": {
            "name": view.title,
            **{name: getattr(view, name) for name in ("bits", "groups", "sizes", "members", "labels")},
            "queries": view.query_labels.tolist(),
            "colours": [RIGHT, WRONG],
            "sheet": {"columns": columns, "rows": rows},
            **{name: getattr(view, name).tolist() for name in names},
        },
        **{name: getattr(view, name).astype(kind).tobytes() for name, kind in zip(TABLES, kinds, strict=True)},
        "thumbnails": sheet,
        "group": 0,
        "query": view.start[0],
        "radius": view.start[1],
    }


def draw_sheet(images: np.ndarray) -> tuple[bytes, int, int]:
    """Images (T, 1 or 3, h, w) uint8 as tiles of one WebP image; its bytes, columns and rows."""
    images = np.moveaxis(images, 1, -1)  # (T, h, w, 1 or 3)
    columns = int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    images = np.pad(images, ((0, rows * columns - len(images)), (0, 0), (0, 0), (0, 0)))
    grid = images.reshape(rows, columns, *images.shape[1:]).swapaxes(1, 2)  # (rows, h, columns, w, 1 or 3)
    sheet = grid.reshape(rows * grid.shape[1], columns * grid.shape[3], -1)
    file = io.BytesIO()
    Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet).save(file, "WEBP", quality=80)
    return file.getvalue(), columns, rows


def export_html(views: View | Sequence[View], path: Path | str, links: Mapping[str, str] | None = None) -> Path:
    """Writes the explorer of one run, or of several with a menu, as a page that needs no kernel, server or network.

    Its folder must exist; `links` are addresses of other pages by their titles. Gives the path.
    """
    states = [pack_state(view) for view in ([views] if isinstance(views, View) else views)]
    text = json.dumps(states, separators=(",", ":"), default=lambda data: {"base64": base64.b64encode(data).decode()})
    page = Template((FOLDER / "page.html").read_text()).substitute(
        style=(FOLDER / "explorer.css").read_text(),
        links=" · ".join(f"<a href={quoteattr(link)}>{escape(title)}</a>" for title, link in (links or {}).items()),
        state=text.replace("<", "\\u003c"),  # so that no name opens or ends a tag
        script=base64.b64encode((FOLDER / "explorer.js").read_bytes()).decode(),
    )
    write(Path(path), lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return Path(path)

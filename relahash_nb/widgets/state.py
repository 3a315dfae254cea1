"""A view as the browser gets it: names and numbers as JSON, tables and images as bytes, once."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from relahash_nb.files import write
from relahash_nb.plots.style import RIGHT, WRONG
from relahash_nb.widgets.view import View

FOLDER = Path(__file__).parent


def pack_state(view: View) -> dict[str, Any]:
    """The state of an explorer: `view` for JSON, tables as little-endian bytes, thumbnails as one WebP sheet of tiles.

    Counts are uint16 where all of them fit, else uint32; precision and recall are float32. It starts at the first
    query, with a threshold of an eighth of the bits.
    """
    sheet, columns, rows = draw_sheet(view.thumbnails)
    narrow = "<u2" if max(view.relevant.max(), view.irrelevant.max()) < 1 << 16 else "<u4"
    names = ("query_thumbnails", "nearest_labels", "nearest_distances", "nearest_relevant", "nearest_thumbnails")
    return {
        "view": {
            "name": view.name,
            "bits": view.bits,
            "groups": view.groups,
            "sizes": view.sizes,
            "members": view.members,
            "labels": view.labels,
            "queries": view.query_labels.tolist(),
            "colours": [to_hex(RIGHT), to_hex(WRONG)],
            "sheet": {"columns": columns, "rows": rows},
            **{name: getattr(view, name).tolist() for name in names},
        },
        "relevant": view.relevant.astype(narrow).tobytes(),
        "irrelevant": view.irrelevant.astype(narrow).tobytes(),
        "precision": view.precision.astype("<f4").tobytes(),
        "recall": view.recall.astype("<f4").tobytes(),
        "thumbnails": sheet,
        "group": 0,
        "query": 1,
        "radius": view.bits // 8,
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


def export_html(view: View, path: Path | str) -> Path:
    """Writes the explorer as one page that needs no kernel, no server and no network.

    Args:
        view: What to show.
        path: Of the page, in a folder that exists.

    Returns:
        The path.

    Raises:
        OSError: The page cannot be written; what was there is still there.
    """
    state = {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in pack_state(view).items()
    }
    page = Template((FOLDER / "page.html").read_text()).substitute(
        style=(FOLDER / "explorer.css").read_text(),
        state=json.dumps(state, separators=(",", ":")).replace("</", "<\\/"),  # no class name ends the script
        script=base64.b64encode((FOLDER / "explorer.js").read_bytes()).decode(),
    )
    write(Path(path), lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return Path(path)

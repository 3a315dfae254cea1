"""The explorer drawn in the browser: an anywidget. Importing this file needs anywidget."""

from pathlib import Path

import anywidget
import traitlets

from relahash_nb.explorer.page import FOLDER, pack_state
from relahash_nb.explorer.view import View


class HammingExplorer(anywidget.AnyWidget):
    """Sliders for query, class and threshold over figures that the browser draws from what is sent once.

    The positions come back to Python, which may set them too: `group`, `query` (from 1; 0 is the mean) and `radius`.
    """

    _esm: Path = FOLDER / "explorer.js"
    _css: Path = FOLDER / "explorer.css"
    view = traitlets.Dict().tag(sync=True)
    relevant, irrelevant, precision, recall, thumbnails = (traitlets.Bytes().tag(sync=True) for _ in range(5))
    group, query, radius = (traitlets.Int(start).tag(sync=True) for start in (0, 1, 0))

    def __init__(self, view: View):
        super().__init__(**pack_state(view))

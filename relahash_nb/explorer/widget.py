"""The explorer that the browser draws: an anywidget. Importing this file needs anywidget."""

import anywidget
import traitlets

from relahash_nb.explorer.page import FOLDER, pack_state
from relahash_nb.explorer.view import View


class HammingExplorer(anywidget.AnyWidget):
    """Sliders for query, class and threshold over figures that the browser draws from what is sent once.

    The positions of the sliders come back to Python, which may set them too: `group`, `query` (counted from 1; 0 is the
    mean of the group) and `radius`, the threshold in bits. The other traits are those of `pack_state`.
    """

    _esm = FOLDER / "explorer.js"
    _css = FOLDER / "explorer.css"
    view = traitlets.Dict().tag(sync=True)
    relevant = traitlets.Bytes().tag(sync=True)
    irrelevant = traitlets.Bytes().tag(sync=True)
    precision = traitlets.Bytes().tag(sync=True)
    recall = traitlets.Bytes().tag(sync=True)
    thumbnails = traitlets.Bytes().tag(sync=True)
    group = traitlets.Int(0).tag(sync=True)
    query = traitlets.Int(1).tag(sync=True)
    radius = traitlets.Int(0).tag(sync=True)

    def __init__(self, view: View) -> None:
        super().__init__(**pack_state(view))

"""The explorer drawn in the browser: an anywidget. Importing this file needs anywidget."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from relahash_nb.explorer.page import FOLDER, pack_state
from relahash_nb.explorer.view import View


class HammingExplorer(anywidget.AnyWidget):
    """Query, class and threshold under sliders; histograms, precision, recall and nearest images redraw as they move.

    Everything is sent to the browser once, so a move asks no kernel, and an exported page needs none. The positions of
    the sliders come back when they are let go: `group`, `query` (1 is the first one of the group, 0 the mean of all)
    and `radius`, which may be set from Python too.

    Args:
        view: What to show; `show` takes another one later.
    """

    _esm: Path = FOLDER / "explorer.js"
    _css: Path = FOLDER / "explorer.css"
    view = traitlets.Dict().tag(sync=True)
    relevant = traitlets.Bytes().tag(sync=True)
    irrelevant = traitlets.Bytes().tag(sync=True)
    precision = traitlets.Bytes().tag(sync=True)
    recall = traitlets.Bytes().tag(sync=True)
    thumbnails = traitlets.Bytes().tag(sync=True)
    group = traitlets.Int(0).tag(sync=True)
    query = traitlets.Int(1).tag(sync=True)
    radius = traitlets.Int(0).tag(sync=True)

    def __init__(self, view: View):
        super().__init__(**pack_state(view))

    def show(self, view: View) -> None:
        """Shows another run, from where it starts."""
        with self.hold_sync():  # one message, so that the browser never sees half of it
            for name, value in pack_state(view).items():
                setattr(self, name, value)

"""The explorer without a custom widget: ipywidgets' own sliders, which any notebook shows, over one figure."""

from __future__ import annotations

import ipywidgets

from relahash_nb.widgets.panel import Panel
from relahash_nb.widgets.view import View


class PlainExplorer(ipywidgets.VBox):
    """Query, class and threshold over a figure that the kernel redraws; of ipywidgets what 7.7 and 8 share.

    Args:
        view: What to show; `show` takes another one later.
    """

    def __init__(self, view: View):
        self.group = ipywidgets.Dropdown(description="class")
        self.query = ipywidgets.IntSlider(description="query", min=0, max=1)
        self.radius = ipywidgets.IntSlider(description="threshold", min=0)
        self.image = ipywidgets.Image(format="png")
        self.image.layout.max_width = "100%"
        for control in (self.group, self.query, self.radius):
            control.observe(self.redraw, "value")
        super().__init__([self.group, self.query, self.radius, self.image])
        self.show(view)

    def show(self, view: View) -> None:
        """Shows another run, from its first query."""
        self.panel = None  # the controls are put in place without a redraw
        self.group.options = [(name, group) for group, name in enumerate(view.groups)]
        self.group.value = 0
        self.query.max, self.query.value = len(view.members[0]), 1
        self.radius.max, self.radius.value = view.bits, view.bits // 8
        self.panel = Panel(view)
        self.image.value = self.panel.png()

    def redraw(self, change) -> None:
        """Draws where the controls stand; in another class from its first query."""
        panel, self.panel = self.panel, None
        if panel is None:
            return
        if change.owner is self.group:
            self.query.max, self.query.value = len(panel.view.members[self.group.value]), 1
        panel.show(self.group.value, self.query.value, self.radius.value)
        self.image.value, self.panel = panel.png(), panel

"""The Hamming explorer: `explore` in a notebook, `export_html` as a page, `plot_view` as a figure."""

from collections.abc import Mapping

import ipywidgets

from relahash_nb.explorer.page import export_html
from relahash_nb.explorer.plain import explore_plain, plot_view
from relahash_nb.explorer.view import View, title_of
from relahash_nb.results import Run

__all__ = ["View", "explore", "explore_plain", "export_html", "plot_view"]


def explore(runs: Mapping[str, Run], first: str | None = None) -> ipywidgets.VBox:
    """A menu of runs, as `finished_runs` gives them, and the explorer of the chosen one.

    Without anywidget it is `explore_plain`, and a line says so. `first` None: the run with the highest mean average
    precision.
    """
    first = first or max(runs, key=lambda name: runs[name].report["scores"]["mean_average_precision"])
    menu = ipywidgets.Dropdown(options=[(title_of(run), name) for name, run in runs.items()], description="run")
    menu.value, menu.layout.width = first, "auto"
    try:
        from relahash_nb.explorer.widget import HammingExplorer as draw
    except ImportError:
        print("anywidget is not installed, so this is the plain control; pip install 'relahash-nb[explorer]' brings it")
        draw = explore_plain
    box = ipywidgets.VBox()

    def show(_) -> None:
        """Shows the run that the menu names."""
        box.children = [menu, draw(View.of(runs[menu.value]))]

    menu.observe(show, "value")
    show(None)
    return box

"""Interactive shells over metrics and plots: a run's Hamming distances under sliders.

`explore` gives the explorer that is drawn in the browser where anywidget is installed, and the plain control elsewhere;
`Panel` is the same as a static figure, and `export_html` a page that needs no kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets

from relahash_nb.results import Run
from relahash_nb.widgets.panel import Panel
from relahash_nb.widgets.plain import PlainExplorer
from relahash_nb.widgets.state import export_html
from relahash_nb.widgets.view import View

__all__ = ["Panel", "PlainExplorer", "View", "choose_run", "explore", "export_html"]


def explore(view: View) -> ipywidgets.DOMWidget:
    """A `HammingExplorer` of a view, or where anywidget is missing a `PlainExplorer`, and a line that says so.

    Args:
        view: What to show.
    """
    try:
        from relahash_nb.widgets.explorer import HammingExplorer
    except ImportError:
        print("anywidget is not installed, so this is the plain control; pip install 'relahash-nb[explorer]' brings it")
        return PlainExplorer(view)
    return HammingExplorer(view)


def choose_run(runs: Mapping[str, Run], *explorers) -> ipywidgets.Dropdown:
    """A menu of runs; the explorers show the one that is chosen.

    Args:
        runs: By name, as `finished_runs` gives them; the first is what the explorers show now.
        explorers: Each with a method `show`.
    """
    menu = ipywidgets.Dropdown(options=list(runs), description="run")
    menu.layout.width = "auto"

    def change(_) -> None:
        """Shows the run that was chosen."""
        view = View.of(runs[menu.value])
        for explorer in explorers:
            explorer.show(view)

    menu.observe(change, "value")
    return menu

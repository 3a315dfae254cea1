"""The Hamming explorer: `explore` in a notebook, `export_html` as a page, `plot_view` as a figure."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets

from relahash_nb.explorer.page import export_html
from relahash_nb.explorer.plain import explore_plain, plot_view
from relahash_nb.explorer.view import View, title_of
from relahash_nb.results import Run

__all__ = ["View", "explore", "explore_plain", "export_html", "plot_view"]


def explore(runs: Mapping[str, Run], first: str | None = None) -> ipywidgets.VBox:
    """A menu of runs, and the explorer of the one chosen; without anywidget of ipywidgets alone, and a line says so.

    Args:
        runs: As `finished_runs` gives them.
        first: Run to begin with; None: the one with the highest mean average precision.
    """
    first = first or max(runs, key=lambda name: runs[name].report["scores"]["mean_average_precision"])
    menu = ipywidgets.Dropdown(options=[(title_of(run), name) for name, run in runs.items()], description="run")
    menu.value, menu.layout.width = first, "auto"
    try:
        from relahash_nb.explorer.widget import HammingExplorer

        shown = HammingExplorer(View.of(runs[first]))
        change = shown.show
    except ImportError:
        print("anywidget is not installed, so this is the plain control; pip install 'relahash-nb[explorer]' brings it")
        shown = ipywidgets.VBox([explore_plain(View.of(runs[first]))])

        def change(view: View) -> None:
            """Puts the controls of another run in place."""
            shown.children = [explore_plain(view)]

    menu.observe(lambda _: change(View.of(runs[menu.value])), "value")
    return ipywidgets.VBox([menu, shown])

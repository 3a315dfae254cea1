"""The Hamming explorer: `explore` in a notebook, `export_html` as a page, `plot_view` as a figure."""

from collections.abc import Callable, Mapping

import ipywidgets

from relahash_nb.explorer.page import export_html
from relahash_nb.explorer.plain import explore_plain, plot_view
from relahash_nb.explorer.view import View, title_of
from relahash_nb.results import Run

__all__ = ["View", "explore", "explore_plain", "export_html", "plot_view"]


def explore(runs: Mapping[str, Run], first: str | None = None) -> ipywidgets.VBox:
    """Gives a menu of runs, and below it the explorer of the chosen run.

    Args:
        runs: By name, as `finished_runs` gives them.
        first: The name of the run to begin with; None: the run with the highest mean average precision.
    """
    if first is None:
        first = max(runs, key=lambda name: runs[name].report.scores.mean_average_precision)
    titles = [(title_of(run), name) for name, run in runs.items()]
    menu = ipywidgets.Dropdown(options=titles, value=first, description="run", layout={"width": "auto"})
    make_explorer = find_explorer()
    box = ipywidgets.VBox()

    def show(_: object = None) -> None:
        run = runs[menu.value]
        box.children = [menu, make_explorer(View.of(run))]

    menu.observe(show, "value")
    show()
    return box


def find_explorer() -> Callable[[View], ipywidgets.Widget]:
    """Gives the explorer that the browser draws; without anywidget `explore_plain`, and prints a line that says so."""
    try:
        from relahash_nb.explorer.widget import HammingExplorer
    except ImportError:
        print("anywidget is not installed, so this is the plain control; pip install 'relahash-nb[explorer]' brings it")
        return explore_plain
    return HammingExplorer

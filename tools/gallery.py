"""Writes docs/gallery/: the executed notebooks as pages for readers who only browse; only the explorer has a script.

    python tools/gallery.py            # from results/, after `make study`

00 is executed here, 01 is the study's run at 64 bits, 02 and 03 are what `relahash look` has made, 04 is the explorer
of that run as a page of its own, and 05 is executed here over the runs of the one setting that has most of them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from relahash_nb.config import RunConfig
from relahash_nb.explorer import View, export_html
from relahash_nb.files import write
from relahash_nb.notebooks import ANALYSES, execute_notebook
from relahash_nb.results import Run, find_run, finished_runs
from relahash_nb.sweep import NOTEBOOK

ROOT = Path(__file__).parent.parent
GALLERY = ROOT / "docs" / "gallery"
TOY, EXPLORER, COMPARISON = "00_relative_position.ipynb", "04_hamming_explorer.ipynb", "05_compare.ipynb"
NOTEBOOKS = (TOY, NOTEBOOK, *ANALYSES, COMPARISON)
PAGES = sorted((*NOTEBOOKS, EXPLORER))
WIDGET = "application/vnd.jupyter.widget-view+json"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 56rem; margin: auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }}
pre {{ overflow-x: auto; font-size: 0.85rem; line-height: 1.4; margin: 0; }}
.highlight {{ background: #f6f6f6; padding: 0.6rem 0.8rem; border-radius: 4px; margin: 0.6rem 0; }}
.output_subarea {{ padding: 0.2rem 0.8rem; overflow-x: auto; }}
.output_subarea pre {{ white-space: pre-wrap; }}
.prompt, .anchor-link {{ display: none; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; border: 0; font-size: 0.85rem; width: max-content; }}
td, th {{ border: 0; border-bottom: 1px solid #ddd; padding: 0.2rem 0.5rem; text-align: left; vertical-align: top; }}
td, th {{ max-width: 20rem; }}
{highlighting}
</style>
</head>
<body>
<p>{links}</p>
{body}
</body>
</html>
"""


def main() -> int:
    """Writes every page."""
    GALLERY.mkdir(parents=True, exist_ok=True)
    run = find_run(RunConfig(results_dir=str(ROOT / "results")))
    if run is None:
        print("results/runs: no run of the study at 64 bits; `make study` makes it", file=sys.stderr)
        return 1
    for name in NOTEBOOKS:
        try:
            notebook = nbformat.read(executed(name, run), as_version=4)
        except FileNotFoundError as error:
            print(f"{error.filename}: not there; `make study` makes it", file=sys.stderr)
            return 1
        text = page_text(name, notebook)
        write(page_path(name), lambda path, text=text: path.write_text(text, encoding="utf-8"))
    links = {Path(one).stem: page_path(one).name for one in PAGES if one != EXPLORER}
    shown = [run, *(one for one in finished_runs(ROOT / "results").values() if alike(one, run))]
    export_html([View.of(one) for one in shown], page_path(EXPLORER), links)
    for page in map(page_path, PAGES):
        print(f"{page.relative_to(ROOT)}: {page.stat().st_size / 1e6:.2f} MB")
    return 0


def alike(one: Run, run: Run) -> bool:
    """Whether it is another length of code of the same data, loss and seed."""
    return (
        one.config.bits != run.config.bits and one.config.to_dict() | {"bits": run.config.bits} == run.config.to_dict()
    )


def page_path(name: str) -> Path:
    """Where the page of a notebook goes."""
    return GALLERY / f"{Path(name).stem}.html"


def executed(name: str, run: Run) -> Path:
    """An executed notebook; it need not be there."""
    if name == NOTEBOOK:
        return run.folder / NOTEBOOK
    if name in ANALYSES:
        return ROOT / "results" / name
    target = Path(tempfile.mkdtemp()) / name
    execute_notebook(name, target, {"results_dir": str(ROOT / "results")} if name == COMPARISON else {})
    return target


def page_text(name: str, notebook: NotebookNode) -> str:
    """A notebook as one page: images within it, no script; where a control stood, a line that says so."""
    notebook.metadata.pop("widgets", None)
    hidden = {"badge", "colab", *(["injected-parameters"] if name == COMPARISON else [])}  # a path of this machine
    notebook.cells = [cell for cell in notebook.cells if not hidden & set(cell.metadata.get("tags", []))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [still(output) for output in cell.outputs]
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    highlighting = HtmlFormatter(style="default").get_style_defs(".highlight")
    links = " · ".join(
        Path(one).stem if one == name else f'<a href="{page_path(one).name}">{Path(one).stem}</a>' for one in PAGES
    )
    return PAGE.format(title=f"{title} · relahash-nb", highlighting=highlighting, links=links, body=body)


def still(output: NotebookNode) -> NotebookNode:
    """An output as it is, or a line in place of a control that would be dead."""
    if WIDGET not in output.get("data", {}):
        return output
    return nbformat.v4.new_output("stream", text="(a control to play with, in the running notebook)\n")


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/gallery/: the executed notebooks, as notebooks for a code host and as pages for a browser.

    python tools/gallery.py                     # from results/, after `make study` and `relahash figures`
    python tools/gallery.py FOLDER RESULTS RUN  # elsewhere, from other results and another run, to look at

00 is executed here, 01 is the run with 64 bits, 02 and 03 are those of `relahash figures`, 04 is the explorer of that
run, and 05 and 06 are executed here. Only the explorer's page has a script.
"""

from __future__ import annotations

import base64
import copy
import io
import re
import sys
import tempfile
from html import escape
from pathlib import Path

import nbformat
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from relahash_nb.config import RunConfig
from relahash_nb.explorer import View, export_html
from relahash_nb.files import write
from relahash_nb.notebooks import ANALYSES, COMPARISON, execute_notebook
from relahash_nb.results import Run, find_run, finished_runs, load_run
from relahash_nb.sweep import NOTEBOOK

ROOT = Path(__file__).parent.parent
TOY = "00_relative_position.ipynb"
EXPLORER = "04_hamming_explorer.ipynb"
REALITY = "06_reality_check.ipynb"
NOTEBOOKS = (TOY, NOTEBOOK, *ANALYSES, COMPARISON, REALITY)
PAGES = sorted((*NOTEBOOKS, EXPLORER))
SOURCES = "../../notebooks/"
CONTROL = "(Controls stand here in a running notebook.)\n"
WIDGET = "application/vnd.jupyter.widget-view+json"
# What matplotlib's formulas do not know, and what they know instead.
REPLACEMENTS = {
    r"\lVert": r"\Vert",
    r"\rVert": r"\Vert",
    r"\textstyle": "",
    r"\big": "",
    r"\sqrt B": r"\sqrt{B}",
    r"\sqrt K": r"\sqrt{K}",
    r"\frac": r"\dfrac",
}
# Code is folded. A table scrolls in its own box, and a shadow at an edge says that it goes on there; two covers move
# with the table, and hide the shadows at its ends. On a narrow screen a figure keeps a readable size, and scrolls too.
TEMPLATE = """{% extends "basic/index.html.j2" %}
{% block input_group %}<details><summary>code</summary>{{ super() }}</details>{% endblock input_group %}"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · relahash-nb</title>
<style>
body {{ max-width: 56rem; margin: auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }}
nav {{ font-size: 0.9rem; }}
pre {{ overflow-x: auto; font-size: 0.85rem; line-height: 1.4; margin: 0; }}
details {{ margin: 0.4rem 0; }}
summary {{ cursor: pointer; color: #666; font-size: 0.8rem; }}
.highlight {{ background: #f6f6f6; padding: 0.6rem 0.8rem; border-radius: 4px; margin: 0.4rem 0; }}
.output_subarea {{ padding: 0.2rem 0; overflow-x: auto; }}
.highlight pre, .output_subarea pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.prompt, .anchor-link {{ display: none; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; border: 0; font-size: 0.85rem; display: block; overflow-x: auto; max-width: 100%;
  width: fit-content; background: linear-gradient(to right, white 40%, transparent) 0 0 / 3rem 100% no-repeat local,
  linear-gradient(to left, white 40%, transparent) 100% 0 / 3rem 100% no-repeat local,
  linear-gradient(to right, #888, transparent) 0 0 / 1rem 100% no-repeat scroll,
  linear-gradient(to left, #888, transparent) 100% 0 / 1rem 100% no-repeat scroll; }}
@media (max-width: 40rem) {{
  .output_png img, p > img[src^="data:image/png"] {{ max-width: none; width: 40rem; }}
  .output_png, p:has(> img[src^="data:image/png"]) {{ overflow-x: auto; }}
  .output_png::before, p:has(> img[src^="data:image/png"])::before {{
    content: "the figure scrolls →"; display: block; position: sticky; left: 0; font-size: 0.8rem; color: #666; }}
}}
td, th {{ border: 0; border-bottom: 1px solid #ddd; padding: 0.2rem 0.5rem; text-align: left; vertical-align: top; }}
.output_subarea td, .output_subarea th {{ white-space: nowrap; }}
code {{ overflow-wrap: anywhere; }}
{highlighting}
</style>
</head>
<body>
<nav>{links}</nav>
{body}
</body>
</html>
"""


def main(
    gallery: Path = ROOT / "docs" / "gallery", results: Path = ROOT / "results", run_id: Path | None = None
) -> int:
    """Writes every page, and gives the exit code."""
    run = load_run(results / "runs" / run_id) if run_id else find_run(RunConfig(results_dir=str(results)))
    if run is None:
        print(f"{results}: no run of the study with 64 bits; `make study` makes it", file=sys.stderr)
        return 1
    try:
        notebooks = {name: nbformat.read(find_executed(name, run, results), as_version=4) for name in NOTEBOOKS}
    except FileNotFoundError as error:
        print(f"{error.filename}: not there; `make study` and `relahash figures` make it", file=sys.stderr)
        return 1
    gallery.mkdir(parents=True, exist_ok=True)
    for name, notebook in notebooks.items():
        clean(notebook)
        texts = {name: nbformat.writes(notebook) + "\n", page_name(name): page_text(name, notebook)}
        for file, text in texts.items():
            write(gallery / file, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    runs = [run]
    for finished in finished_runs(results).values():
        if is_other_length(finished, run):
            runs.append(finished)
    export_html([View.of(shown) for shown in runs], gallery / page_name(EXPLORER), links(EXPLORER))
    for name in PAGES:
        path = gallery / page_name(name)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


def is_other_length(run: Run, first: Run) -> bool:
    """Says whether two runs differ in the length of the code and in nothing else."""
    options = run.config.to_dict()
    first_options = first.config.to_dict()
    bits = options.pop("bits")
    first_bits = first_options.pop("bits")
    return bits != first_bits and options == first_options


def page_name(name: str) -> str:
    """Gives the file name of a notebook's page."""
    return f"{Path(name).stem}.html"


def title_of(name: str) -> str:
    """Gives the first heading of a notebook."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    return notebook.cells[0].source.splitlines()[0].removeprefix("# ")


def links(current: str) -> dict[str, str]:
    """Gives titles and addresses of README and of the pages other than the current one."""
    addresses = {"README": "../../README.md"}
    for name in PAGES:
        if name != current:
            addresses[title_of(name)] = page_name(name)
    return addresses


def find_executed(name: str, run: Run, results: Path) -> Path:
    """Gives the path of an executed notebook: from the results, where the file may be missing, or executed here."""
    if name == NOTEBOOK:
        return run.folder / NOTEBOOK
    if name in ANALYSES:
        return results / name
    target = Path(tempfile.mkdtemp()) / name
    execute_notebook(name, target, {})
    return target


def clean(notebook: NotebookNode) -> None:
    """Takes out of an executed notebook what has no use without a kernel, and sets its links for this folder."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("papermill", None)  # names paths of this machine
    hidden_tags = {"badge", "colab", "injected-parameters"}  # the last has paths of this machine
    notebook.cells = [cell for cell in notebook.cells if not hidden_tags & set(cell.metadata.get("tags", []))]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../docs/", "](../").replace("](solutions/", f"]({SOURCES}solutions/")
            cell.source = cell.source.replace(f"]({EXPLORER})", f"]({SOURCES}{EXPLORER})")  # here it is a page alone
        if cell.cell_type == "code":  # warnings name files of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for place, output in enumerate(cell.get("outputs", [])):
            if WIDGET in output.get("data", {}):
                cell.outputs[place] = nbformat.v4.new_output("stream", text=CONTROL)


def page_text(name: str, notebook: NotebookNode) -> str:
    """Makes one page without a script of a notebook: code folded, images within it."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(rf"\]\((?:{SOURCES})?(\d\d_\w+)\.ipynb\)", r"](\1.html)", cell.source)
            cell.source = re.sub(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", formula, cell.source, flags=re.DOTALL)
    body, _ = HTMLExporter(raw_template=TEMPLATE).from_notebook_node(notebook)
    anchors = [f'<a href="{address}">{escape(title)}</a>' for title, address in links(name).items()]
    return PAGE.format(
        title=escape(title_of(name)),
        highlighting=HtmlFormatter(style="default").get_style_defs(".highlight"),
        links=" · ".join(anchors),
        body=body,
    )


def formula(match: re.Match) -> str:
    """Makes images of a formula in LaTeX, since a page without a script cannot typeset it.

    The parts of a displayed formula, which `\\qquad` divides, are images of their own: they wrap on a narrow screen.
    """
    display, inline = match.groups()
    if display is None:
        return draw_formula(inline, is_inline=True)
    parts = [draw_formula(part) for part in display.split(r"\qquad")]
    return "&emsp;&emsp;".join(parts)


def draw_formula(text: str, is_inline: bool = False) -> str:
    """Makes an image of a formula in LaTeX that matplotlib can draw."""
    text = " ".join(text.split())
    for unsupported, supported in REPLACEMENTS.items():
        text = text.replace(unsupported, supported)
    file = io.BytesIO()
    font = FontProperties(size=12, math_fontfamily="cm")
    depth = math_to_image(f"${text}$", file, font, dpi=72, format="svg")
    picture = base64.b64encode(file.getvalue()).decode()
    style = f"vertical-align: {-depth:.1f}pt" if is_inline else "vertical-align: middle; margin: 0.3rem 0"
    return f'<img alt="{escape(text)}" style="{style}" src="data:image/svg+xml;base64,{picture}">'


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))

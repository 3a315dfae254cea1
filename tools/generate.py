"""Writes what is not typed by hand: the notebooks' parameters, badges and Colab cells; tables of README and docs/.

    python tools/generate.py           # write
    python tools/generate.py --check   # only say what is out of date; exit code 1 where something is

Parameters come from `RunConfig`, the address from `[tool.relahash]` in pyproject.toml, numbers and figures from
`docs/results/` and `benchmarks/results/`.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks and tools are no part of the package

from benchmarks.common import NAMES, readme_block
from relahash_nb.config import RunConfig
from relahash_nb.losses import find_loss
from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.results import (
    compare,
    format_comparison,
    read_table,
)
from relahash_nb.results.tables import (
    distinct,
    format_markdown,
)
from tools.score_tables import RESULTS, figure_runs, result_tables

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = ("results", "benchmarks", "search", "sweeps", "options")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS)]
PARAMETERS = ("dataset", "root", "bits", "loss", "beta", "backbone", "finetune", "epochs", "batch_size", "lr")
PARAMETERS += ("precision", "seed")  # what a person changes; the others stand in a table
PICTURES = (ROOT / "docs", ROOT / "docs" / "results" / "figures")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
CAPTIONS = {
    "quantization_error": "Quantization error, 1 − cos(z, sign z), against the number of bits: mean ± standard "
    "deviation of {seeds} seeds. Mean over all bits: {errors}.",
    "course": "Quantization error in the batches of each epoch, {bits} bits, mean of {seeds} seeds; "
    "a band shows their spread.",
    "class_distances": "Hamming distances of pairs that share a label and of pairs that share none, {bits} bits.",
    "neighbours": "Fashion-MNIST, {bits} bits: a query of each class, and its ten nearest database images by Hamming "
    "distance; the crosses are the mistakes.",
}
SCORES = "Mean average precision on the embedded data set, mean ± standard deviation of {seeds} seeds."
UPLOAD = """In Colab: `make colab` writes `dist/colab/NAME`. At <https://colab.research.google.com> choose
*File → Upload notebook* and this file, and run all cells."""


def main() -> int:
    """Writes, or checks, every generated place."""
    only_checks = "--check" in sys.argv
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["relahash"]["address"]
    texts = {path: notebook_text(path, address) for path in NOTEBOOKS}
    texts |= {path: page_text(path, address) for path in PAGES}
    stale = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if only_checks:
            print(f"{path.relative_to(ROOT)}: out of date; run make generate")
        else:
            path.write_text(texts[path], encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written")
    return 1 if stale and only_checks else 0


def notebook_text(path: Path, address: str) -> str:
    """A notebook with its tagged cells written anew: `parameters`, `colab`, `badge`; and its attached pictures."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags and path.name.startswith("01"):
            cell.source = parameters_cell()
        if "colab" in tags:
            cell.source = colab_cell(address)
        if "badge" in tags:
            cell.source = badge(address, path)
        pictures = re.findall(r"\(attachment:([\w.-]+)\)", cell.source)
        if pictures:
            cell.attachments = {name: attachment(name) for name in pictures}
    return nbformat.writes(notebook) + "\n"


def attachment(name: str) -> dict[str, str]:
    """A picture of `docs/`, or a published figure, as a notebook holds it."""
    path = next(folder / name for folder in PICTURES if (folder / name).exists())
    return {"image/png": base64.b64encode(path.read_bytes()).decode()}


def parameters_cell() -> str:
    """The options that a person changes, each as a literal, a Colab form field and a comment."""
    lines = ["# @title Parameters: None means the default of the recipe or data set", "# fmt: off"]
    for name in PARAMETERS:
        field = RunConfig.model_fields[name]
        default = json.dumps(field.default) if isinstance(field.default, str) else repr(field.default)
        meaning = re.split("[;,]", field.description)[0]
        lines.append(f"{name} = {default}  # @param {form_field(name)} # {meaning}")
    lines.append('options = {}  # @param {type:"raw"} # any other option, such as {"margin": 0.2}')
    return "\n".join(lines)


def options_table() -> str:
    """All options of a run as a table."""
    rows = ["| name | default | meaning | allowed |", "|---|---|---|---|"]
    for name, field in RunConfig.model_fields.items():
        allowed = RunConfig.describe_allowed(name)
        rows.append(f"| `{name}` | `{field.default!r}` | {field.description} | {allowed} |")
    return "\n".join(rows)


def form_field(name: str) -> str:
    """How Colab shows a field: a menu, a check box, a number, a text, or a literal where None is allowed.

    Example:
        >>> form_field("bits")
        '{type:"integer"}'
    """
    schema, default = RunConfig.schema_of(name), RunConfig.model_fields[name].default
    if default is None:
        return '{type:"raw"}'
    if "enum" in schema:
        return json.dumps(schema["enum"])
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return f'{{type:"{kinds[type(default)]}"}}'


def colab_cell(address: str) -> str:
    """The cell that prepares Colab, and installs the package there once it has an address; see `tools/colab.py`."""
    install = f"# In Colab, first: %pip install --quiet git+{address}\n" if address else ""
    return f"{install}from relahash_nb.notebooks import set_up\n\nset_up()"


def badge(address: str, path: Path) -> str:
    """The badge that opens a notebook in Colab, or how to upload it while there is no address."""
    if not address:
        return UPLOAD.replace("NAME", path.name)
    link = f"{address.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/main/notebooks/{path.name}"
    return f"[![Open in Colab]({BADGE})]({link})"


def page_text(path: Path, address: str) -> str:
    """A page with its marked blocks, `<!-- name -->` to `<!-- end -->`, written anew."""
    blocks = {
        "colab": badge(address, ROOT / "notebooks" / "01_train.ipynb"),
        "search": readme_block(names=["search"]),
        "benchmarks": readme_block(names=[name for name in NAMES if name != "search"]),
        "losses": losses(),
        "options": options_table(),
        **result_tables(path.parent),
        **figures(path.parent),
    }
    page = path.read_text(encoding="utf-8")
    for name, block in blocks.items():
        if block:  # where there is no report of a benchmark its table stays
            page = replace_block(page, name, block)
    return page


def replace_block(page: str, name: str, block: str) -> str:
    """A page with another text between `<!-- name -->` and the next `<!-- end -->`; none where it has no such mark."""
    start = f"<!-- {name} -->\n"
    if start not in page:
        return page
    before, rest = page.split(start, 1)
    after = rest.split("<!-- end -->", 1)[1]
    return f"{before}{start}{block}\n<!-- end -->{after}"


def losses() -> str:
    """Each loss and baseline: the first sentence about it, its paper, and the ranges of its options in a search."""
    rows = []
    for name in (*LOSSES, *BASELINES):
        method = find_loss(name)
        sentence, *paragraphs = [text.replace("\n", " ") for text in (inspect.getdoc(method) or "").split("\n\n")]
        papers = [text.removesuffix(".") for text in paragraphs if text.startswith('"')]
        rows.append(
            {"name": f"`{name}`", "what it is": sentence, "paper": "; ".join(papers), "searched": ranges(method)}
        )
    return format_markdown(pd.DataFrame(rows))


def ranges(method: Any) -> str:
    """The range in which a search takes each option of a loss, for batches of 64."""
    parts = []
    for option, (low, high, _) in getattr(method, "SEARCH", {}).items():
        factor = 64 ** getattr(method, "BATCH_POWER", {}).get(option, 0)
        parts.append(f"{option} {low * factor:.4g} to {high * factor:.4g}")
    return ", ".join(parts)


def figures(folder: Path) -> dict[str, str]:
    """The study on the embedded data: scores, and figures of `docs/results/figures/`, as a page in a folder links."""
    summary = read_table(RESULTS / "summary.csv").set_index("run_id")
    study = summary[(summary["data"] == "fashion_mini") & summary["centroid_seed"].notna()]
    paths = {name: RESULTS / "figures" / f"fashion_mini-{name}.png" for name in CAPTIONS}
    options = []
    for name in ("loss", "bits", "seed"):
        values = " ".join(str(value) for value in study[name].drop_duplicates())
        options.append(f"--{name} {values}")
    made = f"All {len(study)} runs: `relahash sweep {' '.join(options)}`."
    blocks = [scores(study), f"{SCORES.format(seeds=study['seed'].nunique())} {made}"]
    for name, path in paths.items():
        picture = f"![{name.replace('_', ' ')}]({path.relative_to(folder)})"
        shown = summary.loc[figure_runs(path)]
        errors = shown.groupby("loss")["quantization_error"].mean().sort_values()
        facts = {
            "bits": shown["bits"].iloc[0],
            "seeds": shown["seed"].nunique(),
            "errors": ", ".join(f"{loss} {error:.3f}" for loss, error in errors.items()),
        }
        blocks.append(f"{picture}\n\n*{CAPTIONS[name].format(**facts)}*")
    return {"figures": "\n\n".join(blocks)}


def scores(runs: pd.DataFrame) -> str:
    """Methods × bits as a Markdown table: mean ± deviation of the average precision over the seeds, and the rank."""
    methods = format_comparison(compare(distinct(runs))).rename(columns="{} bits".format)
    return format_markdown(methods.rename_axis("mAP").reset_index())


if __name__ == "__main__":
    sys.exit(main())

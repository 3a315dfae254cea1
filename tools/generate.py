"""Writes what is not typed by hand: the notebooks' parameters, badges and Colab cells; tables of README and docs/.

    python tools/generate.py           # write
    python tools/generate.py --check   # only say what is out of date; exit code 1 where something is

Parameters come from `RunConfig`, the address from `[tool.relahash]` in pyproject.toml, numbers and figures from
`docs/results/` and `benchmarks/results/`.
"""

from __future__ import annotations

import base64
import inspect
import io
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks and tools are no part of the package

from benchmarks.common import NAMES, readme_block
from relahash_nb.baselines import BASELINES
from relahash_nb.config import RECIPES, RunConfig
from relahash_nb.losses import LOSSES
from relahash_nb.results import compare, format_comparison
from relahash_nb.results.comparison import load_published
from relahash_nb.results.tables import SETTING, distinct, format_markdown, format_mean, table, text
from tools.reality import provenance, reality

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = ("results", "benchmarks", "search", "reality-check", "sweeps")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS)]
PARAMETERS = ("dataset", "root", "bits", "loss", "beta", "backbone", "finetune", "epochs", "batch_size", "lr")
PARAMETERS += ("precision", "seed")  # what a person changes; the others stand in a table
RESULTS = ROOT / "docs" / "results"
OVERVIEW = ROOT / "docs" / "overview.png"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
CAPTIONS = {
    "quantization_error": "Quantization error, 1 − cos(z, sign z), against the number of bits: mean ± standard "
    "deviation of {seeds} seeds. Mean over all bits: {errors}.",
    "course": "Quantization error in the batches of each epoch, {bits} bits; the band spans the seeds.",
    "class_distances": "Hamming distances of pairs that share a label and of pairs that share none, {bits} bits.",
    "neighbours": "Fashion-MNIST, {bits} bits: a query of each class, and its ten nearest database images by Hamming "
    "distance; the crosses are the mistakes.",
}
SCORES = (
    "Mean average precision on the embedded data set, mean ± standard deviation of {seeds} seeds; rank in brackets."
)
MISSING = """source = next(Path().glob("relahash_nb-*.whl"), None)
    assert source, "upload the wheel (`make wheel`) in the file panel, then rerun\""""
UPLOAD = """To open it in Colab: `make colab` writes `dist/colab/NAME`, one file that brings the package along. Go to
<https://colab.research.google.com>, *File → Upload notebook*, choose that file, and run all cells."""


def main() -> int:
    """Writes, or checks, every generated place."""
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["relahash"]["address"]
    wanted = {path: notebook_text(path, address) for path in NOTEBOOKS}
    wanted |= {path: page_text(path, address) for path in PAGES}
    stale = [path for path, text in wanted.items() if path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'out of date; run make generate' if '--check' in sys.argv else 'written'}")
        if "--check" not in sys.argv:
            path.write_text(wanted[path])
    return 1 if stale and "--check" in sys.argv else 0


def notebook_text(path: Path, address: str) -> str:
    """A notebook with its tagged cells written anew: `parameters`, `colab`, `badge`."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags and path.name.startswith("01"):
            cell.source = parameters_cell()
        if "options" in tags:
            cell.source = options_cell()
        if "colab" in tags:
            cell.source = colab_cell(address)
        if "badge" in tags:
            cell.source = badge(address, path)
        if "overview" in tags and OVERVIEW.exists():
            picture = base64.b64encode(OVERVIEW.read_bytes()).decode()
            cell.attachments = {"overview.png": {"image/png": picture}}
    return nbformat.writes(notebook) + "\n"


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


def options_cell() -> str:
    """All options as a folded table."""
    rows = [
        f"| `{name}` | `{field.default!r}` | {field.description} | {RunConfig.describe_allowed(name)} |"
        for name, field in RunConfig.model_fields.items()
    ]
    return "\n".join(
        [
            "<details><summary>All options: those without a line above go into <code>options</code></summary>",
            "",
            "| name | default | meaning | allowed |",
            "|---|---|---|---|",
            *rows,
            "",
            "</details>",
        ]
    )


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
    """The cell that installs the package where it is missing, and prepares Colab; see `tools/colab.py`."""
    source = f'source = "git+{address}"' if address else MISSING
    return f"""# @title Set-up: installs the package where it is missing
use_drive = False  # @param {{type:"boolean"}} # Colab: keep results in Google Drive
import importlib.util
from pathlib import Path

if importlib.util.find_spec("relahash_nb") is None:
    # source: the package
    {source}
    %pip install --quiet {{source}}
from relahash_nb.notebooks import set_up

set_up(use_drive)"""


def badge(address: str, path: Path) -> str:
    """The badge that opens a notebook in Colab, or how to upload it while there is no address."""
    if not address:
        return UPLOAD.replace("NAME", path.name)
    link = f"{address.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/main/notebooks/{path.name}"
    return f"[![Open in Colab]({BADGE})]({link})"


def page_text(path: Path, address: str) -> str:
    """A page with its marked blocks, `<!-- name -->` to `<!-- end -->`, written anew."""
    blocks = {"colab": badge(address, ROOT / "notebooks" / "01_train.ipynb"), "search": readme_block(names=["search"])}
    blocks["benchmarks"] = readme_block(names=[name for name in NAMES if name != "search"])
    blocks["losses"] = losses()
    blocks |= result_tables(path.parent) | figures(path.parent)  # no reports of benchmarks: their tables stay
    text = path.read_text()
    for name, block in filter(all, blocks.items()):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text, flags=re.DOTALL)
    return text


def losses() -> str:
    """Each loss and baseline with the first sentence about it."""
    rows = [
        {"name": f"`{name}`", "what it is": inspect.getdoc(one).split("\n\n")[0].replace("\n", " ")}
        for name, one in (LOSSES | BASELINES).items()
    ]
    return format_markdown(pd.DataFrame(rows))


def figures(folder: Path) -> dict[str, str]:
    """The study on the embedded data: scores, and figures of `docs/results/figures/`, as a page in a folder links."""
    summary = pd.read_csv(RESULTS / "summary.csv").set_index("run_id")
    study = summary[(summary["data"] == "fashion_mini") & summary["centroid_seed"].notna()]
    errors = study.groupby("loss")["quantization_error"].mean()
    paths = {name: RESULTS / "figures" / f"fashion_mini-{name}.png" for name in CAPTIONS}
    facts = dict(
        bits=summary.loc[figure_runs(paths["neighbours"]), "bits"].iloc[0],
        seeds=study["seed"].nunique(),
        errors=", ".join(f"{loss} {error:.3f}" for loss, error in errors.sort_values().items()),
    )
    blocks = (
        f"![{name.replace('_', ' ')}]({path.relative_to(folder)})\n\n*{CAPTIONS[name].format(**facts)}*"
        for name, path in paths.items()
    )
    names = {name: " ".join(map(str, study[name].drop_duplicates())) for name in ("loss", "bits", "seed")}
    command = " ".join(f"--{name} {values}" for name, values in names.items())
    made = f"All {len(study)} runs: `relahash sweep {command}`."
    return {"figures": "\n\n".join([scores(study), f"{SCORES.format(**facts)} {made}", *blocks])}


def scores(runs: pd.DataFrame) -> str:
    """Methods × bits as a Markdown table: mean ± deviation of the average precision over the seeds, and the rank."""
    methods = format_comparison(compare(distinct(runs))).rename(columns="{} bits".format)
    return format_markdown(methods.rename_axis("mAP").reset_index())


def figure_runs(path: Path) -> list[str]:
    """The runs that a figure was drawn from, as `save_figure` wrote them into it."""
    return Image.open(path).text["Source"].split()


def result_tables(folder: Path) -> dict[str, str]:
    """From the committed `docs/results/`: the embedded data, other networks, the paper's own run, the reality check."""
    summary = pd.read_csv(RESULTS / "summary.csv")
    rivals, ours, whole = summary["centroid_seed"].isna(), summary["loss"] == "relahash", summary["finetune"]
    study = (summary["data"] == "fashion_mini") & ~rivals
    paper = summary["data"].str.startswith("lists cifar10_jpeg") & whole & ours
    small = paper & (summary["image_size"] == 96)  # the ablation's
    other = ~study & ~rivals & ours & whole & ~paper
    parts = {"results fashion_mini": summary[study & ours], "results other": summary[other]}
    blocks = {name: block(runs) for name, runs in parts.items()}
    blocks |= {"paper": papers(summary[paper & ~small]), "paper short": papers(summary[paper & ~small], short=True)}
    blocks |= {"ablation": ablation(summary[small]), "course": course(summary, folder)}
    return blocks | reality(summary[rivals], folder)


def papers(runs: pd.DataFrame, short: bool = False) -> str:
    """What is published of RelaHash on CIFAR-10, and our settings, the best first, bits as columns.

    The short one holds the best setting with the epochs of its recipe, and those with several code lengths.
    """
    published = load_published()
    published = published[(published["loss"] == "relahash") & (published["data"] == "cifar10")]
    rows = [
        (source, {row.bits: f"{row.mean_average_precision:.4g}" for row in found.itertuples()})
        for source, found in published.groupby("source", sort=False)
    ]
    runs = distinct(runs).sort_values("mean_average_precision", ascending=False)
    epochs, seen = {(recipe["backbone"], str(recipe["epochs"])) for recipe in RECIPES.values()}, set()
    for _, found in runs.groupby([name for name in SETTING if name != "bits"], sort=False):
        run = found.iloc[0]
        length = (run["backbone"], run["epochs"])
        if short and found["bits"].nunique() == 1 and (length in seen or length not in epochs):
            continue
        seen.add(length)
        margin = "" if run["margin"] == "0.5" else f", margin {run['margin']}"
        name = f"here: {run['backbone']}, β {run['beta']}{margin}, {run['epochs']} epochs"
        name += "" if short else f", {run['image_size']} pixels, {run['precision']}{other_options(run)}"
        name += run["data"].removeprefix("lists cifar10_jpeg").replace("_q", ", images of JPEG quality ")
        minutes = found.filter(like="seconds_").sum(axis=1).max() / 60
        scores = found.groupby("bits")[["mean_average_precision", "worst", "best"]].mean()
        cells = {row.Index: "{:.4f} ({:.4f} … {:.4f})".format(*row[1:]) for row in scores.itertuples()}
        rows.append((f"{name} ({minutes:.0f} min)", cells))
    names = {bits: f"{bits} bits" for bits in (16, 32, 64, 128)}
    cells = [{"mAP@all": name} | {names[bits]: found.get(bits, "") for bits in names} for name, found in rows]
    return format_markdown(pd.DataFrame(cells))


def other_options(run: Mapping[str, str]) -> str:
    """The options that differ from those of the backbone's recipe, and that a row does not name otherwise."""
    recipe = next(recipe for recipe in RECIPES.values() if recipe["backbone"] == run["backbone"]) | {"ema": 0.0}
    named = ("weights", "image_size", "epochs", "beta", "margin")
    return "".join(
        f", {name} {run[name]}" for name, usual in recipe.items() if name not in named and run[name] != text(usual)
    )


def ablation(runs: pd.DataFrame) -> str:
    """What each option of `laptop` gives: each run differs in one of them from the value that most runs have."""
    fields = [*RECIPES["laptop"], "ema"]
    runs = distinct(runs).sort_values("mean_average_precision", ascending=False)
    runs["weights"] = runs["weights"].map(lambda path: Path(path).name)
    usual = runs[fields].mode().iloc[0]
    named = [
        ", ".join(f"{name} {run[name]} instead of {usual[name]}" for name in fields if run[name] != usual[name])
        for run in runs.to_dict("records")
    ]
    cells = pd.DataFrame({"option": [name or "the recipe's own" for name in named]})
    cells["mAP"] = runs["mean_average_precision"].map("{:.4f}".format).values
    cells["worst … best order of ties"] = [f"{row.worst:.4f} … {row.best:.4f}" for row in runs.itertuples()]
    cells["quantization error"] = runs["quantization_error"].map("{:.4f}".format).values
    own = runs["command"].iloc[named.index("")]
    return f"{format_markdown(cells)}\n\n{provenance(runs)} The recipe's own: `{own}`."


def course(summary: pd.DataFrame, folder: Path) -> str:
    """The figure of the paper's own run over its epochs, and what it shows."""
    path, history = RESULTS / "figures" / "paper.png", pd.read_csv(RESULTS / "paper.csv").set_index("epoch")
    run = summary.set_index("run_id").loc[figure_runs(path)[0]]
    scores = history["query_map"].dropna() if "query_map" in history else pd.Series()
    points = [f"{value:.4f} after {epoch} epochs" for epoch, value in scores.items() if epoch < len(history)]
    points.append(f"{run['mean_average_precision']:.4f} after {len(history)}")
    said = f"*AlexNet, 64 bits, β {run['beta']:g}, batches of {run['batch_size']}, over its epochs.* After 10 epochs "
    said += f"{history['centroid_accuracy'][10]:.1%} of the training images lie nearest to their own centroid. The "
    said += f"score is {', '.join(points)}. In the last epoch's batches the quantization error is "
    said += f"{history['quantization_error'].iloc[-1]:.4f}, over query and database {run['quantization_error']:.4f}."
    return f"![the paper's own run]({path.relative_to(folder)})\n\n{said}"


def block(runs: pd.DataFrame) -> str:
    """A table, a row for each number of bits; below it where it is from, and commands."""
    rows = pd.read_csv(io.StringIO(table(runs, "csv")), dtype={"image_size": str, "epochs": str})
    ties = [f"{row.worst:.4f} … {row.best:.4f}" for row in rows.itertuples()]
    cells = rows[["data", "backbone", "image_size", "epochs", "loss", "bits", "seeds"]].astype(str)
    cells = cells.rename(columns={"image_size": "pixels"}).assign(mAP=format_mean(rows))
    cells["worst … best order of ties"] = ties
    cells["quantization error"] = rows["quantization_error"].map("{:.4f}".format)
    cells["training s"] = rows["seconds_training"].map("{:.0f}".format)
    commands = "\n".join(f"    {command}" for command in runs[runs["seed"] == runs["seed"].min()]["command"])
    return f"{format_markdown(cells)}\n\n{provenance(runs)} One seed of each, repeated by:\n\n{commands}\n"


if __name__ == "__main__":
    sys.exit(main())

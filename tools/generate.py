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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks and tools are no part of the package

from benchmarks.common import NAMES, readme_block
from relahash_nb.config import RECIPES, RunConfig
from relahash_nb.losses import find_loss
from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.results import (
    compare,
    compare_across,
    format_comparison,
    load_published,
    means_across,
    read_published,
    read_table,
    select_budgets,
)
from relahash_nb.results.tables import (
    SETTING,
    average,
    differing_fields,
    distinct,
    format_markdown,
    format_mean,
    shorten,
)

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = ("results", "benchmarks", "search", "sweeps", "options")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS)]
PARAMETERS = ("dataset", "root", "bits", "loss", "beta", "backbone", "finetune", "epochs", "batch_size", "lr")
PARAMETERS += ("precision", "seed")  # what a person changes; the others stand in a table
RESULTS = ROOT / "docs" / "results"
PICTURES = (ROOT / "docs", ROOT / "docs" / "results" / "figures")
ACCURACY = "query accuracy, 64 bits"
DISTILLED = "alexnet_distilled.safetensors"
JPEG_SCORES = {"new_images": "new images", "mean_average_precision": "protocol", "query_accuracy": "query accuracy"}
LOSSLESS, JPEG = "lists cifar10_lossless_4000", "lists cifar10_jpeg_4000"  # the same images
FLOAT = "float features"
FIVE = ("relahash", "orthohash", "orthohash_arc", "csq", "dpn")  # in README
COMPARED = {
    "lists cifar10_jpeg": "CIFAR-10",
    "lists miniimagenet100_10k": "miniImageNet",
    "lists corel5k_21": "Corel5k",
    "fashion_mini": "Fashion-MNIST",
}
SHORT_SCORES = {
    "new_images": "new images",
    "new_images_asymmetric": "new images, float query",
    "mean_average_precision": "published protocol",
}
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
    """Each loss and baseline with the first sentence about it."""
    rows = []
    for name in (*LOSSES, *BASELINES):
        sentence = (inspect.getdoc(find_loss(name)) or "").split("\n\n")[0].replace("\n", " ")
        rows.append({"name": f"`{name}`", "what it is": sentence})
    return format_markdown(pd.DataFrame(rows))


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


def figure_runs(path: Path) -> list[str]:
    """The runs that a figure was drawn from, as `save_figure` wrote them into it."""
    return Image.open(path).text["Source"].split()


def result_tables(folder: Path) -> dict[str, str]:
    """From the committed `docs/results/`: the embedded data, other networks, the paper's own run, the reality check."""
    summary = read_table(RESULTS / "summary.csv")
    is_rival = summary["centroid_seed"].isna()  # the reality check's: each seed has centroids of its own
    is_relahash = summary["loss"] == "relahash"
    is_whole = summary["finetune"]
    is_study = (summary["data"] == "fashion_mini") & ~is_rival
    is_paper = summary["data"].str.startswith("lists cifar10_jpeg") & is_whole & is_relahash
    is_small = is_paper & (summary["image_size"] == 96)  # the ablation's
    is_other = ~is_study & ~is_rival & is_relahash & is_whole & ~is_paper
    blocks = {
        "results fashion_mini": block(summary[is_study & is_relahash]),
        "results other": block(summary[is_other]),
        "paper": papers(summary[is_paper & ~is_small]),
        "paper short": papers(summary[is_paper & ~is_small], short=True),
        "ablation": ablation(summary[is_small]),
        "course": course(summary, folder),
    }
    if (RESULTS / "jpeg.csv").exists():
        small = read_table(RESULTS / "jpeg.csv")
        is_laptop = (small["data"] == JPEG) & (small["schedule"] == RECIPES["laptop"]["schedule"])
        blocks["jpeg"] = jpeg_cost(small)
        if is_laptop.any():
            blocks["ablation jpeg"] = ablation(small[is_laptop & (small["seed"] == 0)])
    return blocks | {"reality short": comparison(distinct(summary[is_rival]))}


def comparison(runs: pd.DataFrame) -> str:
    """README's comparison of five losses at 64 bits, ranked among all: both scores of miniImageNet, each searched for.

    Before such runs are published, the protocol's score on four data sets.
    """
    runs = runs[(runs["centroids"] == "max_hamming") & runs["loss"].isin(LOSSES)]
    budgets = select_budgets(runs, "lists miniimagenet100_10k", bits=64)
    searches = {name.split(", ")[-1]: same for name, same in budgets.items()}
    if "new images" in searches and "protocol" in searches:
        return compare_targets(searches["new images"], searches["protocol"])
    parts = {}
    for data, name in COMPARED.items():
        budgets = select_budgets(runs, data, bits=64)
        *_, earlier = [same for budget, same in budgets.items() if "," not in budget]  # a search without a target
        parts[name] = earlier
    said = (
        "Five of fifteen losses, tuned alike; published protocol; 3–5 seeds (rank from five); miniImageNet: "
        "mAP@1000. Columns 1 to 3 train the hash layer alone, on fixed features: not comparable with above."
    )
    return f"{format_five(compare_across(parts, 64), 'mAP, 64 bits')}\n\n{said}"


def compare_targets(new_images: pd.DataFrame, protocol: pd.DataFrame) -> str:
    """Runs that were tuned for new images by their scores there, and those tuned for the protocol by its score."""
    columns = {}
    for score, title in SHORT_SCORES.items():
        runs = protocol if score == "mean_average_precision" else new_images
        columns[title] = compare_across({title: runs}, 64, score)[title]
    table = pd.DataFrame(columns).reindex(means_across({"": new_images}, 64, "new_images").index).fillna("")
    quantizer = read_published("quantizer", "bash study/reality.sh quantizer")
    is_float = (quantizer["method"] == "float") & (quantizer["data"] == "lists miniimagenet100_10k")
    for row in quantizer[is_float].to_dict("records"):
        table.loc[FLOAT] = [f"{row['new_images']:.4f}", "", f"{row['mean_average_precision']:.4f}"]
    said = (
        "Five of fifteen losses on fixed features, tuned for each of the two scores: mean ± standard deviation of five "
        "seeds (rank among the fifteen). A float query is compared with stored bits. Other data than above."
    )
    return f"{format_five(table, 'miniImageNet, mAP@1000, 64 bits')}\n\n{said}"


def format_five(table: pd.DataFrame, title: str) -> str:
    """Five losses, and the float features, of a table of texts in Markdown; its index is the first column."""
    shown = table[table.index.isin([*FIVE, FLOAT])]
    return format_markdown(shown.rename_axis(title).reset_index())


def provenance(runs: pd.DataFrame) -> str:
    """Seeds, weights, hardware and versions, in one sentence."""
    facts = runs[["processor", "cores", "python", "torch", "torchvision", "numpy"]].drop_duplicates()
    machines = []
    for row in facts.itertuples():
        versions = f"Python {row.python}, torch {row.torch}, torchvision {row.torchvision}, NumPy {row.numpy}"
        machines.append(f"{row.processor}, {row.cores} cores, {versions}")
    weights = sorted({Path(name).name for name in runs["weights"]})
    seeds = sorted(runs["seed"].unique())
    said = f"Seed {seeds[0]}"
    if len(seeds) > 1:
        said = f"Mean ± standard deviation over the seeds ({', '.join(str(seed) for seed in seeds)})"
    return f"{said}; weights: {', '.join(weights)}; {'; '.join(machines)}."


def papers(runs: pd.DataFrame, short: bool = False) -> str:
    """What is published of RelaHash on CIFAR-10, and our settings, the best first, bits as columns.

    The short one holds the best setting with the epochs of its recipe, and those with several code lengths.
    """
    rows = published_rows()
    runs = distinct(runs).sort_values("mean_average_precision", ascending=False)
    fields = [name for name in SETTING if name != "bits"]
    settings = [same for _, same in runs.groupby(fields, sort=False, dropna=False)]
    for same in shorten_list(settings) if short else settings:
        row = {"mAP@all": name_setting(same, short)}
        means = same.groupby("bits")[["mean_average_precision", "worst", "best"]].mean()
        for bits, score, worst, best in means.itertuples():
            row[f"{bits} bits"] = f"{score:.4f} ({worst:.4f} … {best:.4f})"
        row[ACCURACY] = show_accuracy(same)
        rows.append(row)
    columns = ["mAP@all", "16 bits", "32 bits", "64 bits", "128 bits"]
    if not short:
        columns.append(ACCURACY)
    return format_markdown(pd.DataFrame(rows, columns=columns).fillna(""))


def show_accuracy(runs: pd.DataFrame) -> str:
    """The mean query accuracy of the runs with 64 bits, as text; nothing where none recorded it."""
    accuracy = runs[runs["bits"] == 64]["query_accuracy"].mean()
    return "" if pd.isna(accuracy) else f"{accuracy:.3f}"


def published_rows() -> list[dict[str, str]]:
    """What each source says of RelaHash on CIFAR-10, bits as columns."""
    published = load_published().query("loss == 'relahash' and data == 'cifar10'")
    rows = []
    for source, same in published.groupby("source", sort=False):
        row = {"mAP@all": source}
        for bits, score in zip(same["bits"], same["mean_average_precision"], strict=True):
            row[f"{bits} bits"] = f"{score:.4g}"
        row[ACCURACY] = show_accuracy(same)
        rows.append(row)
    return rows


def shorten_list(settings: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Of settings, the best first: the first one with the epochs of its recipe, and all with several code lengths."""
    recipes = {(recipe["backbone"], recipe["epochs"]) for recipe in RECIPES.values()}
    shown = []
    seen = set()
    for same in settings:
        run = same.iloc[0]
        length = (run["backbone"], run["epochs"])
        is_first = length in recipes and length not in seen
        if is_first or same["bits"].nunique() > 1:
            shown.append(same)
            seen.add(length)
    return shown


def name_setting(runs: pd.DataFrame, short: bool) -> str:
    """The runs of one setting by network and options, with the minutes that the longest one took."""
    run = runs.iloc[0]
    name = f"here: {run['backbone']}, β {shorten(run['beta'])} (batches of {run['batch_size']})"
    if run["margin"] != 0.5:
        name += f", margin {shorten(run['margin'])}"
    name += f", {run['epochs']} epochs"
    if Path(run["weights"]).name == DISTILLED:
        name += ", fc6 and fc7 pretrained by study/pretrain_fc.py"
    if not short:
        name += f", {run['image_size']} pixels, {run['precision']}{other_options(run)}"
    name += run["data"].removeprefix("lists cifar10_jpeg").replace("_q", ", images of JPEG quality ")
    minutes = runs.filter(like="seconds_").sum(axis=1).max() / 60
    return f"{name} ({minutes:.0f} min)"


def other_options(run: Mapping[str, Any]) -> str:
    """The options that differ from those of the backbone's recipe, and that a row does not name otherwise."""
    recipes = {recipe["backbone"]: recipe for recipe in RECIPES.values()}
    recipe = recipes.get(run["backbone"], RECIPES["laptop"])
    named = ("weights", "image_size", "epochs", "beta", "margin")
    parts = []
    for name, default in {**recipe, "ema": 0.0}.items():
        if name not in named and run[name] != default:
            parts.append(f", {name} {shorten(run[name])}")
    return "".join(parts)


def ablation(runs: pd.DataFrame) -> str:
    """What each option of `laptop` gives: each run differs in one of them from the value that most runs have."""
    fields = [*RECIPES["laptop"], "ema"]
    runs = distinct(runs).sort_values("mean_average_precision", ascending=False)
    runs["weights"] = runs["weights"].map(lambda path: Path(path).name)
    recipe = runs[fields].mode().iloc[0]
    rows = []
    own_command = ""
    for run in runs.to_dict("records"):
        changes = [name for name in fields if run[name] != recipe[name]]
        texts = [f"{name} {shorten(run[name])} instead of {shorten(recipe[name])}" for name in changes]
        if not changes:
            own_command = run["command"]
        row = {
            "option": ", ".join(texts) or "the recipe's own",
            "mAP": f"{run['mean_average_precision']:.4f}",
            "worst … best order of ties": f"{run['worst']:.4f} … {run['best']:.4f}",
            "quantization error": f"{run['quantization_error']:.4f}",
        }
        rows.append(row)
    return f"{format_markdown(pd.DataFrame(rows))}\n\n{provenance(runs)} The recipe's own: `{own_command}`."


def jpeg_cost(runs: pd.DataFrame) -> str:
    """What it costs that images were JPEG files: runs on the same images, in pairs of one setting and seed."""
    setting = [name for name in SETTING if name != "fingerprint"]
    lossless, jpeg = (runs[runs["data"] == data] for data in (LOSSLESS, JPEG))
    pairs = lossless.merge(jpeg, on=[*setting, "seed"], suffixes=(" lossless", " JPEG"))
    rows = []
    for _, same in pairs.groupby(setting, sort=False, dropna=False):
        row = {name: str(same[name].iloc[0]) for name in ("backbone", "image_size", "epochs")}
        row["seeds"] = str(len(same))
        for column, name in JPEG_SCORES.items():
            before, after = same[f"{column} lossless"], same[f"{column} JPEG"]
            row[f"{name}, lossless"] = f"{before.mean():.4f}"
            row[f"{name}, JPEG"] = f"{after.mean():.4f}"
            row[f"{name}, JPEG less lossless"] = mean_with_deviation(after - before)
        rows.append(row)
    if not rows:
        return ""
    return f"{format_markdown(pd.DataFrame(rows))}\n\n{provenance(runs)}"


def mean_with_deviation(values: pd.Series) -> str:
    """The mean with its sign, and the standard deviation of several values."""
    deviation = f" ± {values.std():.4f}" if len(values) > 1 else ""
    return f"{values.mean():+.4f}{deviation}"


def course(summary: pd.DataFrame, folder: Path) -> str:
    """The figure of the paper's own run over its epochs, and what it shows."""
    path = RESULTS / "figures" / "paper.png"
    run = summary.set_index("run_id").loc[figure_runs(path)[0]]
    history = pd.read_csv(RESULTS / "paper.csv").set_index("epoch")
    last = history.iloc[-1]
    points = []
    if "query_map" in history:
        for epoch, score in history["query_map"].dropna().items():
            if epoch < len(history):
                points.append(f"{score:.4f} after {epoch} epochs")
    points.append(f"{run['mean_average_precision']:.4f} after {len(history)}")
    said = (
        f"*AlexNet, 64 bits, β {run['beta']:g}, batches of {run['batch_size']}, over its epochs.* After 10 epochs "
        f"{history['centroid_accuracy'][10]:.1%} of the training images lie nearest to their own centroid. The "
        f"score is {', '.join(points)}. In the last epoch's batches the quantization error is "
        f"{last['quantization_error']:.4f}, over query and database {run['quantization_error']:.4f}."
    )
    return f"![the paper's own run]({path.relative_to(folder)})\n\n{said}"


def block(runs: pd.DataFrame) -> str:
    """A table, a row for each number of bits, the longest training first; below it where it is from, and commands."""
    order = {"data": True, "backbone": True, "epochs": False, "bits": True}  # ascending or not
    each = distinct(runs).sort_values(list(order), ascending=list(order.values()))
    rows = average(each, [*differing_fields(each), "bits"])
    cells = rows[["data", "backbone", "image_size", "epochs", "loss", "bits", "seeds"]].astype(str)
    cells = cells.rename(columns={"image_size": "pixels"})
    cells["mAP"] = format_mean(rows)
    cells["worst … best order of ties"] = rows["worst"].map("{:.4f}".format) + rows["best"].map(" … {:.4f}".format)
    cells["quantization error"] = rows["quantization_error"].map("{:.4f}".format)
    cells["training s"] = rows["seconds_training"].map("{:.0f}".format)
    first_seed = runs[runs["seed"] == runs["seed"].min()]
    commands = "\n".join(f"    {command}" for command in first_seed["command"])
    return f"{format_markdown(cells)}\n\n{provenance(runs)} One seed of each, repeated by:\n\n{commands}\n"


if __name__ == "__main__":
    sys.exit(main())

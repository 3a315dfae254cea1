"""The tables of scores in README and docs/results.md, from the committed `docs/results/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from relahash_nb.config import RECIPES
from relahash_nb.registry import LOSSES
from relahash_nb.results import (
    compare_across,
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

RESULTS = Path(__file__).parent.parent / "docs" / "results"
ACCURACY = "query accuracy, 64 bits"
DISTILLED = "alexnet_distilled.safetensors"
JPEG_SCORES = {"new_images": "new images", "mean_average_precision": "protocol", "query_accuracy": "query accuracy"}
LOSSLESS, JPEG = "lists cifar10_lossless_4000", "lists cifar10_jpeg_4000"  # the same images
MINI = "lists miniimagenet100_10k"
FIVE = ("relahash", "orthohash", "orthohash_arc", "csq", "dpn")  # in README
SHORT_SCORES = {
    "new_images": "new images",
    "new_images_asymmetric": "new images, float query",
    "mean_average_precision": "published protocol",
}
FIVE_TEXT = (
    "Five of fifteen losses on fixed features, tuned for new images, in the last column for the protocol: mean ± "
    "standard deviation of five seeds (rank, as in [results](docs/results.md)). A float query is compared "
    "with stored bits."
)


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

    Below them stand two references without a rank: the index of the predicted class, and the float features.
    """
    runs = runs[runs["centroids"] == "max_hamming"]
    searches = select_budgets(runs[runs["loss"].isin(LOSSES)], MINI, bits=64)
    new_images, protocol = searches["24 trials, new images"], searches["24 trials, protocol"]
    columns = {}
    for score, title in SHORT_SCORES.items():
        tuned = protocol if score == "mean_average_precision" else new_images
        columns[title] = compare_across({title: tuned}, 64, score)[title]
    table = pd.DataFrame(columns).reindex(means_across({"": new_images}, 64, "new_images").index).fillna("")
    table = table[table.index.isin(FIVE)]

    class_index = select_budgets(runs[runs["loss"] == "class_index"], MINI, bits=64)["defaults"]
    quantizer = read_published("quantizer", "bash study/reality.sh quantizer")
    floats = quantizer[(quantizer["method"] == "float") & (quantizer["data"] == MINI)]
    for name, same in {"index of predicted class": class_index, "float features": floats}.items():
        new, published = same[["new_images", "mean_average_precision"]].mean()
        table.loc[name] = [f"{new:.4f}", "", f"{published:.4f}"]
    title = "miniImageNet, mAP@1000, 64 bits"
    return f"{format_markdown(table.rename_axis(title).reset_index())}\n\n{FIVE_TEXT}"


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

    The short one holds the best setting, the one of the published length, and those with several code lengths.
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
    """The first of these settings, those with the paper's network and epochs, and those with several lengths."""
    best, *others = settings
    shown = [best]
    for same in others:
        run = same.iloc[0]
        is_paper = all(run[name] == RECIPES["paper"][name] for name in ("backbone", "epochs"))
        if is_paper or same["bits"].nunique() > 1:
            shown.append(same)
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
    compared = runs[runs["weights"].isin(pairs["weights"])]
    return f"{format_markdown(pd.DataFrame(rows))}\n\n{provenance(compared)}"


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


def figure_runs(path: Path) -> list[str]:
    """The runs that a figure was drawn from, as `save_figure` wrote them into it."""
    return Image.open(path).text["Source"].split()

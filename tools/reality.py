"""The tables and sentences of `docs/reality-check.md`, from the committed `docs/results/`; see `tools/generate.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from relahash_nb.registry import BASELINES
from relahash_nb.results import compare, format_comparison
from relahash_nb.results.tables import NUMBERS, SHARED, average, distinct, format_markdown, format_mean, most_complete

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SETTINGS = {
    "lists cifar10_jpeg": "CIFAR-10",
    "lists miniimagenet100_10k": "miniImageNet",
    "lists corel5k_21": "Corel5k",
    "fashion_mini": "Fashion-MNIST",
}
SHOWN = 5  # losses in README
APART, UNSEEN = "lists cifar10_apart", "lists miniimagenet100_unseen"
SPLIT = "lists cifar10_split"
CENTRED = ("relahash", "orthohash", "orthohash_arc", "csq", "dpn")  # the losses that use centroids
REASSIGNED = {f"benchmarks.reassigned:{name}": name.lower() for name in ("RelaHash", "OrthoHash", "DPN")}
GIVEN = {
    "max_hamming": "drawn",
    "reassigned": "reassigned",
    "benchmarks.assigned:assigned": "assigned",
    "semantic": "semantic",
}
SHORT = "Quantization error over scale and margin of the equivalent cosine loss, CIFAR-10, 64 bits, one seed."
PHASE = (
    "Quantization error, 1 − cos(z, sign z), over the scale and the margin of the equivalent cosine loss (RelaHash: "
    "β/√B and m√B), CIFAR-10, 64 bits, one seed."
)
TUNED = (
    "Five of sixteen losses, tuned alike, 3–5 seeds (rank); miniImageNet: mAP@1000. Columns 1 to 3 train the hash "
    "layer alone, on fixed features: not comparable with above."
)


def reality(runs: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Every block of the page, of the runs that draw their centroids too, as a page in a folder links."""
    everything = distinct(runs)
    everything.loc[everything["loss"].isin(REASSIGNED), "centroids"] = "reassigned"
    everything["loss"] = everything["loss"].replace(REASSIGNED)
    runs = everything[everything["centroids"] == "max_hamming"]
    default, tuned = ({data: chosen(runs, data, which) for data in SETTINGS} for which in (False, True))
    floats = pd.read_csv(RESULTS / "quantizer.csv").assign(method="opq", **dict.fromkeys(NUMBERS[2:]))
    beside = {data: pd.concat([rows, floats[floats["data"] == data]]) for data, rows in default.items()}
    phase = pd.read_csv(RESULTS / "phase.csv")
    grid = phase[(phase["batch_size"] == 64) & phase["loss_options"].isna()]
    blocks = {
        "figure": phase_diagram(grid, folder),
        "defaults": "\n\n".join(side_by_side(beside, bits) for bits in (64, 16)),
        "tuned": "\n\n".join(side_by_side(tuned, bits) for bits in (64, 16)),
        "differences": "\n\n".join([*map(differences, (64, 16)), provenance(pd.concat(tuned.values()))]),
        "order": order(default, tuned),
        "sizes": sizes(runs, default, tuned),
        "errors": errors(tuned, grid),
        "thresholds": thresholds(),
        "batch": batch(phase, folder),
        "centroids": "\n\n".join(centroids(everything, bits) for bits in (64, 16)),
        "radius": radius(grid, tuned),
        "unseen": unseen(runs, default),
    }
    blocks["short"] = f"{phase_diagram(grid, folder, short=True)}\n\n{side_by_side(tuned, 64, SHOWN)}\n\n{TUNED}"
    return {f"reality {name}": text for name, text in blocks.items()}


def chosen(runs: pd.DataFrame, data: str, tuned: bool) -> pd.DataFrame:
    """The tuned or untuned runs of the setting that has most of them on a data set."""
    return most_complete(runs[(runs["data"] == data) & ((runs["tuning"] != "None") == tuned)], SHARED)


def side_by_side(parts: dict[str, pd.DataFrame], bits: int, most: int | None = None) -> str:
    """Methods × data sets at one number of bits: mean ± deviation and rank; the highest mean over a row first."""
    tables, means = {}, []
    for data, runs in parts.items():
        comparison = compare(runs[runs["bits"] == bits])
        if len(comparison):
            tables[SETTINGS[data]] = format_comparison(comparison)[bits]
            means.append(comparison.set_index("method")["mean"])
    best = pd.concat(means, axis=1).mean(axis=1).sort_values(ascending=False).index[:most]
    wide = pd.concat(tables, axis=1).reindex(best).fillna("")
    return format_markdown(wide.rename_axis(f"mAP, {bits} bits").reset_index())


def differences(bits: int) -> str:
    """The published differences to RelaHash at one number of bits, methods × data sets."""
    rows = pd.read_csv(RESULTS / "differences.csv").query("bits == @bits")
    verdict = rows["verdict"].map(lambda word: "" if word == "not told apart" else f" **{word}**")
    rows = rows.assign(text=rows["difference"].map("{:+.4f}".format) + verdict, data=rows["data"].map(SETTINGS))
    best = rows.groupby("method")["difference"].mean().sort_values(ascending=False).index
    columns = [name for name in SETTINGS.values() if name in set(rows["data"])]
    wide = rows.pivot(index="method", columns="data", values="text").reindex(best)[columns].fillna("")
    return format_markdown(wide.rename_axis(f"minus relahash, {bits} bits").reset_index())


def phase_diagram(phase: pd.DataFrame, folder: Path, short: bool = False) -> str:
    """The figure of scale and margin, and what the relative position changes at equal values of both."""
    gap = paired(phase, "quantization_error")
    error = phase["quantization_error"]
    about = f"At equal scale and margin the error of RelaHash is larger in {(gap > 0).sum()} of {len(gap)} cells"
    if not short:
        about += f", by {gap.mean():.4f} on average ({gap.min():+.4f} to {gap.max():+.4f}), small beside the errors, "
        about += f"{error.min():.3f} to {error.max():.3f}"
    caption = SHORT if short else PHASE
    return f"![phase diagram]({(RESULTS / 'figures' / 'phase.png').relative_to(folder)})\n\n*{caption}* {about}."


def paired(phase: pd.DataFrame, value: str) -> pd.Series:
    """RelaHash minus OrthoHash in a column, at each scale and margin of the grid."""
    root = phase["batch_size"].where(phase["loss"] == "relahash", 1) ** 0.5
    cells = phase.assign(scale=(phase["beta"] / root).round(6), cosine=(phase["margin"] * root).round(6))
    wide = cells.pivot(index=["scale", "cosine"], columns="loss", values=value)
    return wide["relahash"] - wide["orthohash"]


def mean_scores(runs: pd.DataFrame, value: str = "mean_average_precision") -> pd.Series:
    """The mean over the seeds of each loss and number of bits; without the baselines, which are not tuned."""
    return runs[~runs["loss"].isin(BASELINES)].groupby(["bits", "loss"])[value].mean()


def order(default: dict[str, pd.DataFrame], tuned: dict[str, pd.DataFrame]) -> str:
    """How much of the order at defaults is left after tuning, for each data set and number of bits."""
    rows = []
    for data, name in SETTINGS.items():
        before, after = mean_scores(default[data]), mean_scores(tuned[data])
        for bits in before.index.unique("bits"):
            gain = after[bits] - before[bits]
            rows.append(
                {
                    "data": f"{name}, {bits} bits",
                    "rank correlation": f"{before[bits].corr(after[bits], 'spearman'):.2f}",
                    "first at defaults": before[bits].idxmax(),
                    "first after tuning": after[bits].idxmax(),
                    "spread at defaults": f"{np.ptp(before[bits]):.3f}",
                    "spread after tuning": f"{np.ptp(after[bits]):.3f}",
                    "gain of RelaHash": f"{gain['relahash']:+.3f}",
                    "largest gain": f"{gain.max():+.3f} ({gain.idxmax()})",
                }
            )
    return format_markdown(pd.DataFrame(rows))


def sizes(runs: pd.DataFrame, default: dict[str, pd.DataFrame], tuned: dict[str, pd.DataFrame]) -> str:
    """What else moves a score on CIFAR-10 at 64 bits, over the losses at their defaults: mean, smallest and largest."""
    before, after = (part["lists cifar10_jpeg"] for part in (default, tuned))
    base = before[(before["bits"] == 64) & ~before["loss"].isin(BASELINES)].set_index(["loss", "seed"])
    score = base["mean_average_precision"]
    epochs = pd.read_csv(RESULTS / "epochs.csv").set_index("loss")
    apart = chosen(runs, APART, False)
    apart = apart[apart["bits"] == 64].set_index(["loss", "seed"])["mean_average_precision"]
    splits = [score.xs(0, level="seed")]
    for data in sorted(name for name in runs["data"].unique() if name.startswith(SPLIT)):
        splits.append(chosen(runs, data, False).set_index("loss")["mean_average_precision"])
    moves = {
        "order of ties: best minus worst": base["best"] - base["worst"],
        "epoch: the best on the queries minus the last": epochs["best"] - epochs["last"],
        "database with the training images minus without": (score - apart).dropna(),
        "seed (and its centroids): largest minus smallest": score.groupby("loss").agg(np.ptp),
        f"split: largest minus smallest of {len(splits)}": pd.concat(splits, axis=1).dropna().apply(np.ptp, axis=1),
        "tuning minus defaults": mean_scores(after)[64] - mean_scores(before)[64],
    }
    rows = [
        {"what": name, "mean": f"{move.mean():+.4f}", "range over the losses": f"{low:+.4f} … {high:+.4f}"}
        for name, move in moves.items()
        for low, high in [move.groupby("loss").mean().agg(["min", "max"])]
    ]
    return format_markdown(pd.DataFrame(rows))


def errors(tuned: dict[str, pd.DataFrame], phase: pd.DataFrame) -> str:
    """Whether a small quantization error goes with a high score: across the tuned losses, and within two losses."""
    pair = ["quantization_error", "mean_average_precision"]
    across = []
    for data, name in SETTINGS.items():
        error, score = (mean_scores(tuned[data], value) for value in pair)
        for bits in score.index.unique("bits"):
            across.append(f"{error[bits].corr(score[bits], 'spearman'):+.2f} ({name}, {bits} bits)")
    within = [f"{rows[pair].corr('spearman').iloc[0, 1]:+.2f} ({loss})" for loss, rows in phase.groupby("loss")]
    said = f"Rank correlation of error and score across the tuned losses: {', '.join(across)}."
    return f"{said} Within one loss, over scale and margin: {', '.join(within)}."


def thresholds() -> str:
    """What `benchmarks.thresholds` found, the mean over the seeds of a setting, beside the quantization error."""
    rows = pd.read_csv(RESULTS / "thresholds.csv").merge(pd.read_csv(RESULTS / "summary.csv"), on="run_id")
    rows["data"] = rows["data"].map(SETTINGS)
    rows["run"] = rows["data"] + ", " + rows["backbone"] + ", " + rows["epochs"].astype(str) + " epochs"
    rows["run"] += rows["finetune"].map({True: "", False: ", fixed features"})
    names = {"quantization_error": "quantization error", "spread 0": "mAP by Hamming distance"}
    names |= {f"spread {spread}": f"thresholds, s = {spread}" for spread in ("0.25", "0.5", "1")}
    names |= {"cosine": "mAP by cosine"}
    groups = rows.groupby(["run", "loss"])
    table = groups[[*names]].mean().sort_values("quantization_error").map("{:.4f}".format).rename(columns=names)
    return format_markdown(table.assign(seeds=groups.size().astype(str)).reset_index())


def centroids(runs: pd.DataFrame, bits: int) -> str:
    """The same losses with centroids that know how alike the classes look, at defaults; the best without any."""
    columns = {}
    for data, name in (SETTINGS | {UNSEEN: "unseen classes"}).items():
        rows = chosen(runs, data, False).query("bits == @bits")
        compared = rows[rows["loss"].isin(rows[rows["centroids"] == "semantic"]["loss"])]
        if compared.empty:
            continue
        means = average(compared, ["loss", "centroids"])
        means.index = means["loss"] + ", " + means["centroids"].map(GIVEN)
        others = mean_scores(rows[~rows["loss"].isin(CENTRED)])[bits]
        columns[name] = format_mean(means)
        columns[name]["the best loss without centroids"] = f"{others.max():.4f} ({others.idxmax()})"
    order = [f"{loss}, {way}" for loss in CENTRED for way in GIVEN.values()]
    wide = pd.DataFrame(columns).reindex([*order, "the best loss without centroids"]).dropna(how="all").fillna("")
    return format_markdown(wide.rename_axis(f"mAP, {bits} bits").reset_index())


def batch(phase: pd.DataFrame, folder: Path) -> str:
    """The figure of scale and batch size, and how much the score changes with the batch size at one β."""
    rows = phase[(phase["loss"] == "relahash") & (phase["margin"] == 0.5)]
    form = np.where(rows["loss_options"].isna(), "published", "invariant")
    score = rows.groupby([form, "beta"])["mean_average_precision"]
    spread = (score.max() - score.min()).groupby(level=0).mean()
    link = (RESULTS / "figures" / "batch_size.png").relative_to(folder)
    names = ", ".join(map(str, sorted(rows["batch_size"].unique())))
    said = (
        f"Over batches of {names}, the score at one β ranges over {spread['published']:.3f} in the published form and "
    )
    said += f"{spread['invariant']:.3f} in the batch-invariant form (means over β, one seed)."
    return f"![batch size]({link})\n\n{said}"


def radius(phase: pd.DataFrame, tuned: dict[str, pd.DataFrame]) -> str:
    """What is found within Hamming distance 2: at equal scale and margin, and after tuning."""
    gap = paired(phase, "precision_within_2")
    said = "At equal scale and margin, the precision within Hamming distance 2 of RelaHash minus that of OrthoHash is "
    said += f"{gap.mean():+.3f} on average ({gap.min():+.3f} to {gap.max():+.3f}, 64 bits). Tuned: "
    parts = []
    for data, name in SETTINGS.items():
        found = mean_scores(tuned[data], "precision_within_2")
        for bits in found.index.unique("bits"):
            best = found[bits].idxmax()
            ours, others = found[bits, "relahash"], found[bits, "orthohash"]
            highest = f"the highest {found[bits, best]:.3f} ({best})"
            parts.append(f"{name}, {bits} bits: RelaHash {ours:.3f}, OrthoHash {others:.3f}, {highest}")
    return f"{said}{'; '.join(parts)}."


def unseen(runs: pd.DataFrame, default: dict[str, pd.DataFrame]) -> str:
    """Scores on classes that were trained on, and on classes that were not, at defaults and 64 bits."""
    parts = {"seen classes": default["lists miniimagenet100_10k"], "unseen classes": chosen(runs, UNSEEN, False)}
    tables = {name: compare(part[part["bits"] == 64]) for name, part in parts.items()}
    wide = pd.concat({name: format_comparison(table)[64] for name, table in tables.items()}, axis=1)
    best = tables["unseen classes"].set_index("method")["mean"].sort_values(ascending=False).index
    return format_markdown(wide.reindex(best).fillna("").rename_axis("mAP@1000, 64 bits").reset_index())


def provenance(runs: pd.DataFrame) -> str:
    """Seeds, weights, hardware and versions, in one sentence."""
    facts = runs[["processor", "cores", "python", "torch", "torchvision", "numpy"]].drop_duplicates()
    machines = "; ".join(
        f"{row.processor}, {row.cores} cores, Python {row.python}, torch {row.torch}, torchvision {row.torchvision}, "
        f"NumPy {row.numpy}"
        for row in facts.itertuples()
    )
    weights = ", ".join(sorted({Path(name).name for name in runs["weights"]}))
    seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
    said = f"Mean ± standard deviation over the seeds ({seeds})" if "," in seeds else f"Seed {seeds}"
    return f"{said}; weights: {weights}; {machines}."

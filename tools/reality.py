"""The tables and sentences of `docs/reality-check.md`, from the committed `docs/results/`; see `tools/generate.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from relahash_nb.registry import BASELINES
from relahash_nb.results import compare, format_comparison, read_table
from relahash_nb.results.selection import most_complete
from relahash_nb.results.tables import SHARED, average, distinct, format_markdown, format_mean

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SETTINGS = {
    "lists cifar10_jpeg": "CIFAR-10",
    "lists miniimagenet100_10k": "miniImageNet",
    "lists corel5k_21": "Corel5k",
    "fashion_mini": "Fashion-MNIST",
}
LENGTHS = (64, 16)  # bits
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
PHASE = (
    "Quantization error, 1 − cos(z, sign z), over the scale and the margin of the equivalent cosine loss (RelaHash: "
    "β/√B and m√B), CIFAR-10, 64 bits, one seed."
)
TUNED = (
    "Five of sixteen losses, tuned alike, 3–5 seeds (rank from five); miniImageNet: mAP@1000. Columns 1 to 3 train the "
    "hash layer alone, on fixed features: not comparable with above."
)


def reality(runs: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Every block of the page, of the runs that draw their centroids too, as a page in a folder links."""
    everything = distinct(runs)
    is_reassigned = everything["loss"].isin(REASSIGNED)
    everything.loc[is_reassigned, "centroids"] = "reassigned"
    everything["loss"] = everything["loss"].replace(REASSIGNED)
    runs = everything[everything["centroids"] == "max_hamming"]
    default = {data: chosen(runs, data, tuned=False) for data in SETTINGS}
    tuned = {data: chosen(runs, data, tuned=True) for data in SETTINGS}
    phase = read_table(RESULTS / "phase.csv")
    grid = phase[(phase["batch_size"] == 64) & phase["loss_options"].isna()]
    short = [side_by_side(tuned, 64, SHOWN), TUNED]
    blocks = {
        "figure": phase_diagram(grid, folder),
        "defaults": "\n\n".join(side_by_side(with_quantizer(default), bits) for bits in LENGTHS),
        "tuned": "\n\n".join(side_by_side(tuned, bits) for bits in LENGTHS),
        "differences": "\n\n".join([*map(differences, LENGTHS), provenance(pd.concat(tuned.values()))]),
        "order": order(default, tuned),
        "sizes": sizes(runs, default, tuned),
        "errors": errors(tuned, grid),
        "thresholds": thresholds(),
        "batch": batch(phase, folder),
        "centroids": "\n\n".join(centroids(everything, bits) for bits in LENGTHS),
        "radius": radius(grid, tuned),
        "unseen": unseen(runs, default),
        "short": "\n\n".join(short),
    }
    return {f"reality {name}": text for name, text in blocks.items()}


def chosen(runs: pd.DataFrame, data: str, tuned: bool) -> pd.DataFrame:
    """The tuned or untuned runs of the setting that has most of them on a data set."""
    is_tuned = runs["tuning"].notna()
    return most_complete(runs[(runs["data"] == data) & (is_tuned == tuned)], SHARED)


def with_quantizer(parts: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs on each data set, and product quantization beside them."""
    quantizer = pd.read_csv(RESULTS / "quantizer.csv")
    if "method" not in quantizer:
        quantizer["method"] = "opq"
    return {data: pd.concat([runs, quantizer[quantizer["data"] == data]]) for data, runs in parts.items()}


def side_by_side(parts: dict[str, pd.DataFrame], bits: int, most: int | None = None) -> str:
    """Methods × data sets at one number of bits: mean ± deviation and rank; the highest mean over a row first."""
    tables = {}
    means = []
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
    verdicts = rows["verdict"].map({"better": " **better**", "worse": " **worse**", "not told apart": ""})
    texts = rows["difference"].map("{:+.4f}".format) + verdicts
    rows = rows.assign(text=texts, data=rows["data"].map(SETTINGS))
    best = rows.groupby("method")["difference"].mean().sort_values(ascending=False).index
    columns = [name for name in SETTINGS.values() if name in set(rows["data"])]
    wide = rows.pivot(index="method", columns="data", values="text").reindex(best)[columns].fillna("")
    return format_markdown(wide.rename_axis(f"minus relahash, {bits} bits").reset_index())


def phase_diagram(phase: pd.DataFrame, folder: Path) -> str:
    """The figure of scale and margin, and what the relative position changes at equal values of both."""
    gap = paired(phase, "quantization_error")
    score = paired(phase, "mean_average_precision")
    error = phase["quantization_error"]
    link = (RESULTS / "figures" / "phase.png").relative_to(folder)
    return (
        f"![phase diagram]({link})\n\n*{PHASE}* At equal scale and margin the error of RelaHash is larger in "
        f"{(gap > 0).sum()} of {len(gap)} cells, by {gap.mean():.4f} on average "
        f"({gap.min():+.4f} to {gap.max():+.4f}), small beside the errors, "
        f"{error.min():.3f} to {error.max():.3f}. Its mAP is higher in {(score > 0).sum()} cells, "
        f"by {score.mean():.4f} on average ({score.min():+.4f} to {score.max():+.4f})."
    )


def paired(phase: pd.DataFrame, value: str) -> pd.Series:
    """RelaHash minus OrthoHash in a column, at each scale and margin of the equivalent cosine loss."""
    cells = phase.assign(scale=phase["beta"], cosine=phase["margin"])
    is_relahash = phase["loss"] == "relahash"
    root = phase.loc[is_relahash, "batch_size"] ** 0.5
    cells.loc[is_relahash, "scale"] /= root
    cells.loc[is_relahash, "cosine"] *= root
    wide = cells.pivot(index=["scale", "cosine"], columns="loss", values=value)
    return wide["relahash"] - wide["orthohash"]


def mean_scores(runs: pd.DataFrame, value: str = "mean_average_precision") -> pd.Series:
    """The mean over the seeds of each loss and number of bits; without the baselines, which are not tuned."""
    return runs[~runs["loss"].isin(BASELINES)].groupby(["bits", "loss"])[value].mean()


def order(default: dict[str, pd.DataFrame], tuned: dict[str, pd.DataFrame]) -> str:
    """How much of the order at defaults is left after tuning, for each data set and number of bits."""
    rows = []
    for data, name in SETTINGS.items():
        before = mean_scores(default[data])
        after = mean_scores(tuned[data])
        for bits in before.index.unique("bits"):
            gain = after[bits] - before[bits]
            row = {
                "data": f"{name}, {bits} bits",
                "rank correlation": f"{before[bits].corr(after[bits], 'spearman'):.2f}",
                "first at defaults": before[bits].idxmax(),
                "first after tuning": after[bits].idxmax(),
                "spread at defaults": f"{np.ptp(before[bits]):.3f}",
                "spread after tuning": f"{np.ptp(after[bits]):.3f}",
                "gain of RelaHash": f"{gain['relahash']:+.3f}",
                "largest gain": f"{gain.max():+.3f} ({gain.idxmax()})",
            }
            rows.append(row)
    return format_markdown(pd.DataFrame(rows))


def sizes(runs: pd.DataFrame, default: dict[str, pd.DataFrame], tuned: dict[str, pd.DataFrame]) -> str:
    """What else moves a score on CIFAR-10 at 64 bits, over the losses at their defaults: mean, smallest and largest."""
    before = default["lists cifar10_jpeg"]
    after = tuned["lists cifar10_jpeg"]
    is_trained = ~before["loss"].isin(BASELINES)
    base = before[(before["bits"] == 64) & is_trained].set_index(["loss", "seed"])
    score = base["mean_average_precision"]
    epochs = pd.read_csv(RESULTS / "epochs.csv").set_index("loss")
    apart = chosen(runs, APART, tuned=False)
    apart_score = apart[apart["bits"] == 64].set_index(["loss", "seed"])["mean_average_precision"]
    splits = [score.xs(0, level="seed")]
    for data in sorted(runs["data"].unique()):
        if data.startswith(SPLIT):
            splits.append(chosen(runs, data, tuned=False).set_index("loss")["mean_average_precision"])
    moves = {
        "order of ties: best minus worst": base["best"] - base["worst"],
        "epoch: the best on the queries minus the last": epochs["best"] - epochs["last"],
        "database with the training images minus without": (score - apart_score).dropna(),
        "seed (and its centroids): largest minus smallest": score.groupby("loss").agg(np.ptp),
        f"split: largest minus smallest of {len(splits)}": pd.concat(splits, axis=1).dropna().apply(np.ptp, axis=1),
        "tuning minus defaults": mean_scores(after)[64] - mean_scores(before)[64],
    }
    rows = []
    for name, move in moves.items():
        by_loss = move.groupby("loss").mean()
        span = f"{by_loss.min():+.4f} … {by_loss.max():+.4f}"
        rows.append({"what": name, "mean": f"{move.mean():+.4f}", "range over the losses": span})
    return format_markdown(pd.DataFrame(rows))


def errors(tuned: dict[str, pd.DataFrame], phase: pd.DataFrame) -> str:
    """Whether a small quantization error goes with a high score: across the tuned losses, and within two losses."""
    across = []
    for data, name in SETTINGS.items():
        error = mean_scores(tuned[data], "quantization_error")
        score = mean_scores(tuned[data])
        for bits in score.index.unique("bits"):
            across.append(f"{error[bits].corr(score[bits], 'spearman'):+.2f} ({name}, {bits} bits)")
    within = []
    for loss, same_loss in phase.groupby("loss"):
        correlation = same_loss["quantization_error"].corr(same_loss["mean_average_precision"], "spearman")
        within.append(f"{correlation:+.2f} ({loss})")
    said = f"Rank correlation of error and score across the tuned losses: {', '.join(across)}."
    return f"{said} Within one loss, over scale and margin: {', '.join(within)}."


def thresholds() -> str:
    """What `benchmarks.thresholds` found, the mean over the seeds of a setting, beside the quantization error."""
    rows = pd.read_csv(RESULTS / "thresholds.csv").merge(read_table(RESULTS / "summary.csv"), on="run_id")
    titles = []
    for run in rows.to_dict("records"):
        title = f"{SETTINGS[run['data']]}, {run['backbone']}, {run['epochs']} epochs"
        titles.append(title if run["finetune"] else f"{title}, fixed features")
    names = {
        "quantization_error": "quantization error",
        "spread 0": "mAP by Hamming distance",
        "spread 0.25": "thresholds, s = 0.25",
        "spread 0.5": "thresholds, s = 0.5",
        "spread 1": "thresholds, s = 1",
        "cosine": "mAP by cosine",
    }
    groups = rows.assign(run=titles).groupby(["run", "loss"])
    means = groups[list(names)].mean().sort_values("quantization_error")
    table = means.map("{:.4f}".format).rename(columns=names)
    return format_markdown(table.assign(seeds=groups.size().astype(str)).reset_index())


def centroids(runs: pd.DataFrame, bits: int) -> str:
    """The same losses with centroids that know how alike the classes look, at defaults; the best without any."""
    without = "the best loss without centroids"
    columns = {}
    for data, name in {**SETTINGS, UNSEEN: "unseen classes"}.items():
        rows = chosen(runs, data, tuned=False).query("bits == @bits")
        with_semantic = rows[rows["centroids"] == "semantic"]["loss"]
        compared = rows[rows["loss"].isin(with_semantic)]
        if compared.empty:
            continue
        means = average(compared, ["loss", "centroids"])
        means.index = means["loss"] + ", " + means["centroids"].map(GIVEN)
        others = mean_scores(rows[~rows["loss"].isin(CENTRED)])[bits]
        columns[name] = format_mean(means)
        columns[name][without] = f"{others.max():.4f} ({others.idxmax()})"
    order = [f"{loss}, {way}" for loss in CENTRED for way in GIVEN.values()]
    wide = pd.DataFrame(columns).reindex([*order, without]).dropna(how="all").fillna("")
    return format_markdown(wide.rename_axis(f"mAP, {bits} bits").reset_index())


def batch(phase: pd.DataFrame, folder: Path) -> str:
    """The figure of scale and batch size, and how much the score changes with the batch size at one β."""
    rows = phase[(phase["loss"] == "relahash") & (phase["margin"] == 0.5)]
    sizes = ", ".join(str(size) for size in sorted(rows["batch_size"].unique()))
    is_published = rows["loss_options"].isna()
    said = (
        f"Over batches of {sizes}, the score at one β ranges over {batch_range(rows[is_published]):.3f} in the "
        f"published form and {batch_range(rows[~is_published]):.3f} in the batch-invariant form (means over β, one "
        "seed)."
    )
    link = (RESULTS / "figures" / "batch_size.png").relative_to(folder)
    return f"![batch size]({link})\n\n{said}"


def batch_range(runs: pd.DataFrame) -> float:
    """The largest minus the smallest score over the batch sizes, the mean over β."""
    score = runs.groupby("beta")["mean_average_precision"]
    return (score.max() - score.min()).mean()


def radius(phase: pd.DataFrame, tuned: dict[str, pd.DataFrame]) -> str:
    """What is found within Hamming distance 2: at equal scale and margin, and after tuning."""
    gap = paired(phase, "precision_within_2")
    parts = []
    for data, name in SETTINGS.items():
        precision = mean_scores(tuned[data], "precision_within_2")
        for bits in precision.index.unique("bits"):
            by_loss = precision[bits]
            highest = f"the highest {by_loss.max():.3f} ({by_loss.idxmax()})"
            both = f"RelaHash {by_loss['relahash']:.3f}, OrthoHash {by_loss['orthohash']:.3f}"
            parts.append(f"{name}, {bits} bits: {both}, {highest}")
    return (
        "At equal scale and margin, the precision within Hamming distance 2 of RelaHash minus that of OrthoHash is "
        f"{gap.mean():+.3f} on average ({gap.min():+.3f} to {gap.max():+.3f}, 64 bits). Tuned: {'; '.join(parts)}."
    )


def unseen(runs: pd.DataFrame, default: dict[str, pd.DataFrame]) -> str:
    """Scores on classes that were trained on, and on classes that were not, at defaults and 64 bits."""
    parts = {
        "seen classes": default["lists miniimagenet100_10k"],
        "unseen classes": chosen(runs, UNSEEN, tuned=False),
    }
    tables = {name: compare(part[part["bits"] == 64]) for name, part in parts.items()}
    wide = pd.concat({name: format_comparison(table)[64] for name, table in tables.items()}, axis=1)
    best = tables["unseen classes"].set_index("method")["mean"].sort_values(ascending=False).index
    return format_markdown(wide.reindex(best).fillna("").rename_axis("mAP@1000, 64 bits").reset_index())


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

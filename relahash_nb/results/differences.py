"""Differences between two methods, or two settings, of runs that have the rest in common."""

from typing import Any

import numpy as np
import pandas as pd

from relahash_nb.results.runs import load_run

LEVEL = 0.05  # of a verdict
COVERED = (0.025, 0.975)  # quantiles of a 95 % interval
QUERY_SCORES = {  # the array of `codes.npz` that has a score for each query
    "mean_average_precision": "average_precision",
    "new_images": "new_images_average_precision",
}


def as_cosine(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of RelaHash and OrthoHash with `scale` and `margin` as those of a cosine loss.

    RelaHash with β and m over batches of B is, for codes of one length, a cosine loss of the scale β/√B with the margin
    m√B. OrthoHash is a cosine loss.

    Args:
        runs: With `loss`, `batch_size`, `beta` and `margin`.

    Example:
        >>> runs = pd.DataFrame({"loss": ["relahash", "orthohash"], "beta": [16.0, 2.0], "margin": [0.5, 4.0]})
        >>> as_cosine(runs.assign(batch_size=64))[["scale", "margin"]].values.tolist()
        [[2.0, 4.0], [2.0, 4.0]]
    """
    root = runs["batch_size"].where(runs["loss"] == "relahash", 1) ** 0.5
    return runs.assign(scale=(runs["beta"] / root).round(6), margin=(runs["margin"] * root).round(6))


def paired_cells(runs: pd.DataFrame, score: str) -> pd.Series:
    """RelaHash minus OrthoHash at equal scale and margin (`as_cosine`), the mean over the seeds that both have.

    Args:
        runs: Of both losses, over a grid of `beta` and `margin`.
        score: A column.

    Returns:
        By `margin` and `scale`; a cell that one of the losses does not have is left out.

    Example:
        >>> rows = [("relahash", 16.0, 0.5, 0.6), ("orthohash", 2.0, 4.0, 0.5)]
        >>> runs = pd.DataFrame(rows, columns=["loss", "beta", "margin", "new_images"]).assign(batch_size=64, seed=0)
        >>> paired_cells(runs, "new_images").round(4).to_dict()
        {(4.0, 2.0): 0.1}
    """
    wide = as_cosine(runs).pivot_table(index=["margin", "scale", "seed"], columns="loss", values=score)
    wide = wide.reindex(columns=["relahash", "orthohash"]).dropna()
    return (wide["relahash"] - wide["orthohash"]).groupby(["margin", "scale"]).mean()


def centroid_shift(runs: pd.DataFrame, kind: str, loss: str, score: str) -> pd.Series:
    """A score with another kind of centroids less that with max-Hamming ones, the mean over the seeds that both have.

    Args:
        runs: Over a grid of `beta` and `margin`, with several kinds of `centroids`.
        kind: Of centroids.
        loss: Whose runs are compared.
        score: A column.

    Returns:
        By `beta` and `margin`; a cell that one of the kinds does not have is left out.

    Example:
        >>> rows = [("max_hamming", 0, 0.04), ("max_hamming", 1, 0.01), ("hadamard", 0, 0.09)]
        >>> runs = pd.DataFrame(rows, columns=["centroids", "seed", "error"]).assign(loss="csq", beta=8.0, margin=0.5)
        >>> centroid_shift(runs, "hadamard", "csq", "error").round(4).to_dict()
        {(8.0, 0.5): 0.05}
    """
    of_loss = runs[runs["loss"] == loss]
    wide = of_loss.pivot_table(index=["beta", "margin", "seed"], columns="centroids", values=score)
    wide = wide.reindex(columns=[kind, "max_hamming"]).dropna()
    return (wide[kind] - wide["max_hamming"]).groupby(["beta", "margin"]).mean()


def paired_differences(
    runs: pd.DataFrame,
    reference: str = "relahash",
    resamples: int = 10_000,
    score: str = "mean_average_precision",
) -> pd.DataFrame:
    """How much better or worse than a reference each method is, query by query and seed by seed.

    The difference in mean average precision has a 95 % interval by a bootstrap over queries and over seeds at once.
    The split of the data is fixed: see `differences_over_splits`. `verdict` is `better`, `worse`, or `not told apart`,
    at 5 % after Holm's correction for the number of methods at these bits (Scandinavian Journal of Statistics, 1979).

    Args:
        runs: As `select_runs` gives them, all on the same queries.
        reference: The method that the others are compared with, over the seeds that both have.
        resamples: Of the bootstrap.
        score: `mean_average_precision`, or `new_images`.

    Returns:
        A row for each method and number of bits: `method`, `bits`, `seeds`, `difference`, `low`, `high`, `verdict`;
        the largest difference first. A method with fewer than two seeds in common has no row.
    """
    rows = []
    for bits, same_bits in runs.groupby("bits"):
        generator = np.random.default_rng(0)  # the same draws for each code length, whichever others there are
        scores = load_query_scores(same_bits, QUERY_SCORES[score])
        base = scores.pop(reference, None)
        if base is None:
            continue
        queries = len(next(iter(base.values())))
        weights = generator.multinomial(queries, np.full(queries, 1 / queries), resamples) / queries  # (R, Q)
        differences = []
        for method, by_seed in scores.items():
            seeds = sorted(by_seed.keys() & base.keys())
            if len(seeds) < 2:
                continue
            gain = np.stack([by_seed[seed] - base[seed] for seed in seeds])  # (S, Q)
            row = {"method": method, "bits": bits, "seeds": len(seeds)}
            differences.append(row | describe_gain(gain, weights, generator))
        rows += sorted(with_verdicts(differences), key=lambda row: -row["difference"])
    return pd.DataFrame(rows)


def format_differences(differences: pd.DataFrame) -> pd.DataFrame:
    """The difference of each method as text, with its verdict: (+) is better, (−) is worse.

    Args:
        differences: What `paired_differences` gives, with `data` and `tuning`.

    Returns:
        Methods × data set, number of bits and tuning; an empty text where there is no difference.

    Example:
        >>> row = {"method": "csq", "data": "mini", "bits": 64, "tuning": "24 trials", "difference": 0.01}
        >>> format_differences(pd.DataFrame([row | {"verdict": "better"}])).loc["csq"].tolist()
        ['+0.0100 (+)']
    """
    signs = {"better": " (+)", "worse": " (−)", "not told apart": ""}
    texts = differences["difference"].map("{:+.4f}".format) + differences["verdict"].map(signs)
    columns = ["data", "bits", "tuning"]
    table = differences.assign(text=texts).pivot(index="method", columns=columns, values="text")
    return table.fillna("").sort_index(axis=1)


def load_query_scores(runs: pd.DataFrame, array: str) -> dict[str, dict[int, np.ndarray]]:
    """An array of `codes.npz` that holds a score for each query, (Q,), by method and by seed."""
    scores = {}
    for method, same_method in runs.groupby("method"):
        folders = same_method.set_index("seed")["folder"]
        scores[method] = {seed: read_query_scores(folder, array) for seed, folder in folders.items()}
    return scores


def read_query_scores(folder: str, array: str) -> np.ndarray:
    """(Q,), a score for each query of a run; a ValueError if the run has none."""
    arrays = load_run(folder).arrays
    if array not in arrays:
        raise ValueError(f"{folder}: has no {array}, as a run of an earlier version; relahash train makes it again")
    return arrays[array]


def differences_over_splits(
    runs: pd.DataFrame, reference: str = "relahash", score: str = "mean_average_precision"
) -> pd.DataFrame:
    """How much the difference of each method to a reference depends on the split of the data.

    Args:
        runs: Of one data set with `method` and `fingerprint`, which tells the splits apart.
        reference: The method that the others are compared with, on each split over the seeds that both have.
        score: A column, such as `new_images`.

    Returns:
        A row for each method and number of bits: `method`, `bits`, `splits`, the mean `difference` over the splits and
        its `deviation` from split to split, NaN of one; the largest difference first.

    Example:
        >>> values = {"relahash": [0.5, 0.6], "csq": [0.52, 0.66]}
        >>> rows = [(m, 16, 0, str(i), v) for m, scores in values.items() for i, v in enumerate(scores)]
        >>> columns = ["method", "bits", "seed", "fingerprint", "mean_average_precision"]
        >>> print(differences_over_splits(pd.DataFrame(rows, columns=columns)).round(3))
          method  bits  splits  difference  deviation
        0    csq    16       2        0.04      0.028
    """
    by_method = runs.pivot_table(index=["bits", "fingerprint", "seed"], columns="method", values=score)
    gains = by_method.drop(columns=reference).sub(by_method[reference], axis=0)
    by_split = gains.groupby(["bits", "fingerprint"]).mean()  # of the seeds that both have
    rows = by_split.melt(var_name="method", value_name="gain", ignore_index=False).dropna().reset_index()
    groups = rows.groupby(["method", "bits"])["gain"]
    table = groups.agg(splits="size", difference="mean", deviation="std").reset_index()
    return table.sort_values(["bits", "difference"], ascending=[True, False], ignore_index=True)


def describe_gain(gain: np.ndarray, weights: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
    """The mean of a method's gain, a 95 % interval, and the chance of so large a mean where there is no gain.

    Means of S resampled seeds vary less than means of S new seeds would, by √((S − 1)/S); so the seeds of a resample
    are first moved away from their mean by the inverse.

    Args:
        gain: (S, Q), of each seed and query.
        weights: (R, Q), what each query counts in each resample; the sum of a row is 1.
        generator: Draws the seeds of the resamples.
    """
    by_seed = gain @ weights.T  # (S, R)
    mean = by_seed.mean(axis=0)  # (R,)
    by_seed = mean + (by_seed - mean) * (len(gain) / (len(gain) - 1)) ** 0.5
    seeds = generator.integers(len(gain), size=by_seed.shape)
    means = np.take_along_axis(by_seed, seeds, axis=0).mean(axis=0)  # (R,)
    smaller_tail = min((means <= 0).sum(), (means >= 0).sum())
    chance = 2 * (1 + smaller_tail) / (1 + len(means))
    low, high = np.quantile(means, COVERED)
    return {"difference": gain.mean(), "low": low, "high": high, "chance": min(1.0, chance)}


def with_verdicts(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A `verdict` in place of each `chance`, by Holm's correction: the k-th smallest of n counts n + 1 - k times."""
    rows = []
    is_told_apart = True  # once a difference is not, no less certain one is
    for place, row in enumerate(sorted(differences, key=lambda row: row["chance"])):
        remaining = len(differences) - place
        is_told_apart = is_told_apart and row["chance"] * remaining < LEVEL
        verdict = "not told apart"
        if is_told_apart:
            verdict = "better" if row["difference"] > 0 else "worse"
        kept = {name: value for name, value in row.items() if name != "chance"}
        rows.append({**kept, "verdict": verdict})
    return rows

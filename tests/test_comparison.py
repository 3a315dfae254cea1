"""Means and places of methods, what is averaged, and the notebook that shows it."""

import io
import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import torch

from relahash_nb import plots
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.metrics import retrieval_scores
from relahash_nb.results import (
    Finished,
    compare,
    compare_across,
    format_comparison,
    means_across,
    read_published,
    save_run,
    select_budgets,
    select_runs,
)
from relahash_nb.results.tables import NUMBERS, describe_setting, distinct, report, table, with_types

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "05_compare.ipynb"


def made_up(**scores):
    """Runs at 16 bits: a method's scores over its seeds."""
    rows = [
        {"method": method, "loss": method, "bits": 16, "seed": seed, "mean_average_precision": score}
        for method, values in scores.items()
        for seed, score in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**dict.fromkeys(NUMBERS, 0.5))


def test_a_difference_smaller_than_the_spread_is_no_rank():
    """Means .60, .58 and .50, deviations .02 each: the first two are not told apart, both are better than the third."""
    spread = 0.02 * np.array([-1, -1, 0, 1, 1])
    table = compare(made_up(c=0.50 + spread, a=0.60 + spread, b=0.58 + spread))
    assert table["method"].tolist() == ["a", "b", "c"]
    assert table["mean"].tolist() == pytest.approx([0.60, 0.58, 0.50])
    assert table["deviation"].tolist() == pytest.approx([0.02] * 3)
    assert table["place"].tolist() == [1, 1, 3]
    assert format_comparison(table)[16].tolist() == [
        "0.6000 ± 0.0200 (1)",
        "0.5800 ± 0.0200 (1)",
        "0.5000 ± 0.0200 (3)",
    ]


def test_a_method_with_few_seeds_has_no_place_and_takes_none():
    table = compare(made_up(a=[0.7], b=[0.5, 0.5]))
    assert table["place"].isna().tolist() == [True, True]
    assert format_comparison(table)[16].tolist() == ["0.7000", "0.5000 ± 0.0000"]
    assert compare(made_up(a=[0.7] * 4, b=[0.5] * 5, c=[0.3] * 6))["place"].tolist() == [pd.NA, 1, 2]


def test_places_are_of_one_number_of_bits():
    runs = pd.concat([made_up(a=[0.7] * 5, b=[0.5] * 5), made_up(b=[0.9] * 5, a=[0.8] * 5).assign(bits=32)])
    table = compare(runs).set_index(["method", "bits"])["place"]
    assert [table["a", 16], table["b", 16], table["b", 32], table["a", 32]] == [1, 2, 1, 2]


def test_methods_are_compared_by_the_score_that_is_asked_for():
    runs = made_up(a=[0.7] * 5, b=[0.5] * 5).assign(new_images=[0.2] * 5 + [0.4] * 5)
    assert compare(runs)["method"].tolist() == ["a", "b"]
    table = compare(runs, "new_images")
    assert table["method"].tolist() == ["b", "a"] and table["mean"].tolist() == pytest.approx([0.4, 0.2])


@pytest.fixture(scope="module")
def results_dir(tmp_path_factory):
    """Made-up runs in a folder called cifar10: three methods, two lengths, two seeds; and one of another setting."""
    folder = tmp_path_factory.mktemp("results")
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(40) % 3]
    pool = Pool(torch.zeros(40, 3, 8, 8, dtype=torch.uint8), targets, np.arange(40), 8)
    data = Dataset.from_pool("lists", "abc", pool, dict(train=range(20), database=range(30), query=range(30, 40)))
    (folder / "cifar10_tiny").mkdir()
    defaults = dict(
        dataset="lists", root=str(folder / "cifar10_tiny"), results_dir=str(folder), recipe="quick", finetune=False
    )
    methods = [dict(loss="relahash"), dict(loss="relahash", margin=0.3), dict(loss="itq")]
    grid = [dict(bits=bits, seed=seed, **method) for method in methods for bits in (16, 32) for seed in (0, 1)]
    for options in [*grid, dict(bits=16, epochs=3)]:
        generator = np.random.default_rng(options.get("seed", 0))
        codes = {
            name: generator.standard_normal((len(getattr(data, name)), options["bits"])).astype(np.float32)
            for name in ("query", "database")
        }
        scores = retrieval_scores(codes["query"], codes["database"], data.query.targets, data.database.targets)
        history = [{"epoch": 1, "loss": math.nan, "seconds": 0.5}]
        result = Finished(codes, scores, history, np.ones((3, options["bits"])), {"encoding": 0.1})
        save_run(RunConfig(**defaults, **options), data, type("M", (), {"save": lambda *_: None})(), result)
    return folder


def test_runs_of_another_setting_are_returned_apart(results_dir):
    runs, others = select_runs(results_dir, variants=True)
    assert len(runs) == 12 and others["epochs"].tolist() == [3]
    assert set(runs["method"]) == {"relahash", "relahash (margin 0.3)", "itq"}


def test_the_notebook_shows_them(results_dir, tmp_path):
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(str(NOTEBOOK), str(out), {"results_dir": str(results_dir)}, progress_bar=False)
    outputs = [output for cell in nbformat.read(out, as_version=4).cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert any("12 runs; runs of other settings: " in output.get("text", "") for output in outputs)


def test_without_runs_it_is_said_what_makes_them(results_dir, tmp_path):
    with pytest.raises(ValueError, match="relahash sweep"):
        select_runs(tmp_path)
    with pytest.raises(ValueError, match=r"runs on lists cifar10_tiny.*relahash sweep --dataset coco"):
        select_runs(results_dir, "coco")


def test_figures_draw_what_they_are_given(results_dir):
    runs, _ = select_runs(results_dir, variants=True)
    comparison = compare(runs)
    ax = plots.plot_lines(runs, "bits", "mean_average_precision", by="method")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["16", "32"]
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(runs["method"])
    shown = comparison[comparison["bits"] == 16]
    ax = plots.plot_methods(shown)
    assert [text.get_text() for text in ax.get_yticklabels()] == shown.sort_values("mean")["method"].tolist()
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(
        (shown["best"] - shown["worst"]).iloc[np.argsort(shown["mean"], kind="stable")].tolist()
    )
    ax = plots.plot_points(runs[runs["bits"] == 16], "quantization_error", "mean_average_precision")
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(shown["method"])


def settings_apart(name, values):
    """Two runs of seed 0 and 1 that differ in one option, as `summarize` gives them."""
    rows = []
    for seed, value in enumerate(values):
        setting = describe_setting(RunConfig(**{name: value}))
        rows.append(setting | {"seed": seed, "fingerprint": "f", "mean_average_precision": 0.5 + seed})
    return pd.DataFrame(rows).assign(**dict.fromkeys(NUMBERS, 0.5))


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("beta", [None, 50.0], {"", "50"}),
        ("lr", [1e-3, 1e-2], {"0.001", "0.01"}),
        ("margin", [0.3, 0.7], {"0.3", "0.7"}),
        ("finetune", [True, False], {"True", "False"}),
        ("precision", ["fp32", "bf16"], {"fp32", "bf16"}),
    ],
)
def test_runs_of_two_settings_are_not_averaged(name, values, shown):
    """Each its own row, with the differing option as a column; an empty cell is a missing value."""
    heads, _, *rows = [line.strip("|").split("|") for line in table(settings_apart(name, values)).splitlines()]
    column = [head.strip() for head in heads].index(name)
    assert len(rows) == 2 and not any("±" in cell for row in rows for cell in row)
    assert {row[column].strip() for row in rows} == shown


@pytest.mark.parametrize("repeated", [("save_weights", ["none", "all"]), ("eval_interval", [0, 5])], ids=str)
def test_a_run_repeated_with_other_bookkeeping_is_no_other_seed(repeated):
    runs = settings_apart(*repeated).assign(seed=0)
    assert len(table(runs).splitlines()) == 3 and "±" not in table(runs)
    assert len(distinct(runs)) == 1


def test_the_report_has_bits_as_columns_and_the_bounds_of_ties_as_csv(results_dir):
    lines = report(results_dir, loss=["itq"]).splitlines()
    columns = ["16 bits, new images", "32 bits, new images", "16 bits, protocol", "32 bits, protocol"]
    assert lines[0].endswith(f"| seeds | {' | '.join(columns)} |") and len(lines) == 3 and lines[2].count("±") == 4
    rows = pd.read_csv(io.StringIO(report(results_dir, "csv", epochs=3)))
    assert len(rows) == 1 and rows["worst"][0] <= rows["mean"][0] <= rows["best"][0]
    latex = report(results_dir, "latex", bits=16)
    assert r"\pm" in latex and r"cifar10\_tiny" in latex and r"\caption{" in latex and r"\label{tab:" in latex
    with pytest.raises(ValueError, match=r"format: 'html'.*markdown, csv, latex"):
        report(results_dir, "html")


def in_bold(runs, metric="mean_average_precision"):
    """The cells of a LaTeX table that are in bold; `runs` have a data set, methods, seeds and scores."""
    setting = {name: value for name, value in RunConfig().setting().items() if name not in ("loss", "bits")}
    complete = with_types(runs.assign(**setting, fingerprint=runs["data"], finished=None))
    return re.findall(r"\\textbf\{([^{}]*)\}", table(complete, "latex", metric))


def test_latex_has_the_best_of_each_data_set_and_code_length_in_bold():
    long = made_up(relahash=[0.8, 0.9], csq=[0.7, 0.7], itq=[0.85, 0.85])
    short = made_up(relahash=[0.5], csq=[0.6]).assign(bits=8)
    other = made_up(relahash=[0.1])
    runs = pd.concat([long.assign(data="one"), short.assign(data="one"), other.assign(data="two")], ignore_index=True)
    cells = [cell.split(" ")[0] for cell in in_bold(runs)]
    assert sorted(cells) == ["0.1000", "0.6000", "0.8500", "0.8500"]  # equal as they are printed, both are best


def test_of_an_error_the_lowest_is_best():
    runs = made_up(relahash=[0.8], csq=[0.7]).assign(quantization_error=[0.3, 0.2], data="one")
    assert in_bold(runs, "quantization_error") == ["0.2000"]
    assert in_bold(runs) == ["0.8000"]


def test_several_comparisons_stand_side_by_side_without_those_that_lack_the_score():
    rows = [("relahash", 64, 0, 0.5, None), ("relahash", 64, 1, 0.7, None), ("csq", 64, 0, 0.8, None)]
    columns = ["method", "bits", "seed", "mean_average_precision", "new_images"]
    old = pd.DataFrame(rows, columns=columns).astype({"new_images": float})
    new = pd.DataFrame([("relahash", 64, 0, 0.9, 0.4), ("relahash", 16, 0, 0.1, 0.1)], columns=columns)
    table = compare_across({"old": old, "new": new}, 64)
    assert table.index.tolist() == ["csq", "relahash"]  # means of .8, and of .6 and .9
    assert table.loc["relahash"].tolist() == ["0.6000 ± 0.1414", "0.9000"] and table.loc["csq", "new"] == ""
    assert means_across({"old": old, "new": new}, 64, "new_images").to_dict() == {"new": {"relahash": 0.4}}
    assert compare_across({"old": old}, 64, "new_images").empty


def test_runs_are_told_apart_by_what_chose_their_options():
    runs = read_published("summary", "make publish")
    budgets = select_budgets(distinct(runs), "lists corel5k_21", bits=64, centroids="max_hamming")
    assert list(budgets) == ["defaults", "24 trials", "24 trials, new images", "24 trials, protocol"]
    assert set(budgets["24 trials, new images"]["tuning"]) == {"24 trials, new images"}
    assert budgets["defaults"]["tuning"].isna().all() and set(budgets["24 trials"]["tuning"]) == {"24 trials"}
    with pytest.raises(ValueError, match="corel5k_21"):
        select_budgets(distinct(runs), "corel")
    assert budgets["24 trials"]["loss"].iloc[0] == "relahash" and not budgets["defaults"]["finetune"].any()


def test_a_table_that_is_not_published_is_empty_and_says_what_makes_it(tmp_path, capsys):
    assert read_published("grid", "bash study/reality.sh grid", tmp_path).empty
    assert "grid" in capsys.readouterr().out
    (tmp_path / "dividend.csv").write_text("method,target,low\nitq,none,\n")
    (row,) = read_published("dividend", "python -m study.dividend", tmp_path).to_dict("records")
    assert row["target"] == "none" and math.isnan(row["low"])

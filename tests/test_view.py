"""The explorer without a browser: what it shows is what the metrics say, and what is sent is what it shows."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from relahash_nb.explorer import View, explore, explore_plain, plot_view
from relahash_nb.explorer.page import pack_state
from relahash_nb.metrics import distance_histograms, retrieval_scores, unpack
from relahash_nb.results import Run, finished_runs

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "04_hamming_explorer.ipynb"


@pytest.fixture(scope="module")
def runs(toy_results):
    return finished_runs(toy_results)


@pytest.fixture(scope="module")
def view(runs):
    return View.of(next(iter(runs.values())))


def splits(run):
    """Codes and targets of queries and database, from a run's files."""
    arrays, classes = run.arrays, len(run.report["data"]["class_names"])
    codes = [unpack(arrays[f"{name}_codes"], run.config.bits) for name in ("query", "database")]
    targets = [np.unpackbits(arrays[f"{name}_targets"], axis=1, count=classes) for name in ("query", "database")]
    return codes, targets, arrays


def test_a_query_s_rows_are_counted_by_hand(runs, view):
    (queries, database), (query_targets, database_targets), arrays = splits(next(iter(runs.values())))
    assert view.relevant.shape == (12 + 5, 17)
    for row, query in enumerate(arrays["shown_queries"]):
        distances = (queries[query] != database).sum(1)
        same = (query_targets[query] & database_targets).any(1)
        for radius in (0, 2, 7, 16):
            near = distances <= radius
            assert view.relevant[row, radius] == (same & (distances == radius)).sum()
            assert view.irrelevant[row, radius] == (~same & (distances == radius)).sum()
            assert view.recall[row, radius] == pytest.approx((same & near).sum() / same.sum())
            wanted = (same & near).sum() / near.sum() if near.any() else np.nan
            assert view.precision[row, radius] == pytest.approx(wanted, nan_ok=True)
        assert view.nearest_distances[row].tolist() == np.sort(distances)[:10].tolist()
        assert np.array_equal(view.nearest_relevant[row], same[arrays["nearest"][row]])


def test_a_group_is_all_queries_of_its_class_shown_or_not(runs, view):
    codes, targets, _ = splits(next(iter(runs.values())))
    assert view.groups == ["all classes", "ant", "bee", "cat", "<dog>"] and view.sizes == [60, 15, 15, 15, 15]
    assert sorted(row for rows in view.members[1:] for row in rows) == view.members[0] == list(range(12))
    for group in range(5):
        rows = targets[0][:, group - 1] > 0 if group else slice(None)
        scores = retrieval_scores(codes[0][rows], codes[1], targets[0][rows], targets[1])
        row = view.row(group, query=0)
        assert np.array_equal(view.relevant[row], scores.relevant.sum(0))
        radii = range(scores.total.shape[1])
        expected = scores.precision_within(radii), scores.recall_within(radii)
        assert np.allclose([view.precision[row], view.recall[row]], expected)
    assert view.labels[view.query_labels[view.row(4, query=2)]] == "<dog>"


def test_an_item_that_is_the_query_itself_is_left_out_where_the_run_left_it_out(runs):
    run = next(iter(runs.values()))
    report = run.report.model_copy(update={"config": run.report.config | {"drop_self_matches": True}})
    leaky = Run(run.folder, report)
    ids = np.concatenate([run.arrays["database_ids"][[5, 7]], run.arrays["query_ids"][2:]])
    leaky.__dict__["arrays"] = run.arrays | {"query_ids": ids}  # the first two queries are database items 5 and 7
    leaky = View.of(leaky)
    (queries, database), targets, _ = splits(run)
    own = [5, 7] + 58 * [-1]
    relevant, total = distance_histograms(queries, database, *targets, self_matches=np.array(own))
    assert np.array_equal(leaky.relevant[12], relevant.sum(0))
    assert (leaky.relevant + leaky.irrelevant)[12].sum() == total.sum() == 60 * 400 - 2


def test_the_bytes_that_are_sent_are_the_tables(view):
    state = pack_state(view)
    for name, dtype in {"relevant": "<u2", "irrelevant": "<u2", "precision": "<f4", "recall": "<f4"}.items():
        sent = np.frombuffer(state[name], dtype).reshape(17, 17)
        assert np.allclose(sent, getattr(view, name), equal_nan=True)
    sheet, tiles = np.asarray(Image.open(io.BytesIO(state["thumbnails"]))), state["view"]["sheet"]
    for place in (0, 5, len(view.thumbnails) - 1):
        down, across = (16 * part for part in divmod(place, tiles["columns"]))
        tile = sheet[down : down + 16, across : across + 16].astype(float).mean(-1)
        thumbnail = view.thumbnails[place].astype(float).mean(0)
        assert np.corrcoef(tile.ravel(), thumbnail.ravel())[0, 1] > 0.8  # WebP keeps light better than colour


def test_large_counts_are_sent_whole(view):
    large = replace(view, relevant=view.relevant * 100_000)
    assert np.array_equal(np.frombuffer(pack_state(large)["relevant"], "<u4").reshape(17, 17), large.relevant)


def test_two_classes_of_one_name_stay_two(runs):
    run = next(iter(runs.values()))
    names = {"class_names": ["ant", "bee", "bee", "$<!--<script>$"]}
    twins = Run(run.folder, run.report.model_copy(update={"data": run.report.data.model_copy(update=names)}))
    shown = View.of(twins)
    assert shown.groups == ["all classes", "ant", "bee", "bee", "$<!--<script>$"]
    assert shown.sizes == [60, 15, 15, 15, 15] and len(shown.relevant) == 12 + 5
    assert not set(shown.members[2]) & set(shown.members[3])
    plot_view(shown, group=4, query=1).draw_without_rendering()
    plt.close("all")


def test_it_starts_where_a_search_does_well(view):
    query, radius = view.start
    both = 2 * view.precision * view.recall / np.maximum(view.precision + view.recall, 1e-9)
    assert both[12, radius] == both[12].max() and (both[:12, radius] > both[query - 1, radius]).sum() <= 3


def test_the_figure_shows_the_row_of_its_position(view):
    figure = plot_view(view, group=2, query=1, radius=5)
    row = view.members[2][0]
    bars = [patch.get_data().values for patch in figure.axes[0].patches if hasattr(patch, "get_data")]
    assert np.allclose(bars[0], view.relevant[row] / 100) and np.allclose(bars[2], view.irrelevant[row] / 300)
    scores = f"precision {view.precision[row, 5]:.3f}, recall {view.recall[row, 5]:.3f}"
    assert scores in figure.get_suptitle() and view.labels[view.query_labels[row]] in figure.get_suptitle()
    signs = [text.get_text()[0] for text in figure.axes[2].texts[1:]]
    assert signs == ["✓" if right else "✗" for right in view.nearest_relevant[row]]
    mean = plot_view(view, query=0, radius=5)
    assert "mean of 60 queries" in mean.get_suptitle() and not mean.axes[2].images
    plt.close("all")


def test_the_plain_control_follows_its_class(view):
    group, query, radius, _ = explore_plain(view).children
    assert (query.value, query.max) == (view.start[0], 12) and (radius.value, radius.max) == (view.start[1], 16)
    query.value, group.value = 8, 2
    assert (query.value, query.max) == (1, len(view.members[2]))


def test_the_explorer_takes_another_run(runs):
    pytest.importorskip("anywidget")
    box = explore(runs, first=next(iter(runs)))
    menu, explorer = box.children
    view = View.of(runs[menu.value])
    assert (explorer.view["bits"], explorer.query, explorer.radius) == (16, *view.start)
    menu.value = list(runs)[1]
    explorer = box.children[1]
    assert explorer.view["bits"] == 48 and "48 bits, relahash, seed 0: mAP 0." in explorer.view["name"]
    assert len(explorer.precision) == 17 * 49 * 4
    assert explore(runs).children[0].value == list(runs)[1]  # the one with the highest score


def test_without_anywidget_there_is_the_plain_control_and_a_line(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "relahash_nb.explorer.widget", raising=False)
    box = explore(runs, first=next(iter(runs)))
    assert box.children[1].children[2].max == 16
    box.children[0].value = list(runs)[1]
    assert box.children[1].children[2].max == 48
    assert "pip install 'relahash-nb[explorer]'" in capsys.readouterr().out


def test_runs_are_found_by_name(toy_results):
    first, second = finished_runs(toy_results)
    assert "-16bits-" in first and "-48bits-" in second  # the last one finished first
    assert list(finished_runs(toy_results, first=second)) == [second, first]
    with pytest.raises(ValueError, match=f"run_id: 'mine' given; finished in .*: {first}, {second}"):
        finished_runs(toy_results, first="mine")


def test_the_notebook_says_which_command_makes_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PapermillExecutionError) as error:
        papermill.execute_notebook(str(NOTEBOOK), "out.ipynb", progress_bar=False)
    assert f"no finished run in {tmp_path}/results/runs; `relahash train` makes one" in error.value.evalue


def test_the_notebook_shows_two_controls_and_three_figures_and_leaves_a_page(toy_results, tmp_path, runs):
    target = tmp_path / "out.ipynb"
    papermill.execute_notebook(str(NOTEBOOK), str(target), {"results_dir": str(toy_results)}, progress_bar=False)
    kinds = [
        kind
        for cell in nbformat.read(target, as_version=4).cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]
    assert kinds.count("application/vnd.jupyter.widget-view+json") == 2 and kinds.count("image/png") == 3
    page = (list(runs.values())[1].folder / "explorer.html").read_text()
    assert page.count("</script>") == 2 and "http" not in page.replace("http://www.w3.org/2000/svg", "")

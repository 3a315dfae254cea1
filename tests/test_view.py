"""The explorer without a browser: what it shows is what the metrics say, and what is sent is what it shows."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from relahash_nb.explorer import View, explore, explore_plain, export_html, plain, plot_view
from relahash_nb.explorer.page import pack_state
from relahash_nb.metrics import distance_histograms, unpack
from relahash_nb.results import Run, finished_runs

matplotlib.use("agg")
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "04_hamming_explorer.ipynb"


@pytest.fixture(scope="module")
def runs(toy_results):
    return finished_runs(toy_results)


@pytest.fixture(scope="module")
def run(runs):
    return next(iter(runs.values()))


@pytest.fixture(scope="module")
def view(run):
    return View.of(run)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def codes_and_targets(run, split):
    """Codes (N, K) and targets (N, C) of a split, read from the run's files."""
    codes = unpack(run.arrays[f"{split}_codes"], run.config.bits)
    classes = len(run.report.data.class_names)
    targets = np.unpackbits(run.arrays[f"{split}_targets"], axis=1, count=classes)
    return codes, targets


def with_class_names(run, names):
    """A run whose classes have other names."""
    data = run.report.data.model_copy(update={"class_names": names})
    return Run(run.folder, run.report.model_copy(update={"data": data}))


@pytest.mark.parametrize("radius", [0, 2, 7, 16])
def test_the_row_of_a_query_is_counted_by_hand(run, view, radius):
    queries, query_targets = codes_and_targets(run, "query")
    database, database_targets = codes_and_targets(run, "database")
    for row, query in enumerate(run.arrays["shown_queries"]):
        distances = (queries[query] != database).sum(axis=1)
        is_relevant = (query_targets[query] & database_targets).any(axis=1)
        is_near = distances <= radius
        found = (is_relevant & is_near).sum()
        assert view.relevant[row, radius] == (is_relevant & (distances == radius)).sum()
        assert view.irrelevant[row, radius] == (~is_relevant & (distances == radius)).sum()
        assert view.recall[row, radius] == pytest.approx(found / is_relevant.sum())
        precision = found / is_near.sum() if is_near.any() else np.nan
        assert view.precision[row, radius] == pytest.approx(precision, nan_ok=True)


def test_the_nearest_images_of_a_query_have_their_distances_and_labels(run, view):
    queries, query_targets = codes_and_targets(run, "query")
    database, database_targets = codes_and_targets(run, "database")
    names = run.report.data.class_names
    for row, query in enumerate(run.arrays["shown_queries"]):
        nearest = run.arrays["nearest"][row]
        distances = (queries[query] != database).sum(axis=1)
        assert view.nearest_distances[row].tolist() == np.sort(distances)[:10].tolist()
        assert view.query_labels[row] == names[query_targets[query].argmax()]
        labels = [names[label] for label in database_targets[nearest].argmax(axis=1)]
        assert view.nearest_labels[row] == labels
        assert view.nearest_relevant[row].tolist() == [label == view.query_labels[row] for label in labels]


def test_a_group_has_all_queries_of_its_class_shown_or_not(view):
    assert view.groups == ["all classes", "ant", "bee", "cat", "<dog>"]
    assert view.sizes == [60, 15, 15, 15, 15]
    assert view.members[0] == list(range(12))
    assert sorted(np.concatenate(view.members[1:])) == view.members[0]
    assert view.query_labels[view.row(4, query=2)] == "<dog>"


def test_an_item_that_is_the_query_itself_is_left_out_where_the_run_left_it_out(runs):
    run = next(iter(runs.values()))
    report = run.report.model_copy(update={"config": run.report.config | {"drop_self_matches": True}})
    overlapping = Run(run.folder, report)
    ids = np.concatenate([run.arrays["database_ids"][[5, 7]], run.arrays["query_ids"][2:]])
    overlapping.__dict__["arrays"] = run.arrays | {"query_ids": ids}
    view = View.of(overlapping)
    queries, query_targets = codes_and_targets(run, "query")
    database, database_targets = codes_and_targets(run, "database")
    self_matches = np.array([5, 7] + 58 * [-1])
    relevant, total = distance_histograms(queries, database, query_targets, database_targets, self_matches=self_matches)
    assert view.relevant[12].tolist() == relevant.sum(axis=0).tolist()
    assert (view.relevant + view.irrelevant)[12].sum() == total.sum() == 60 * 400 - 2


def test_the_bytes_that_are_sent_are_the_tables(view):
    state = pack_state(view)
    for name, dtype in {"relevant": "<u4", "irrelevant": "<u4", "precision": "<f4", "recall": "<f4"}.items():
        table = np.frombuffer(state[name], dtype).reshape(12 + 5, 17)
        assert np.allclose(table, getattr(view, name), equal_nan=True)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_thumbnail_is_a_tile_of_the_sheet(view, place):
    state = pack_state(view)
    place %= len(view.thumbnails)
    sheet = np.asarray(Image.open(io.BytesIO(state["thumbnails"]))).astype(float)
    row, column = divmod(place, state["view"]["sheet"]["columns"])
    tile = sheet[16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)].mean(axis=-1)
    thumbnail = view.thumbnails[place].astype(float).mean(axis=0)
    assert np.corrcoef(tile.ravel(), thumbnail.ravel())[0, 1] > 0.8  # WebP keeps light better than colour


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
    balance = 2 * view.precision * view.recall / np.maximum(view.precision + view.recall, 1e-9)
    assert balance[12, radius] == balance[12].max()
    better = balance[:12, radius] > balance[query - 1, radius]
    assert better.sum() <= 3


def test_the_page_holds_its_views_and_needs_no_network(runs, view, tmp_path):
    views = [View.of(run) for run in runs.values()]
    path = export_html(views, tmp_path / "explorer.html", {"back & forth": "index.html"})
    page = path.read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert '<a href="index.html">back &amp; forth</a>' in page
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    states = json.loads(text)
    assert [state["view"]["bits"] for state in states] == [16, 48]
    assert base64.b64decode(states[0]["recall"]["base64"]) == pack_state(view)["recall"]
    assert states[0]["view"]["query_labels"] == view.query_labels
    assert (states[0]["query"], states[0]["radius"]) == view.start


def test_a_name_that_looks_like_html_stays_text_in_the_page(run, tmp_path):
    names = ["<!--<script>", "</script>", "$page", "{"]
    view = View.of(with_class_names(run, names))
    page = export_html(view, tmp_path / "odd.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 2 and page.count("<script") == 2 and "<!--" not in page
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    assert json.loads(text)[0]["view"]["groups"] == ["all classes", *names]


def test_the_figure_shows_the_row_of_its_position(view):
    figure = plot_view(view, group=2, query=1, radius=5)
    row = view.members[2][0]
    distances, _, images = figure.axes
    bars = [patch.get_data().values for patch in distances.patches if hasattr(patch, "get_data")]
    assert np.allclose(bars[0], view.relevant[row] / 100) and np.allclose(bars[2], view.irrelevant[row] / 300)
    scores = f"precision {view.precision[row, 5]:.3f}, recall {view.recall[row, 5]:.3f}"
    assert scores in figure.get_suptitle() and view.query_labels[row] in figure.get_suptitle()
    expected = [
        f"{'✓' if is_relevant else '✗'} {distance}"
        for is_relevant, distance in zip(view.nearest_relevant[row], view.nearest_distances[row], strict=True)
    ]
    assert [text.get_text() for text in images.texts] == ["query", *expected]


def test_the_figure_of_a_group_has_no_images(view):
    figure = plot_view(view, query=0, radius=5)
    assert "mean of 60 queries" in figure.get_suptitle()
    assert len(figure.axes) == 2


def test_the_plain_control_follows_its_class(view, monkeypatch):
    positions = []

    def draw_nothing(view, *position):
        positions.append(position)
        plt.figure(figsize=(1, 1))

    monkeypatch.setattr(plain, "plot_view", draw_nothing)
    group, query, radius, _ = explore_plain(view).children
    assert (query.value, query.max) == (view.start[0], 12)
    assert (radius.value, radius.max) == (view.start[1], 16)
    query.value = 8
    group.value = 2
    assert (query.value, query.max) == (1, len(view.members[2]))
    first_query, first_radius = view.start
    assert positions[0] == (0, first_query, first_radius)
    assert positions[-1] == (2, 1, first_radius)


def test_the_explorer_takes_another_run(runs):
    pytest.importorskip("anywidget")
    first, second = runs
    box = explore(runs, first=first)
    menu, explorer = box.children
    view = View.of(runs[first])
    assert (explorer.view["bits"], explorer.query, explorer.radius) == (16, *view.start)
    menu.value = second
    explorer = box.children[1]
    assert explorer.view["bits"] == 48
    assert "48 bits, relahash, seed 0: mAP 0." in explorer.view["name"]
    assert len(explorer.precision) == (12 + 5) * 49 * 4


def test_the_explorer_begins_with_the_highest_score(runs):
    menu, _ = explore(runs).children
    assert menu.value == list(runs)[1]  # more bits


def test_without_anywidget_there_is_the_plain_control_and_a_line(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "relahash_nb.explorer.widget", raising=False)
    first, second = runs
    box = explore(runs, first=first)
    printed = capsys.readouterr().out
    assert "anywidget" in printed and printed.count("\n") == 1
    radius = box.children[1].children[2]
    assert radius.max == 16
    box.children[0].value = second
    radius = box.children[1].children[2]
    assert radius.max == 48


def test_runs_are_found_by_name(toy_results, tmp_path):
    first, second = finished_runs(toy_results)
    assert "-16bits-" in first and "-48bits-" in second  # the last one finished first
    assert list(finished_runs(toy_results, first=second)) == [second, first]
    with pytest.raises(ValueError, match=r"run_id.*mine") as error:
        finished_runs(toy_results, first="mine")
    assert first in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        finished_runs(tmp_path)


def test_the_cells_of_the_notebook_draw_three_figures_and_leave_a_page(toy_results, runs):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    plt.close("all")
    names = {}
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "colab" not in tags:
            exec(cell.source, names)
        if "parameters" in tags:
            names["results_dir"] = str(toy_results)
    assert len(plt.get_fignums()) == 3
    assert names["hardest"]["label"].isin(["ant", "bee", "cat", "<dog>"]).all()
    assert (toy_results / "explorer.html").exists()

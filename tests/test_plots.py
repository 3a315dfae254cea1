"""Figures: drawn where they are told to, with the numbers that they were given."""

import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from ipywidgets import IntSlider

from relahash_nb import metrics, plots
from relahash_nb.plots import style
from relahash_nb.plots.images import draw_image, image_figure

matplotlib.use("agg")
CODES = np.random.default_rng(0).standard_normal((60, 12))
RUNS = pd.DataFrame({"loss": ["a", "a", "b"], "bits": [16, 16, 32], "quantization_error": [0.1, 0.3, 0.2]})
EPOCHS = pd.DataFrame({"loss": ["a"] * 4, "epoch": [1, 2, 1, 2], "quantization_error": [0.2, 0.1, 0.4, 0.3]})


@pytest.fixture(autouse=True)
def house_style():
    plots.set_style()
    yield
    plt.close("all")


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    return ax


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_a_run_that_draws_loads_nothing_that_it_does_not_use():
    code = "import sys, relahash_nb.plots; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"seaborn", "scipy", "pandas", "torch", "torchvision", "ipywidgets", "numba"} & set(loaded)


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (plots.plot_codes, [CODES]),
        (plots.plot_shares, [{"relahash": CODES[:, 0], "csq": CODES[:, 1]}, "cosine"]),
        (plots.plot_shares, [{"a": np.array([1.0, np.nan, 2.0])}, "distance", {"radius": 2}]),
        (plots.plot_hamming, [np.array([2, 1, 0]), np.array([2, 2, 4])]),
        (plots.plot_lines, [RUNS, "bits", "quantization_error"]),
        (plots.plot_lines, [EPOCHS, "epoch", "quantization_error"]),
        (plots.plot_points, [RUNS, "bits", "quantization_error", "loss"]),
    ],
)
def test_axes_that_are_given_are_drawn_on_and_given_back(draw, arguments, ax):
    assert draw(*arguments, ax=ax) is ax
    assert ax.get_xlabel() and ax.get_ylabel()
    assert draw(*arguments).figure is not ax.figure


def test_lines_have_means_and_deviations_over_the_seeds(ax):
    plots.plot_lines(RUNS, "bits", "quantization_error", ax=ax)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.2], [0.2]]
    low, high = ax.collections[0].get_segments()[0][:, 1]
    deviation = np.std([0.1, 0.3], ddof=1)
    assert (low, high) == pytest.approx((0.2 - deviation, 0.2 + deviation))
    band = plots.plot_lines(EPOCHS, "epoch", "quantization_error").collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.2 - deviation) and band[:, 1].max() == pytest.approx(0.3 + deviation)


def test_one_seed_has_no_deviation(ax):
    plots.plot_lines(EPOCHS[:2], "epoch", "quantization_error", ax=ax)
    assert ax.lines[0].get_ydata().tolist() == [0.2, 0.1]
    assert not [path for band in ax.collections for path in band.get_paths() if np.isfinite(path.vertices).all()]
    comparison = pd.DataFrame({"method": ["a", "lsh"], "mean": [0.5, 0.4], "deviation": np.nan})
    legend = plots.plot_methods(comparison.assign(worst=0.3, best=0.6)).get_legend()
    assert sorted(legend_texts(legend)) == ["by the order of ties", "one seed"]


@pytest.mark.parametrize("draw", [plots.plot_lines, plots.plot_points])
def test_the_legend_has_the_order_of_the_lines_and_what_is_not_trained_is_grey(draw):
    table = pd.DataFrame(
        {
            "method": ["relahash", "csq", "lsh", "no score"] * 2,
            "bits": [16] * 4 + [32] * 4,
            "score": [0.1, 0.9, 0.5, np.nan, 0.6, 0.8, 0.7, np.nan],
        }
    )
    ax = draw(table, "bits", "score", by="method")
    assert legend_texts(ax.get_legend()) == ["csq", "lsh", "relahash"]  # by the last point of a line, or by the mean
    colours = {line.get_label(): line.get_color() for line in ax.lines}
    assert colours["lsh"] == style.GREY != colours["csq"]


def test_many_names_look_different():
    names = [f"loss {number}" for number in range(20)]
    assert len(set(style.looks(names).values())) == 20


def test_class_distances_have_their_overlap_in_the_title():
    distances = metrics.ClassDistances(np.array([2, 2, 0]), np.array([0, 1, 3]))
    (ax,) = plots.plot_class_distances({"a": distances}).axes
    assert ax.get_title() == "a\nmeans 0.5 and 1.8 bits\noverlap 25.0 %"
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log" and low < 0.25 and high > 0.75


def test_distances_are_drawn_as_shares_of_each_kind(ax):
    plots.plot_hamming(np.array([[2, 1, 0], [1, 0, 0]]), np.array([[2, 2, 4], [1, 0, 1]]), ax)
    relevant, _, irrelevant, _ = [patch.get_data().values.tolist() for patch in ax.patches]
    assert relevant == [0.75, 0.25, 0] and irrelevant == pytest.approx([0, 1 / 6, 5 / 6])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_loss_has_a_panel_and_all_have_one_scale(count):
    losses = [f"loss {number}" for number in range(count)]
    density, edges = metrics.bit_histograms(CODES)
    densities = dict.fromkeys(losses, density)
    heat = plots.plot_bit_densities(densities, edges)
    assert titles(heat) == losses
    assert len({mesh.get_clim() for ax in heat.axes for mesh in ax.collections}) == 1
    bits = plots.plot_bit_histograms(densities, edges, bits=range(3))
    assert titles(bits) == ["bit 1", "bit 2", "bit 3"]
    assert legend_texts(bits.legends[0]) == losses
    assert bits.axes[2].lines[0].get_ydata().tolist() == density[2].tolist()


@pytest.mark.parametrize("classes", [3, 30])
def test_ten_classes_have_a_panel_and_a_name(classes):
    names = [f"class {label}" for label in range(classes)]
    labels = np.arange(60) % classes
    figure = plots.plot_map(CODES[:, :2], labels, names, CODES[:classes, :2], shares=[0.6, 0.3])
    assert "60 % of the variance" in figure.get_supxlabel()
    assert titles(figure) == names[:10]
    confusion = np.full((classes, classes), 1 / classes)
    assert len(plots.plot_confusion(confusion, names).texts) == (9 if classes == 3 else 0)


def test_a_dollar_in_a_name_is_written_out():
    names = ["$5 to $9", "x^$_$", "a"]
    images = np.zeros((3, 1, 4, 4), np.uint8)
    table = pd.DataFrame({"method": names, "error": 1.0, "score": [1.0, 2.0, 3.0]})
    figures = [
        plots.plot_images(images, names),
        plots.plot_retrieval(images, images[None].repeat(3, 0), np.eye(3) > 0, names, np.eye(3, dtype=int)),
        plots.plot_map(CODES[:, :2], np.arange(60) % 3, names, CODES[:3, :2], (0.6, 0.3)),
        plots.plot_confusion(np.eye(3), names).figure,
        plots.plot_shares(dict.fromkeys(names, CODES[:, 0]), "x").figure,
        plots.plot_points(table, "error", "score").figure,
    ]
    for figure in figures:
        figure.draw_without_rendering()
        written = {text.get_text().split(", ")[0] for text in figure.findobj(plt.Text)}
        assert {name.replace("$", r"\$") for name in names} <= written


def test_an_image_lies_in_its_square_and_moves_no_limits():
    figure, ax = image_figure(width=5, height=2, left=1)
    before = ax.get_xlim(), ax.get_ylim()
    draw_image(ax, np.zeros((3, 4, 4), np.uint8), 2, 0.5, "7", relevant=False)
    figure.draw_without_rendering()
    assert (ax.get_xlim(), ax.get_ylim()) == before == ((-1, 5), (2, 0))
    left, right, bottom, top = ax.images[0].get_extent()
    assert 2 < left < right < 3 and 0.5 < top < bottom < 1.5
    assert ax.texts[0].get_text() == "✗ 7" and ax.patches[0].get_linestyle() == "dashed"


def test_found_images_are_marked():
    images = np.zeros((2, 3, 1, 4, 4), np.uint8)
    relevant = np.array([[True, False, True], [False, False, True]])
    (ax,) = plots.plot_retrieval(images[:, 0], images, relevant, ["ant", "bee"], np.arange(6).reshape(2, 3)).axes
    captions = [text.get_text() for text in ax.texts if text.get_text()[:1] in ("✓", "✗")]
    assert captions == ["✓ 0", "✗ 1", "✓ 2", "✗ 3", "✗ 4", "✓ 5"] and len(ax.images) == 8


def test_a_training_has_three_panels_and_the_least_loss():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [5.0, 4.5], "centroid_accuracy": [0.5, 0.6]})
    history = history.assign(query_map=[np.nan, 0.7], quantization_error=0.1)
    figure = plots.plot_training(history, {"least possible": 4.2})
    loss, score, error = figure.axes
    assert titles(figure) == ["loss", "score", "quantization error of a batch"]
    assert loss.get_ylim()[0] < 4.2 and legend_texts(loss.get_legend()) == ["loss", "least possible"]
    assert legend_texts(score.get_legend()) == ["centroid accuracy", "query mAP"]
    assert score.lines[1].get_ydata().tolist() == [0.7]  # of the epoch that was scored
    assert error.get_ylim()[0] == 0
    assert titles(plots.plot_training(pd.DataFrame([]))) == ["no training"]


def test_a_figure_of_images_is_saved_again_and_again_without_a_warning(tmp_path):
    figure = plots.plot_images(np.zeros((3, 1, 4, 4), np.uint8), ["a", "b", "c"])
    figure = getattr(figure, "figure", figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for box in ("tight", None, "tight"):
            figure.savefig(tmp_path / "images.png", bbox_inches=box)


def test_the_overview_shows_the_signs_of_its_numbers_and_what_differs():
    path = Path(__file__).parent.parent / "tools" / "pictures.py"
    figure = runpy.run_path(str(path))["draw_overview"]()
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    drawn = figure.axes[2].collections[0].get_array().ravel()
    assert len(heights) == 16 and np.array_equal(drawn, np.sign(heights))
    assert [text.get_text() for text in figure.axes[3].texts] == ["✓ 0", "✓ 1", "✗ 8"]


def test_differences_stand_at_their_numbers_and_say_their_verdict(ax):
    table = pd.DataFrame(
        {"method": ["a", "b"], "difference": [0.02, -0.01], "low": [0.01, -0.03], "high": [0.03, 0.01]}
    )
    plots.plot_differences(table.assign(verdict=["better", "not told apart"]), ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b: not told apart", "a: better"]
    intervals, points = ax.collections
    assert [segment[:, 0].tolist() for segment in intervals.get_segments()] == [[-0.03, 0.01], [0.01, 0.03]]
    assert points.get_offsets()[:, 0].tolist() == [-0.01, 0.02]


def test_a_change_is_an_open_and_a_filled_point_per_method_the_best_on_top(ax):
    scores = pd.DataFrame({"defaults": [0.5, 0.4], "tuned": [0.6, 0.7]}, index=["relahash", "csq"])
    plots.plot_change(scores, ax)
    _, before, after, _ = ax.collections
    assert before.get_offsets()[:, 0].tolist() == [0.5, 0.4]
    assert after.get_offsets()[:, 0].tolist() == [0.6, 0.7]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["relahash", "csq"]
    assert legend_texts(ax.get_legend()) == ["defaults", "tuned"]


def test_the_dividend_is_a_line_per_method_grey_where_nothing_was_trained(ax):
    table = pd.DataFrame({"method": ["csq", "csq", "opq", "opq"], "target": ["half", "half", "none", "none"]})
    table = table.assign(unseen_share=[1.0, 0.0, 0.0, 1.0], relative=[0.5, 1.4, 0.8, 0.7])
    plots.plot_dividend(table.assign(low=table["relative"] - 0.1, high=table["relative"] + 0.1), ax)
    _, csq, opq = ax.lines  # the first is at the height of the float features
    assert csq.get_xydata().tolist() == [[0, 1.4], [1, 0.5]]
    assert opq.get_xydata().tolist() == [[0, 0.8], [1, 0.7]]
    assert (csq.get_color() == style.GREY, opq.get_color() == style.GREY) == (False, True)
    assert legend_texts(ax.get_legend()) == ["opq", "csq"]  # as the lines end
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.4) and band[:, 1].max() == pytest.approx(1.5)


def test_the_dividend_is_drawn_over_the_share_of_training_images_too(ax):
    table = pd.DataFrame({"method": "csq", "target": ["seen", "published"], "training_share": [0.0, 0.55]})
    plots.plot_dividend(table.assign(relative=[1.4, 1.7], low=1.3, high=1.8), ax, "training_share")
    assert ax.lines[1].get_xydata().tolist() == [[0, 1.4], [0.55, 1.7]] and "training images" in ax.get_xlabel()


def test_gaps_have_a_panel_each_with_its_numbers_and_a_range_around_0():
    cells = pd.MultiIndex.from_product([[0.2, 4.0], [1.0, 8.0]], names=["margin", "scale"])
    gaps = pd.DataFrame({"error": [0.01, -0.02, 0.0, 0.005], "mAP": [0.1, 0.2, 0.3, -0.1]}, index=cells)
    figure = plots.plot_gaps(gaps)
    assert titles(figure) == ["error", "mAP"]
    numbers = [text.get_text() for text in figure.axes[1].texts]
    assert numbers == ["+0.300", "-0.100", "+0.100", "+0.200"]  # margin 4.0 on top
    ranges = [mesh.get_clim() for ax in figure.axes for mesh in ax.collections]
    assert ranges == [(-0.02, 0.02), (-0.3, 0.3)]


def test_cells_are_lines_over_the_scale_in_the_panel_of_their_centroids():
    rows = [
        ("hadamard", "orthohash", 1.0, 4.0, 0.1),
        ("hadamard", "orthohash", 1.0, 4.0, 0.3),  # another seed
        ("hadamard", "orthohash", 8.0, 4.0, 0.5),
        ("max_hamming", "relahash", 1.0, 0.0, 0.3),
    ]
    cells = pd.DataFrame(rows, columns=["centroids", "loss", "scale", "margin", "error"])
    figure = plots.plot_cells(cells, "error", {"max_hamming": 0.05, "hadamard": 0.01})
    assert titles(figure) == ["max_hamming", "hadamard"]
    lines = [line.get_xydata().tolist() for line in figure.axes[1].lines]
    assert any(np.allclose(line, [[1, 0.2], [8, 0.5]]) for line in lines if len(line) == 2)
    assert [ax.lines[-1].get_ydata()[0] for ax in figure.axes] == [0.05, 0.01]
    assert {"0", "4", "relahash", "orthohash", "free codes"} <= set(legend_texts(figure.axes[1].get_legend()))


def test_a_figure_follows_its_controls():
    def draw(slope, shift):
        plt.plot([shift, shift + slope])

    sliders = {"slope": IntSlider(1), "shift": IntSlider(0)}
    image = plots.follow(draw, sliders)
    first = bytes(image.value)
    sliders["shift"].value = 3
    second = bytes(image.value)
    sliders["shift"].value = 0
    assert first == bytes(image.value) != second
    assert second.startswith(b"\x89PNG")
    assert not plt.get_fignums()

"""Figures: drawn where they are told to, with the numbers that they were given."""

import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from ipywidgets import IntSlider

from relahash_nb import metrics, plots
from relahash_nb.plots import style

matplotlib.use("agg")
CODES = np.random.default_rng(0).standard_normal((60, 12))
TARGETS = np.eye(3)[np.arange(60) % 3]
TWO = {"relahash": CODES, "csq": 3 * CODES}


@pytest.fixture
def ax():
    plots.set_style()
    yield plt.subplots()[1]
    plt.close("all")


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


RUNS = pd.DataFrame(dict(loss=["a", "a", "b"], bits=[16, 16, 32], quantization_error=[0.1, 0.3, 0.2]))


def test_an_axis_that_is_given_is_drawn_on_and_given_back(ax):
    histories = pd.DataFrame(dict(loss=["a"] * 4, epoch=[1, 2, 1, 2], quantization_error=[0.2, 0.1, 0.4, 0.3]))
    for draw, what in (
        (plots.plot_shares, ({name: metrics.code_cosine(codes) for name, codes in TWO.items()}, "cosine")),
        (plots.plot_shares, ({"a": np.array([1.0, np.nan, 2.0])}, "distance", {"radius": 2})),
        (plots.plot_hamming, (np.array([2, 1, 0]), np.array([2, 2, 4]))),
        (plots.plot_lines, (RUNS, "bits", "quantization_error")),
        (plots.plot_lines, (histories, "epoch", "quantization_error")),
        (plots.plot_points, (RUNS, "bits", "quantization_error", "loss")),
    ):
        assert draw(*what, ax=ax) is ax and ax.get_xlabel() and ax.get_ylabel()
        assert draw(*what).figure is not ax.figure
        ax.clear()


def test_means_and_deviations_over_the_seeds_are_drawn_and_names_stand_at_the_ends(ax):
    plots.plot_lines(RUNS, "bits", "quantization_error", ax=ax)
    assert {text.get_text() for text in ax.texts} == {"a", "b"} and ax.get_legend() is None
    bar = ax.collections[0].get_segments()[0][:, 1]
    assert np.allclose(sorted(bar), 0.2 + np.std([0.1, 0.3], ddof=1) * np.array([-1, 1]))


def test_of_one_seed_there_is_no_deviation(ax):
    histories = pd.DataFrame(dict(loss=["a"] * 2, epoch=[1, 2], quantization_error=[0.2, 0.1]))
    plots.plot_lines(histories, "epoch", "quantization_error", ax=ax)
    assert not any(np.isfinite(path.vertices).all() for band in ax.collections for path in band.get_paths())
    comparison = pd.DataFrame(dict(method=["a", "lsh"], mean=[0.5, 0.4], deviation=[np.nan] * 2))
    legend = texts(plots.plot_methods(comparison.assign(worst=0.3, best=0.6)).get_legend())
    assert sorted(legend) == ["by the order of ties", "one seed"]


def test_names_do_not_hide_one_another_and_what_is_not_trained_is_grey(ax):
    names = ["relahash", "csq", "dpn", "lsh"]
    table = pd.DataFrame(
        dict(method=names * 2, bits=[16] * 4 + [32] * 4, score=[0.5, 0.501, 0.502, 0.503] * 2, error=0.1)
    )
    for draw, x in ((plots.plot_lines, "bits"), (plots.plot_points, "error")):
        drawn = draw(table, x, "score", by="method")
        drawn.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in drawn.texts]
        assert not any(one.overlaps(other) for one in boxes for other in boxes if one is not other)
        assert {text.get_text(): text.get_color() for text in drawn.texts}["lsh"] == style.GREY


def test_the_overlap_is_in_the_title():
    distances = metrics.ClassDistances(np.array([2, 2, 0]), np.array([0, 1, 3]))
    figure = plots.plot_class_distances({"a": distances})
    assert figure.axes[0].get_title() == "a: means 0.5 and 1.8 bits,\noverlap 25.0 %"
    low, high = figure.axes[0].get_ylim()
    assert figure.axes[0].get_yscale() == "log" and low < 0.25 and high > 0.75


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_panel_for_each_loss_and_one_scale(count):
    losses = [f"loss {number}" for number in range(count)]
    density, edges = metrics.bit_histograms(CODES)
    heat = plots.plot_bit_densities(dict.fromkeys(losses, density), edges)
    assert [ax.get_title() for ax in heat.axes] == losses
    assert len({mesh.get_clim() for ax in heat.axes for mesh in ax.collections}) == 1
    bits = plots.plot_bit_histograms(dict.fromkeys(losses, density), edges, bits=range(3))
    assert [ax.get_title() for ax in bits.axes] == ["bit 1", "bit 2", "bit 3"] and texts(bits.legends[0]) == losses
    drawn = bits.axes[2].lines[0].get_ydata()
    assert np.allclose(drawn, density[2])
    plt.close("all")


@pytest.mark.parametrize("classes", [3, 30])
def test_a_class_has_its_panel_and_many_are_not_listed(classes):
    names, labels = [f"class {label}" for label in range(classes)], np.arange(60) % classes
    figure = plots.plot_map(CODES[:, :2], labels, names, CODES[:classes, :2], shares=np.array([0.6, 0.3]))
    assert "60 % of the variance" in figure.get_supxlabel()
    assert [ax.get_title() for ax in figure.axes] == names[:10]
    confusion = np.full((classes, classes), 1 / classes)
    assert len(plots.plot_confusion(confusion, names).texts) == (9 if classes == 3 else 0)
    plt.close("all")


def test_a_dollar_in_a_name_is_written_out():
    names = ["$5 to $9", "x^$_$", "a"]
    images = np.zeros((3, 1, 4, 4), np.uint8)
    figures = [
        plots.plot_images(images, names),
        plots.plot_retrieval(images, images[None].repeat(3, 0), np.eye(3) > 0, names),
        plots.plot_map(CODES[:, :2], np.arange(60) % 3, names, CODES[:3, :2], (0.6, 0.3)),
        plots.plot_confusion(np.eye(3), names).figure,
        plots.plot_shares(dict.fromkeys(names, CODES[:, 0]), "x").figure,
    ]
    for figure in figures:
        figure.draw_without_rendering()
        written = {text.get_text().split(", ")[0] for text in figure.findobj(plt.Text)}
        assert {name.replace("$", r"\$") for name in names} <= written
    plt.close("all")


def test_a_training_is_drawn_with_its_error_and_the_least_loss():
    history = pd.DataFrame(dict(epoch=[1, 2], loss=[5.0, 4.5], centroid_accuracy=[0.5, 0.6], query_map=[np.nan, 0.7]))
    figure = plots.plot_training(history.assign(quantization_error=0.1), {"least possible": 4.2})
    assert [ax.get_title() for ax in figure.axes] == ["loss", "score", "quantization error of a batch"]
    assert figure.axes[0].get_ylim()[0] < 4.2 and texts(figure.axes[1].get_legend())[1] == "query mAP"
    plt.close("all")


def test_the_overview_shows_the_signs_of_its_numbers_and_what_differs():
    path = Path(__file__).parent.parent / "tools" / "overview.py"
    figure = runpy.run_path(str(path))["draw_overview"]()
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    drawn = figure.axes[2].collections[0].get_array().ravel()
    assert len(heights) == 16 and np.array_equal(drawn, np.sign(heights))
    assert [text.get_text() for text in figure.axes[3].texts] == ["0 ✓", "1 ✓", "8 ✗"]
    plt.close("all")


def test_differences_stand_at_their_numbers_and_say_their_verdict(ax):
    table = pd.DataFrame(dict(method=["a", "b"], difference=[0.02, -0.01], low=[0.01, -0.03], high=[0.03, 0.01]))
    drawn = plots.plot_differences(table.assign(verdict=["better", "not told apart"]), ax)
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["b: not told apart", "a: better"]
    assert drawn.collections[0].get_offsets()[:, 0].tolist() == [-0.01, 0.02]
    assert [list(line.get_xdata()) for line in drawn.lines[:2]] == [[-0.03, 0.01], [0.01, 0.03]]


def test_change_is_an_open_and_a_filled_point_of_each_method_the_best_above(ax):
    drawn = plots.plot_change(pd.DataFrame(dict(defaults=[0.5, 0.4], tuned=[0.6, 0.7]), index=["relahash", "csq"]), ax)
    assert [points.get_offsets()[:, 0].tolist() for points in drawn.collections[1:3]] == [[0.5, 0.4], [0.6, 0.7]]
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["relahash", "csq"]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["defaults", "tuned"]


def test_a_grid_has_a_panel_per_loss_with_its_numbers_in_their_cells():
    cells = [(scale, margin) for scale in (1.0, 8.0) for margin in (0.2, 4.0)]
    rows = [dict(scale=s, margin=m, loss=loss, error=s + m + bonus) for s, m in cells
            for loss, bonus in (("csq", 0.0), ("relahash", 0.5))]  # fmt: skip
    figure = plots.plot_grid(pd.DataFrame(rows), "error", "scale", "margin", "loss")
    assert [ax.get_title() for ax in figure.axes] == ["relahash", "csq"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["5.000", "12.000", "1.200", "8.200"]  # 4.0 above
    plt.close("all")


def test_a_figure_follows_its_controls():
    sliders = {"slope": IntSlider(1), "shift": IntSlider(0)}
    image = plots.follow(lambda slope, shift: plt.plot([shift, shift + slope]), sliders)
    drawn = [bytes(image.value)]
    sliders["shift"].value = 3
    drawn.append(bytes(image.value))
    sliders["shift"].value = 0
    assert drawn[0] == bytes(image.value) != drawn[1] and drawn[1].startswith(b"\x89PNG")
    assert not plt.get_fignums()

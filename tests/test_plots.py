"""Figures: drawn where they are told to, with the numbers that they were given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from relahash_nb import metrics, plots

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


def test_an_axis_that_is_given_is_drawn_on_and_given_back(ax):
    histories = pd.DataFrame(dict(loss=["a"] * 4, epoch=[1, 2, 1, 2], quantization_error=[0.2, 0.1, 0.4, 0.3]))
    runs = pd.DataFrame(dict(loss=["a", "a", "b"], bits=[16, 16, 32], quantization_error=[0.1, 0.3, 0.2]))
    densities = {name: metrics.bit_histograms(codes)[0] for name, codes in TWO.items()}
    assert plots.plot_bit(densities, metrics.bit_histograms(CODES)[1], 3, ax) is ax
    for draw, what in (
        (plots.plot_cosines, {name: metrics.code_cosine(codes) for name, codes in TWO.items()}),
        (plots.plot_bit_balance, {name: metrics.bit_balance(codes) for name, codes in TWO.items()}),
        (plots.plot_class_distances, metrics.class_distances(CODES, TARGETS)),
        (plots.plot_centroid_distances, {"a": np.array([1.0, np.nan, 2.0])}),
        (plots.plot_by_bits, runs),
        (plots.plot_course, histories),
    ):
        assert draw(what, ax=ax) is ax and ax.get_xlabel() and ax.get_ylabel()
        assert draw(what).figure is not ax.figure
        ax.clear()


def test_means_and_deviations_over_the_seeds_are_drawn(ax):
    runs = pd.DataFrame(dict(loss=["a", "a", "b"], bits=[16, 16, 32], quantization_error=[0.1, 0.3, 0.2]))
    plots.plot_by_bits(runs, ax=ax)
    first, second = ax.containers
    assert np.isclose(first.lines[0].get_ydata()[0], 0.2) and np.isclose(second.lines[0].get_ydata()[0], 0.2)
    (low, high) = first.lines[2][0].get_segments()[0][:, 1]
    assert np.isclose(high - low, 2 * np.std([0.1, 0.3], ddof=1))


def test_the_overlap_is_in_the_legend(ax):
    distances = metrics.ClassDistances(np.array([2, 2, 0]), np.array([0, 1, 3]))
    plots.plot_class_distances(distances, ax)
    assert texts(ax.get_legend()) == ["share a label, mean 0.5", "share none, mean 1.8", "overlap 25.0 %"]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_panel_for_each_loss_and_one_scale(count):
    losses = [f"loss {number}" for number in range(count)]
    density, edges = metrics.bit_histograms(CODES)
    heat = plots.plot_bit_densities(dict.fromkeys(losses, density), edges)
    correlation = plots.plot_bit_correlation(dict.fromkeys(losses, metrics.bit_correlation(CODES)))
    for figure in (heat, correlation):
        assert [ax.get_title() for ax in figure.axes[:-1]] == losses  # the last is the scale
    below = [ax.xaxis.get_tick_params()["labelbottom"] for ax in heat.axes[:-1]]
    assert below == ([True] * count if count < 4 else [False, True, True, True])
    bits = plots.plot_bit_histograms(dict.fromkeys(losses, density), edges, bits=range(3))
    assert len(bits.axes) == 3 and texts(bits.legends[0]) == losses
    plt.close("all")


@pytest.mark.parametrize("classes", [3, 30])
def test_many_classes_are_not_listed(classes, ax):
    names, labels = [f"class {label}" for label in range(classes)], np.arange(60) % classes
    plots.plot_map(CODES[:, :2], labels, names, CODES[:classes, :2], shares=np.array([0.6, 0.3]), ax=ax)
    assert "60 % of the variance" in ax.get_xlabel() and (ax.get_legend() is None) == (classes > 10)
    confusion = np.full((classes, classes), 1 / classes)
    assert len(plots.plot_confusion(confusion, names).texts) == (9 if classes == 3 else 0)

"""Figures: arrays or a DataFrame in (and `ax`, where to draw), axes or figure out; nothing is saved or shown."""
# ruff: noqa: F401

from relahash_nb.plots.codes import (
    plot_bit_densities,
    plot_bit_histograms,
    plot_codes,
    plot_map,
    plot_positions,
    plot_shares,
)
from relahash_nb.plots.dividend import plot_dividend
from relahash_nb.plots.images import (
    plot_class_distances,
    plot_confusion,
    plot_hamming,
    plot_images,
    plot_retrieval,
)
from relahash_nb.plots.runs import plot_curves, plot_lines, plot_methods, plot_points, plot_training
from relahash_nb.plots.style import follow, set_style
from relahash_nb.plots.tuning import plot_cells, plot_change, plot_differences, plot_gaps

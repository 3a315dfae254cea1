"""Figures: arrays or a DataFrame in, and an `ax` where you have one; the `ax` out. Nothing is read, saved or shown."""

from relahash_nb.plots.codes import plot_codes
from relahash_nb.plots.comparison import plot_against, plot_bits, plot_methods, plot_published
from relahash_nb.plots.curves import plot_curves, plot_positions
from relahash_nb.plots.distribution import (
    plot_bit_balance,
    plot_bit_correlation,
    plot_centroid_distances,
    plot_class_distances,
    plot_confusion,
    plot_map,
)
from relahash_nb.plots.images import plot_images, plot_retrieval
from relahash_nb.plots.quantization import (
    plot_bit,
    plot_bit_densities,
    plot_bit_histograms,
    plot_by_bits,
    plot_cosines,
    plot_course,
)
from relahash_nb.plots.retrieval import plot_hamming, plot_precision_at, plot_within
from relahash_nb.plots.style import label_rims, panels, set_style
from relahash_nb.plots.training import plot_training

__all__ = [
    "label_rims",
    "panels",
    "plot_against",
    "plot_bit",
    "plot_bit_balance",
    "plot_bit_correlation",
    "plot_bit_densities",
    "plot_bit_histograms",
    "plot_bits",
    "plot_by_bits",
    "plot_centroid_distances",
    "plot_class_distances",
    "plot_codes",
    "plot_confusion",
    "plot_cosines",
    "plot_course",
    "plot_curves",
    "plot_hamming",
    "plot_images",
    "plot_map",
    "plot_methods",
    "plot_positions",
    "plot_precision_at",
    "plot_published",
    "plot_retrieval",
    "plot_training",
    "plot_within",
    "set_style",
]

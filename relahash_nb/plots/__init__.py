"""Figures: arrays or a DataFrame in, and an `ax` where you have one; the `ax` out. Nothing is read, saved or shown."""

from relahash_nb.plots.codes import plot_codes
from relahash_nb.plots.comparison import plot_against, plot_bits, plot_methods, plot_published
from relahash_nb.plots.images import plot_images, plot_retrieval
from relahash_nb.plots.retrieval import plot_hamming, plot_precision_at, plot_within
from relahash_nb.plots.style import set_style
from relahash_nb.plots.training import plot_training

__all__ = [
    "plot_against",
    "plot_bits",
    "plot_codes",
    "plot_hamming",
    "plot_images",
    "plot_methods",
    "plot_precision_at",
    "plot_published",
    "plot_retrieval",
    "plot_training",
    "plot_within",
    "set_style",
]

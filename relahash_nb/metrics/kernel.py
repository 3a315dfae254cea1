"""The compiled count of pairs, for large databases; `histograms` has the same in NumPy. It imports numba."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np


def count_pairs(codes, labels, items, item_labels, bits: int, block_items: int) -> np.ndarray:
    """Count the irrelevant and the relevant items at each distance: (Q, 2, K + 1) int64.

    Args:
        codes: (Q, W) uint64 words of the queries' bits.
        labels: (Q, L) uint64 words of the queries' classes.
        items: (W, D) uint64 words of the database's bits, one item in a column.
        item_labels: (L, D) uint64 words of the database's classes.
        bits: K.
        block_items: items that all queries of a thread pass over before the next ones.
    """
    bins = bits + 1
    counts = np.zeros((len(codes), 2, bins), np.int64)
    # Narrow numbers let a core compare more items at a time.
    number_type = np.uint16 if 2 * bins <= 1 << 16 else np.uint32
    threads = numba.get_num_threads()
    buffers = np.empty((threads, 2, block_items), number_type)
    parts = [np.array_split(rows, threads) for rows in (codes, labels, counts)]
    with ThreadPoolExecutor(threads) as pool:  # each thread counts for a part of the queries
        list(pool.map(partial(_count, items, item_labels), *parts, buffers))
    return counts


@numba.njit
def _popcount(word):
    """Count the ones of a word; numba has no function for it, and its compiler makes one instruction of this."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit
def _count_different_bits(code, items, start, distances):
    """Write the Hamming distances (n,) between one code (W,) and the n items from `start` on."""
    distances[:] = 0
    for word in range(len(code)):
        item_words = items[word, start : start + len(distances)]  # without a gap in memory, else it takes twice as long
        for item in range(len(distances)):
            distances[item] += _popcount(code[word] ^ item_words[item])


@numba.njit
def _count_shared_labels(labels, item_labels, start, shared):
    """Write how many classes one query (L,) shares with each of the n items from `start` on."""
    shared[:] = 0
    for word in range(len(labels)):
        if labels[word]:  # so that one label among thousands of classes costs one word
            item_words = item_labels[word, start : start + len(shared)]
            for item in range(len(shared)):
                shared[item] += _popcount(labels[word] & item_words[item])


# Not cached on disk: it compiles in about a second, and a cache fails where an installation is read-only.
@numba.njit(nogil=True)
def _count(items, item_labels, codes, labels, counts, buffers):
    bins = counts.shape[2]
    block_items = buffers.shape[1]
    one = buffers.dtype.type(1)  # of the buffers' type, so that no item widens
    step = buffers.dtype.type(bins)
    # Neighbours often fall into one bin, and a core waits for its own last write: four tallies take turns.
    tallies = np.zeros((4, 2 * bins), np.int32)
    for start in range(0, items.shape[1], block_items):
        stop = min(start + block_items, items.shape[1])
        bin_of_item = buffers[0, : stop - start]
        shared = buffers[1, : stop - start]
        for query in range(len(codes)):
            _count_different_bits(codes[query], items, start, bin_of_item)
            _count_shared_labels(labels[query], item_labels, start, shared)
            for item in range(len(bin_of_item)):
                bin_of_item[item] += step * min(shared[item], one)
            for item in range(len(bin_of_item)):
                tallies[item & 3, bin_of_item[item]] += 1
            for bin in range(2 * bins):
                for turn in range(4):
                    counts[query, bin // bins, bin % bins] += tallies[turn, bin]
            tallies[:] = 0

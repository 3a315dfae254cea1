"""How far apart are centroids, and how long does it take to draw them?

python benchmarks/centroids.py                       minutes; rows come as they are done
python benchmarks/centroids.py --method hadamard
"""

from __future__ import annotations

import argparse
import time

from relahash_nb.centroids import CENTROIDS, describe_centroids, make_centroids

CLASSES, BITS = (10, 21, 80, 100, 1000), (8, 16, 32, 48, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="max_hamming", choices=CENTROIDS, help="default max_hamming")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| classes | bits | minimum distance | bound | mean | constant bits | duplicate bits | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for classes in CLASSES:
        for bits in BITS:
            start = time.perf_counter()
            centroids = make_centroids(classes, bits, arguments.method, arguments.seed)
            seconds = time.perf_counter() - start
            seen = describe_centroids(centroids)
            distances = f"{seen.minimum_distance} | {seen.plotkin_bound} | {seen.mean_distance:.2f}"
            redundant = f"{seen.constant_bits} | {seen.duplicate_bits}"
            print(f"| {classes} | {bits} | {distances} | {redundant} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()

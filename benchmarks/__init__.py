"""Speed, as ratios against a baseline that takes turns with ours: `python -m benchmarks`."""

"""relahash-nb: a notebook-driven study of RelaHash, deep hashing with relative position."""

import os

# Both must be set before torch loads; the notebooks and the command line import this package first.
# How long an OpenMP thread spins before it sleeps. Torch's default gets in the way of other processes: beside two busy
# ones on two cores an epoch took 42 s, and 2 s with this. On a quiet machine it costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
# Large tensors in pages of 2 MB, where Linux has them: with pages of 4 KB, each zeroed by the system, a training step
# of AlexNet takes a third longer.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

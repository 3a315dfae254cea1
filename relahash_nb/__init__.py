"""relahash-nb: a notebook-driven study of RelaHash, deep hashing with relative position."""

import os

# How long an OpenMP thread spins before it sleeps. torch's default is long, and where anything else runs it spins in
# the way: beside two busy processes on two cores an epoch took 42 s, and 2 s with this; on a quiet machine it costs
# nothing. It has to be said before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

# Memory of large tensors in pages of 2 MB, where Linux has them: a training step of AlexNet frees and takes so much of
# it that pages of 4 KB, each zeroed by the system anew, cost a third of its time. It has to be said before torch
# allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

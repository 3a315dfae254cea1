"""relahash-nb: a notebook-driven study of RelaHash, deep hashing with relative position."""

import os

# OpenMP's threads spin while they wait, and on a machine where anything else runs they spin in its way: an epoch took
# 42 s instead of 3 s on two cores beside two busy processes, and 2.1 s against 2.7 s on a quiet one. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

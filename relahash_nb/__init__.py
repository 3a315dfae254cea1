"""relahash-nb: a notebook-driven study of RelaHash, deep hashing with relative position."""

import os

# OpenMP's threads spin while they wait, and on a machine where anything else runs they spin in its way: an epoch took
# 42 s instead of 3 s on two cores beside two busy processes. It has to be said before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

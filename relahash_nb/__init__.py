"""relahash-nb: a notebook-driven study of RelaHash, deep hashing with relative position."""

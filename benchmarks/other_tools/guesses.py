"""What was expected of each engine and of each change of numerics, written down before it was run here.

Whoever guessed had read a list of measurements on *other* codes (5,000 made-up ones, 1,983 of them distinct), and knew
of the codes used here only this: 6,500 of the database at 64 bits are 806 distinct ones, the largest group holds 628.
"""

ENGINES = {
    "faiss_flat": "exact everywhere, ties by ascending id",
    "faiss_hnsw": "a group of 628 equal codes fills all 16 links of its members: recall .3 on trained codes, most "
    "queries short of 100 rows; .99 on distinct codes and on uniform ones",
    "faiss_ivf": "1.0 on trained codes with 8 of 64 lists, .45 on uniform ones",
    "faiss_multihash": ".97 on trained codes, 0.1 on uniform ones, with rows missing",
    "usearch": ".9 on trained codes with some queries at 0, always 100 rows; 1.0 on distinct codes",
    "usearch_exact": "exact, but the ids at the cut differ between two builds",
    "sqlite_vec": "exact; ties by descending id inside a chunk; 20 bits must be declared as 24",
    "lancedb": "exact; ties in row order",
    "lancedb_ivf": "1.0 on trained codes, .6 on uniform ones; ties arbitrary",
    "milvus_lite": "exact, ties by ascending id; 20 bits are an error",
    "duckdb": "exact distances; which of the tied ids come back changes from call to call",
    "pgvector": "exact distances; the tied ids at the cut are not the lowest",
    "pgvector_hnsw": "100 rows on trained codes (a node holds ten equal codes), 40 rows on distinct and uniform ones",
    "pgvector_iterative": "100 rows everywhere, recall above .95",
    "annoy": ".7 on trained codes: a tree cannot split equal codes; .9 on uniform ones",
    "ngt": ".5 on trained codes, rows missing; 1.0 on distinct and on uniform ones",
    "nmslib": ".5 on trained codes, always 100 rows; 1.0 on distinct and on uniform ones",
    "hnswlib": ".5 on trained codes with queries at 0, always 100 rows; 1.0 on distinct and on uniform ones",
    "chroma": ".8 on trained codes, some rows missing; 1.0 on distinct and on uniform ones",
    "scikit_learn": "exact on 0/1 columns, ties arbitrary; packed bytes accepted and wrong without a warning",
}

NUMERICS = {
    "same": "none",
    "threads": "none, or one bit in 100,000",
    "batch_1": "none, or one bit in 100,000",
    "batch_17": "none, or one bit in 100,000",
    "aten_default": "none: convolutions and matrix products are not ATen's own kernels",
    "aten_avx2": "none",
    "onednn_sse41": "some .01 %: another order of sums",
    "onednn_avx2": "some .01 %",
    "folded": "some .01 %: batch norms multiplied into the weights round differently",
    "bf16": "1 % of the bits, in a third of the pictures; mAP by .002",
    "jpeg_95": "2 % of the bits",
    "draft": "1 % of the bits; mAP by less than .0005",
    "torchvision": "none: the same decoder library",
}

# MobileNetV3-small without weights, 224 pixels, 64 random projections of its centred features: an untrained network
# gives nearly the same features for all pictures, so what is left after the mean is small beside the rounding.
MOBILENET = {
    "same": "none",
    "threads": "none",
    "batch_1": "one bit in 10,000",
    "aten_default": "one bit in 10,000",
    "onednn_sse41": "one bit in 10,000",
    "onednn_avx2": "one bit in 10,000",
    "no_onednn": "one bit in 10,000",
    "channels_last": "none: oneDNN reorders anyway",
    "folded": "one bit in 10,000",
    "fp64": "one bit in 10,000",
    "bf16": "10 % of the bits, in every picture",
    "bf16_avx2": "5 % of the bits",
}

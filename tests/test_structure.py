"""The house: imports run one way, torch stays out of a help text, what a name stands for can be loaded, no pickle."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import relahash_nb

PACKAGE = Path(relahash_nb.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
# A module imports only from rows above its own, and from its own row where it is a package.
ROWS = (
    "paths",
    "threads",
    "failures",
    "registry",
    "options",
    "cluster",
    "config",
    "command_line",
    "files",
    "devices",
    "centroids",
    "metrics",
    "plots",
    "pictures",
    "model_file",
    "datasets",
    "baselines",
    "losses",
    "backbones",
    "saved_model",
    "models",
    "inference",
    "features",
    "export",
    "training",
    "report",
    "results",
    "session",
    "tuning",
    "search",
    "explorer",
    "notebooks",
    "sweep",
    "cli",
)
WITHOUT_TORCH = ("config", "results", "sweep", "cli")
SEARCH = ROOT / "relahash_search"


def imported_modules(path: Path) -> set[str]:
    """The modules of `relahash_nb` that a file imports, at its top or in a function: `metrics` for `metrics.codes`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "relahash_nb":
            names |= {f"relahash_nb.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("relahash_nb.")}


def row_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", ["", ".config", ".pictures", ".model_file", ".results", ".sweep", ".cli"])
def test_no_torch_at_the_top(module):
    code = f"import sys, relahash_nb{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_in_the_registry_can_be_loaded():
    registry = pytest.importorskip("relahash_nb.registry")
    tables = [table for name, table in vars(registry).items() if name.isupper() and isinstance(table, dict)]
    paths = [path for table in tables for path in table.values() if isinstance(path, str) and ":" in path]
    assert len(paths) > 30
    assert all(callable(registry.load({}, path)) for path in paths)


def test_nothing_is_loaded_with_pickle():
    for path in [*FILES, *SEARCH.rglob("*.py")]:
        text = path.read_text()
        assert "import pickle" not in text, path
        for call in ast.walk(ast.parse(text)):
            called = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            if called == "np.load":
                assert "allow_pickle=False" in ast.unparse(call), path
            if called == "torch.load":
                assert "weights_only=True" in ast.unparse(call), path


def test_notebooks_and_pages_import_the_package_before_torch():
    """It sets variables that torch reads when it loads."""
    texts = {path.name: code_of(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    pages = (ROOT / "README.md", ROOT / "docs" / "python.md")
    texts["pages"] = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert len(texts) >= 7
    for name, text in texts.items():
        first = re.search(r"^(import|from) (torch|relahash_nb)\b", text, flags=re.MULTILINE)
        assert first and first[2] == "relahash_nb", name


def code_of(path: Path) -> str:
    """The source of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")

"""Where the files of the project, and of a user, lie."""

import functools
import os
import tomllib
from pathlib import Path


def package_file(path: str) -> Path:
    """A notebook or data file of the project, such as `notebooks/01_train.ipynb`, installed or in a checkout.

    Raises:
        FileNotFoundError: There is no such file.
    """
    package = Path(__file__).parent
    for folder in (package / "share", package.parent):
        if (folder / path).exists():
            return folder / path
    raise FileNotFoundError(f"{path}: neither in {package / 'share'} nor in {package.parent}")


def project_path(name: str | Path) -> Path:
    """Where a `data_dir` or `results_dir` lies.

    A relative one lies in the checkout of this project that the working directory is in; outside a checkout, in the
    working directory.
    """
    if Path(name).is_absolute():
        return Path(name)
    return Path(os.path.relpath(_find_checkout(Path.cwd()) / name))


@functools.cache
def _find_checkout(folder: Path) -> Path:
    """The checkout of this project that a folder is in, or the folder itself."""
    for candidate in (folder, *folder.parents):
        if _project_name(candidate) == "relahash-nb":
            return candidate
    return folder


def _project_name(folder: Path) -> str | None:
    """The name in a folder's `pyproject.toml`; None where there is none."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None

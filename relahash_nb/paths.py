"""Where the files of the project, and of a user, lie."""

import functools
import os
import re
import tomllib
from pathlib import Path

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # s3://, gs://; Path makes one slash of two; C:/ is a drive


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


def local_path(name: str | Path) -> str:
    """A path as a user gives it, with `~` expanded: the one place for all options and arguments that name one.

    Raises:
        ValueError: An address, such as `s3://bucket/runs`, or the home of a user who does not exist.

    Example:
        >>> local_path("photos/2024")
        'photos/2024'
        >>> local_path("s3://bucket/runs")
        Traceback (most recent call last):
        ValueError: 's3://bucket/runs' given; allowed: a path of this machine, such as that of a mounted drive
    """
    if ADDRESS.match(str(name)):
        raise ValueError(f"{str(name)!r} given; allowed: a path of this machine, such as that of a mounted drive")
    try:
        return str(Path(name).expanduser())
    except RuntimeError:
        raise ValueError(f"{str(name)!r} given, and there is no such user; a folder of this name is ./{name}") from None


def project_path(name: str | Path) -> Path:
    """Where a `data_dir` or `results_dir` lies.

    A relative one lies in the checkout of this project that the working directory is in; outside a checkout, in the
    working directory.

    Raises:
        ValueError: As of `local_path`.
    """
    path = Path(local_path(name))
    if path.is_absolute():
        return path
    return Path(os.path.relpath(_find_checkout(Path.cwd()) / path))


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

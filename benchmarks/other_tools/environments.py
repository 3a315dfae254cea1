"""Virtual environments for outside tools: each is made once in a folder, with pinned versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


FROM_SOURCE = "annoy"  # it has no wheel, and compiles in seconds


class InstallError(Exception):
    """A package that did not install; the text is the installer's last line."""


def environment(folder: Path, name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of an environment that holds `requirements`, made where it is missing.

    Raises:
        InstallError: A requirement has no wheel, does not compile, or does not exist.
    """
    python = folder / name / "bin" / "python"
    done = folder / name / "installed.txt"
    if done.exists() and done.read_text(encoding="utf-8").split() == list(requirements):
        return python
    subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
    command = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    command += ["--no-binary", FROM_SOURCE, *requirements]
    installed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if installed.returncode:
        errors = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallError(errors[-1] if errors else installed.stderr.strip()[-200:])
    done.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return python


def run_script(python: Path, script: Path, *arguments: str | Path, seconds: int = 1800) -> None:
    """Runs a script in an environment; the error holds the end of what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=seconds, env=variables | SETTINGS
    )
    if done.returncode:
        raise RuntimeError(f"{script.name}: {done.stderr.strip()[-2000:]}")

"""What all tests share, the examples of docstrings too."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def working_directory(tmp_path_factory):
    """Tests and examples work outside the checkout, so that what a relative path names is not written into it."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("working_directory"))
    yield
    os.chdir(before)

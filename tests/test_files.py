"""A file is there whole, or as it was before."""

import time
from pathlib import Path

import pytest

from relahash_nb.files import timed, write


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(temporary):
        temporary.write_text("ne")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(path, half)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [FileExistsError, PermissionError])
def test_a_mount_that_renames_over_no_existing_file_is_served(error, tmp_path, monkeypatch):
    def refuse(self, target):
        if Path(target).exists():
            raise error(f"cannot rename over {target}")
        return self.rename(target)

    monkeypatch.setattr(Path, "replace", refuse)
    path = tmp_path / "table.csv"
    for text in ("old", "new"):
        write(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]


def test_the_seconds_of_a_stage_add_up_in_the_caller_s_dict():
    seconds = {}
    for _ in range(2):
        with timed(seconds, "encoding"):
            time.sleep(0.01)
    assert seconds.keys() == {"encoding"} and seconds["encoding"] >= 0.02

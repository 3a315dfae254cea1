"""The training notebook once more: on images with several labels."""

from pathlib import Path

import papermill
import pytest

from relahash_nb.results import load_runs

TRAIN = Path(__file__).parent.parent.parent / "notebooks" / "01_train.ipynb"
pytestmark = pytest.mark.slow


def test_several_labels_train_too(list_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = dict(dataset="lists", root=str(list_folder), bits=16, epochs=1, batch_size=4)
    rare = dict(recipe="quick", image_size=14, device="cpu", centroids="semantic")
    takes_options = "options" in papermill.inspect_notebook(str(TRAIN))
    parameters = common | ({"options": rare} if takes_options else rare)
    papermill.execute_notebook(str(TRAIN), "out.ipynb", parameters, progress_bar=False)
    runs = load_runs("results")
    assert runs["dataset"].tolist() == ["lists"] and runs["centroids"].tolist() == ["semantic"]

"""The search notebook in a real Chromium: pictures are dropped on it in Voila and in JupyterLab, and found."""

import base64
import re
import time
from pathlib import Path

import papermill
import pytest

from relahash_search.index import Index
from relahash_search.page import in_bits, nearest
from tests.search_data import draw, list_files
from tests.test_explorer import LAB, SETTINGS, VOILA, browser, free_port, playwright, start, wait_for  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.server]
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "07_search_your_images.ipynb"
FILE = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)), data = new DataTransfer();
    data.items.add(new File([bytes], name, { type: "image/png" }));
    return data;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project's folder with pictures, the notebook for them, and the settings of JupyterLab."""
    folder = tmp_path_factory.mktemp("search")
    draw(folder / "photos", 60, side=40)
    model = {"backbone": "small_cnn", "weights": "none", "image_size": 28, "bits": 24}
    parameters = {"folder": str(folder / "photos"), "results_dir": str(folder / "results"), **model}
    papermill.execute_notebook(str(NOTEBOOK), str(folder / "explorer.ipynb"), parameters, prepare_only=True)
    for name, setting in SETTINGS.items():
        path = folder / "CONFIG" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(setting)
    return folder


@pytest.fixture
def address(request, folder):
    """The notebook's address in a JupyterLab or in a Voila that is started for it."""
    port = free_port()
    folders = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    if request.param == "lab":
        command = [*LAB, f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
        page = "lab/tree/explorer.ipynb"
    else:
        command = [*VOILA, f"--port={port}", "--VoilaConfiguration.show_tracebacks=True"]
        page = ""
    process = start(command, folder, folders)
    yield f"http://127.0.0.1:{port}/{page}"
    process.terminate()
    process.wait(20)


def open_page(browser, address):  # noqa: F811
    """The page once its cells have run; a kernel that does not start once in a while is given up for another."""
    wait_for(address)
    for attempt in range(3):
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        try:
            page.goto(address, timeout=120_000)
            if "/lab/" in address:
                page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.get_by_text("Run All Cells", exact=True).click()
            page.locator(".relahash-drop").nth(1).wait_for(timeout=120_000)
            return page
        except playwright.TimeoutError:
            page.close()
            if attempt == 2:
                raise
    return None


def assert_shown(place, expected):
    """Below a place to drop on stand, within a minute, these names and distances, the query first."""
    figures = place.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')][1]").locator("figure")
    until = time.monotonic() + 60
    found = None
    while found != expected and time.monotonic() < until:
        place.page.wait_for_timeout(200)
        shown = figures.evaluate_all("all => all.map(one => [one.title, one.querySelector('b').innerText])")
        found = [tuple(pair) for pair in shown]
    assert found == expected


@pytest.mark.parametrize("address", ["voila", "lab"], indirect=True)
def test_a_picture_that_is_dropped_or_chosen_is_found(address, folder, browser):  # noqa: F811
    page = open_page(browser, address)
    (location,) = (folder / "results" / "search").glob("photos-*")
    index = Index(location)
    pictures = list_files(folder / "photos")
    search = page.locator(".relahash-drop").first
    add = page.locator(".relahash-drop").nth(1)

    def expected(path):
        (answer,) = nearest(index, {"x.png": path.read_bytes()}, 11).values()
        same = {True: ", the same file", False: ""}
        captions = [(match.path, in_bits(match.distance) + same[match.is_same_file]) for match in answer]
        return [("x.png", "query"), *captions]

    content = base64.b64encode(pictures[7].read_bytes()).decode()
    search.dispatch_event("drop", {"dataTransfer": page.evaluate_handle(FILE, ["x.png", content])})
    assert_shown(search, expected(pictures[7]))
    chosen = {"name": "x.png", "mimeType": "image/png", "buffer": pictures[8].read_bytes()}
    search.locator("input").set_input_files(chosen)
    assert_shown(search, expected(pictures[8]))
    new_folder = draw(folder / re.sub(r"\W", "", address), 1, seed=len(address), side=50)
    new = new_folder / "a" / "000.png"
    before = len(index)
    add.locator("input").set_input_files(new)
    page.get_by_text(f"{before + 1} pictures are in the index").wait_for(timeout=120_000)
    same = [match.path for match in nearest(Index(location), {"x": new}, 5)["x"] if match.is_same_file]
    assert len(same) == 1
    assert Path(same[0]).parent == location.resolve() / "uploads"
    page.close()

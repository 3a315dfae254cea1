"""The explorer in a real Chromium: in JupyterLab, in Voila and as a page without a kernel, by mouse and by key."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import papermill
import pytest

from relahash_nb.explorer import View, export_html
from relahash_nb.metrics import retrieval_scores, unpack
from relahash_nb.results import Run, finished_runs

pytest.importorskip("anywidget", reason="the explorer needs anywidget; pip install 'relahash-nb[explorer]'")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright; [dev] has it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium or google-chrome here; on Debian: apt install chromium", allow_module_level=True)

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "04_hamming_explorer.ipynb"
LAB = ("lab", "--IdentityProvider.token=", "--ServerApp.password=", "--allow-root", "--ServerApp.open_browser=False")
# Without a question in front of the page, and with all cells on it, not only those in sight.
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false"}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
VOILA = ("voila", "explorer.ipynb", "--no-browser", "--Voila.ip=127.0.0.1")
ATTEMPTS = (1, 2, 3)
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def runs(toy_results):
    return finished_runs(toy_results)


@pytest.fixture(scope="module")
def run(runs):
    return next(iter(runs.values()))


@pytest.fixture(scope="module")
def servers(toy_results, tmp_path_factory):
    """Addresses of the notebook, in a JupyterLab (a copy an attempt) and in a Voila; both start at once."""
    folder = tmp_path_factory.mktemp("servers")
    parameters = {"results_dir": str(toy_results), "run_id": next(iter(finished_runs(toy_results)))}
    papermill.execute_notebook(str(NOTEBOOK), str(folder / "explorer.ipynb"), parameters, prepare_only=True)
    for attempt in ATTEMPTS:
        shutil.copy(folder / "explorer.ipynb", folder / f"explorer-{attempt}.ipynb")
    environment = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    for name, setting in SETTINGS.items():
        path = folder / "CONFIG" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(setting)
    lab = free_port()
    voila = free_port()
    processes = [
        start([*LAB, f"--ServerApp.port={lab}", f"--ServerApp.root_dir={folder}"], folder, environment),
        start([*VOILA, f"--port={voila}", "--VoilaConfiguration.show_tracebacks=True"], folder, environment),
    ]
    yield {"lab": f"http://127.0.0.1:{lab}/lab/tree/explorer-{{}}.ipynb", "voila": f"http://127.0.0.1:{voila}/"}
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(runs, tmp_path, browser):
    """The explorer as a page, in a browser without a network; what it asks for is kept in `page.asked`."""
    path = export_html([View.of(run) for run in runs.values()], tmp_path / "explorer.html", {"back": "index.html"})
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.asked = []
    page.failures = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.failures.append(error))
    page.goto(path.as_uri())
    yield page
    assert not page.failures
    context.close()


def start(command, folder, environment):
    """Starts `lab` or `voila` with its arguments; what it says is in a log in the folder."""
    server, *arguments = command
    module = {"lab": "jupyterlab.labapp", "voila": "voila.app"}[server]
    with (folder / f"{server}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", f"from {module} import main; main()", *arguments],
            cwd=folder,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def wait_for(address, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return urllib.request.urlopen(address.split("/lab/")[0], timeout=5)
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")


def open_with_kernel(page, address, selector):
    """Opens a page that starts a kernel.

    On a busy machine a kernel that was started sometimes never answers, however long one waits. It cannot be told from
    a slow one, so that after a minute another one is asked for: in Voila by the same address, in JupyterLab, which
    would go back to the first one, by a copy of the notebook.
    """
    for attempt in ATTEMPTS:
        try:
            page.goto(address.format(attempt), timeout=60_000)
            return page.locator(selector).wait_for(timeout=60_000)
        except playwright.TimeoutError:
            if attempt == ATTEMPTS[-1]:
                raise


def expected_position(run, query, radius):
    """Gives what the metrics say of a query, counted from 1, and a threshold.

    Texts of precision, recall, items and relevant items within the threshold, and the shares of relevant and of other
    items at each distance, (2, K + 1).
    """
    arrays = run.arrays
    classes = len(run.report.data.class_names)
    row = arrays["shown_queries"][[query - 1]]
    queries = unpack(arrays["query_codes"][row], 16)
    database = unpack(arrays["database_codes"], 16)
    query_targets = np.unpackbits(arrays["query_targets"], axis=1, count=classes)[row]
    database_targets = np.unpackbits(arrays["database_targets"], axis=1, count=classes)
    scores = retrieval_scores(queries, database, query_targets, database_targets)
    relevant = scores.relevant[0]
    total = scores.total[0]
    irrelevant = total - relevant
    texts = [
        f"{scores.precision_within(radius):.3f}",
        f"{scores.recall_within(radius):.3f}",
        f"{total[: radius + 1].sum()}",
        f"{relevant[: radius + 1].sum()}",
    ]
    return texts, np.stack([relevant / relevant.sum(), irrelevant / irrelevant.sum()])


def read_drawing(page):
    """Reads the texts of the page, and the heights of the bars in parts of the highest."""
    page.wait_for_timeout(50)
    texts = [page.inner_text(f".result .{name}") for name in ("precision", "recall", "items", "good")]
    heights = []
    for kind in ("relevant", "irrelevant"):
        path = page.get_attribute(f".histogram path.{kind}", "d")
        floor = float(path.split()[1].split("V")[0])
        heights.append([floor - float(y) for y in re.findall(r"V([\d.]+)H", path)])
    return texts, np.array(heights) / np.max(heights)


def check_position(page, run):
    """Checks that what is drawn is what the metrics say of where the sliders stand."""
    query = int(page.input_value("input.query"))
    radius = int(page.input_value("input.radius"))
    texts, bars = read_drawing(page)
    expected_texts, shares = expected_position(run, query, radius)
    assert texts == expected_texts
    assert np.allclose(bars, np.sqrt(shares / shares.max()), atol=2e-3)  # on a square-root axis
    return query, radius, texts, bars


def move_sliders(page, run):
    """Moves both sliders by mouse and by key; each move changes what is drawn to what the metrics say."""
    start_query, start_radius, start_texts, start_bars = check_position(page, run)
    drag(page.locator("input.radius"), 0.6)
    _, dragged_radius, dragged_texts, dragged_bars = check_position(page, run)
    assert dragged_radius > start_radius and dragged_texts != start_texts
    assert np.array_equal(dragged_bars, start_bars)
    page.keyboard.press("ArrowLeft")
    _, pressed_radius, pressed_texts, _ = check_position(page, run)
    assert pressed_radius == dragged_radius - 1 and pressed_texts != dragged_texts
    drag(page.locator("input.query"), 0.5)
    dragged_query, _, _, dragged_bars = check_position(page, run)
    assert dragged_query > start_query and not np.allclose(dragged_bars, start_bars)
    page.keyboard.press("ArrowRight")
    pressed_query, _, _, pressed_bars = check_position(page, run)
    assert pressed_query == dragged_query + 1 and not np.allclose(pressed_bars, dragged_bars)
    assert page.locator(".images .right, .images .wrong").count() == 10


def drag(slider, share):
    """Takes the knob with the mouse and lets it go at a share of the slider's length."""
    slider.scroll_into_view_if_needed()
    page = slider.page
    box = slider.bounding_box()
    low, high, value = [float(slider.evaluate(f"slider => slider.{name}")) for name in ("min", "max", "value")]
    knob = 16  # pixels
    left = box["x"] + knob / 2
    length = box["width"] - knob
    middle = box["y"] + box["height"] / 2
    page.mouse.move(left + length * (value - low) / (high - low), middle)
    page.mouse.down()
    page.mouse.move(left + length * share, middle, steps=4)
    page.mouse.up()


def test_as_a_page_without_a_kernel_and_a_network(page, run):
    move_sliders(page, run)
    assert {address.split(":")[0] for address in page.asked} <= {"file", "data", "blob"}


def test_a_class_has_its_own_queries_and_its_mean(page, run):
    view = View.of(run)
    shown = len(view.members[4])
    page.get_by_label("class of the queries").select_option(label=f"<dog> ({shown} to look at)")
    assert page.get_attribute("input.query", "max") == str(shown)
    assert f"1 of {shown}, <dog>" in page.inner_text("label:has(input.query)")
    page.press("input.query", "Home")
    row = view.row(4, query=0)
    radius = view.start[1]
    scores = f"precision {view.precision[row, radius]:.3f}, recall {view.recall[row, radius]:.3f}"
    assert page.inner_text(".result").startswith(f"{scores}\nmean of 15 queries")
    assert page.locator(".images li").count() == 0


def test_a_screen_reader_is_told_what_it_is_and_what_changed(page, run):
    assert page.get_by_role("combobox", name="class of the queries").count() == 1
    page.get_by_role("slider", name="threshold").press("ArrowRight")
    assert page.get_attribute("input.radius", "aria-valuetext") == f"{View.of(run).start[1] + 1} of 16 bits"
    assert page.get_by_role("status").get_attribute("aria-live") == "polite"
    for name in ("histogram of Hamming distances", "precision and recall"):
        assert page.get_by_role("img", name=name).count() == 1
    spoken = page.locator(".images li").nth(1).text_content()
    assert re.match(r"[✓✗](right|wrong): (ant|bee|cat|<dog>)\d+ bits", spoken)
    assert page.locator("[data-lm-suppress-shortcuts=true]").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_page_s_colours(page, scheme):
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fontSize") == "12px"
    colours = page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.querySelector('section')))"
    )
    ink, paper = [np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]) for colour in colours]
    contrast = ink - paper if scheme == "dark" else paper - ink
    assert contrast > 150


def test_the_page_has_a_title_a_way_back_and_the_other_runs(page):
    assert page.inner_text("h1") == "The Hamming explorer" and page.get_attribute("header a", "href") == "index.html"
    page.locator("#runs").select_option(index=1)
    assert "48 bits" in page.inner_text("h2") and page.get_attribute("input.radius", "max") == "48"


def test_a_name_that_looks_like_html_does_not_blank_the_page(run, tmp_path, browser):
    names = {"class_names": ["<!--<script>", "</script>", "$page", "{"]}
    odd = Run(run.folder, run.report.model_copy(update={"data": run.report.data.model_copy(update=names)}))
    page = browser.new_page()
    page.goto(export_html(View.of(odd), tmp_path / "odd.html").as_uri())
    assert page.locator("section select option").count() == 5 and page.locator(".images li").count() == 11
    assert page.locator("section select option").nth(1).text_content().startswith("<!--<script> (")
    page.close()


@pytest.mark.server
def test_in_voila(servers, browser, run):
    wait_for(servers["voila"])
    page = browser.new_page()
    open_with_kernel(page, servers["voila"], ".hamming-explorer .images li >> nth=0")
    move_sliders(page, run)
    menu = page.locator(".widget-dropdown select").first  # another run, which the kernel has to fetch
    menu.select_option(index=1)
    page.wait_for_function("document.querySelector('.hamming-explorer h2')?.textContent.includes('48 bits')")
    assert page.get_attribute("input.radius", "max") == "48"
    page.close()


@pytest.mark.server
def test_in_jupyterlab(servers, browser, run):
    wait_for(servers["lab"])
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    open_with_kernel(page, servers["lab"], "text=Python 3 (ipykernel) | Idle")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_selector(".hamming-explorer .images li", timeout=120_000)
    move_sliders(page, run)  # arrow keys too, which the notebook would take for its own
    page.close()

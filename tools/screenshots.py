"""Takes pictures of pages with a headless Chromium.

    python tools/screenshots.py          # docs/explorer.png, the first picture of notebook 04
    python tools/screenshots.py FOLDER   # the explorer wide, dark and at a phone's width, before and after a move
    python tools/screenshots.py docs/gallery/00_relative_position.html FOLDER   # a page at two widths, to look at
    python tools/screenshots.py http://127.0.0.1:8866/ PICTURE   # docs/search.png: PICTURE dropped on `make search`

The explorer shows the published run with 64 bits.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from pictures import save_small
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from relahash_nb.config import RunConfig
from relahash_nb.explorer import View, export_html
from relahash_nb.results import load_run

ROOT = Path(__file__).parent.parent
LOOKS = {
    "wide": {"viewport": {"width": 980, "height": 600}},
    "dark": {"viewport": {"width": 980, "height": 600}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1100}},
}
WIDTHS = (1400, 420)  # of a page, in pixels
SCREEN = 1800  # pixels of a page's height in one picture
MOVE_TO_QUERY = """query => {
    const slider = document.querySelector("input.query");
    slider.value = query;
    slider.dispatchEvent(new Event("input"));
}"""


def main(target: str = "", second: str = "") -> None:
    """Takes the pictures of the search page if the target is an address, of a page, or of the explorer."""
    with sync_playwright() as driver:
        browser = start_browser(driver)
        if target.startswith("http"):
            shoot_search(browser, target, Path(second))
        elif target.endswith(".html"):
            shoot_page(browser, Path(target), Path(second))
        elif target:
            shoot_explorer(browser, Path(target))
        else:
            shoot_first_screen(browser)
        browser.close()


def start_browser(driver: Playwright) -> Browser:
    """Starts the Chromium or Chrome of this machine."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    return driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])


def shoot_page(browser: Browser, path: Path, folder: Path) -> None:
    """Takes pictures of all of a page, screen by screen, at each width."""
    for width in WIDTHS:
        page = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
        page.goto(path.resolve().as_uri())
        height = page.evaluate("document.documentElement.scrollHeight")
        for number, top in enumerate(range(0, height, SCREEN)):
            clip = {"x": 0, "y": top, "width": width, "height": min(SCREEN, height - top)}
            picture = folder / f"{path.stem}-{width}-{number}.png"
            page.screenshot(path=picture, full_page=True, clip=clip)
            print(picture)
        page.close()


def shoot_explorer(browser: Browser, folder: Path) -> None:
    """Takes two pictures of the explorer in each look: before and after the threshold grows by ten bits."""
    for name, look in LOOKS.items():
        page = open_explorer(browser, look)
        save_explorer(page, folder / f"{name}-before.png")
        for _ in range(10):
            page.press("input.radius", "ArrowRight")
        save_explorer(page, folder / f"{name}-after.png")


def shoot_first_screen(browser: Browser) -> None:
    """Takes the picture of the explorer for the notebook's first screen."""
    save_explorer(open_explorer(browser, LOOKS["wide"]), ROOT / "docs" / "explorer.png")


def open_explorer(browser: Browser, look: dict) -> Page:
    """Opens the explorer of the published run at a query some of whose nearest images are relevant, and some not."""
    view = View.of(load_run(ROOT / "docs" / "results" / "runs" / RunConfig().run_id))
    right = view.nearest_relevant.sum(axis=1)
    query = int(np.abs(right - 6).argmin()) + 1
    page = browser.new_page(**look, offline=True, device_scale_factor=1)
    with tempfile.TemporaryDirectory() as temporary:
        page.goto(export_html(view, Path(temporary, "explorer.html")).as_uri())
    page.evaluate(MOVE_TO_QUERY, query)
    return page


def save_explorer(page: Page, path: Path) -> None:
    """Saves a picture of the explorer alone."""
    save_small(page.locator(".hamming-explorer").screenshot(), path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def shoot_search(browser: Browser, address: str, picture: Path) -> None:
    """Takes two pictures of the search page with a picture dropped on it: what was found, and all of it in `build/`."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(address, timeout=60_000)
    drop = page.locator(".relahash-drop").first
    drop.wait_for(timeout=60_000)
    page.locator("canvas, img").last.wait_for(timeout=60_000)
    drop.locator("input").set_input_files(picture)
    page.get_by_text(picture.name).last.wait_for(timeout=60_000)
    page.wait_for_timeout(3_000)
    (ROOT / "build").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "build" / "search.png", full_page=True)
    page.set_viewport_size({"width": 1100, "height": 440})
    drop.evaluate("element => element.scrollIntoView({block: 'start'})")
    save_small(page.screenshot(), ROOT / "docs" / "search.png", colours=64)


if __name__ == "__main__":
    main(*sys.argv[1:])

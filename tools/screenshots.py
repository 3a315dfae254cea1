"""Takes pictures of the explorer and of the search page with a headless Chromium.

    python tools/screenshots.py FOLDER   # wide, dark and at a phone's width, before and after a move, to look at
    python tools/screenshots.py http://127.0.0.1:8866/ PICTURE   # docs/search.png: PICTURE dropped on `make search`

The explorer shows the 64-bit run of `make study`.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from relahash_nb.config import RunConfig
from relahash_nb.explorer import View, export_html
from relahash_nb.results import find_run

ROOT = Path(__file__).parent.parent
LOOKS = {
    "wide": {"viewport": {"width": 980, "height": 600}},
    "dark": {"viewport": {"width": 980, "height": 600}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1100}},
}
MOVE_TO_QUERY = """query => {
    const slider = document.querySelector("input.query");
    slider.value = query;
    slider.dispatchEvent(new Event("input"));
}"""


def main(target: str, picture: str = "") -> None:
    """Takes the pictures of the search page if the target is an address, else those of the explorer."""
    with sync_playwright() as driver:
        browser = start_browser(driver)
        if target.startswith("http"):
            shoot_search(browser, target, Path(picture))
        else:
            shoot_explorer(browser, Path(target))
        browser.close()


def start_browser(driver: Playwright) -> Browser:
    """Starts the Chromium or Chrome of this machine."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    return driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])


def shoot_explorer(browser: Browser, folder: Path) -> None:
    """Takes two pictures of the explorer in each look: before and after the threshold grows by ten bits."""
    view = View.of(find_run(RunConfig(results_dir=str(ROOT / "results"))))
    right = view.nearest_relevant.sum(axis=1)
    query = int(np.abs(right - 6).argmin()) + 1  # some of its nearest images are relevant, some are not
    with tempfile.TemporaryDirectory() as temporary:
        path = export_html(view, Path(temporary, "explorer.html"))
        for name, look in LOOKS.items():
            page = browser.new_page(**look, offline=True, device_scale_factor=1)
            page.goto(path.as_uri())
            page.evaluate(MOVE_TO_QUERY, query)
            save_explorer(page, folder / f"{name}-before.png")
            for _ in range(10):
                page.press("input.radius", "ArrowRight")
            save_explorer(page, folder / f"{name}-after.png")


def save_explorer(page: Page, path: Path) -> None:
    """Saves a picture of the explorer alone."""
    save_small(page.locator(".hamming-explorer").screenshot(), path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def shoot_search(browser: Browser, address: str, picture: Path) -> None:
    """Takes two pictures of the search page with a picture dropped on it: its middle, and all of it in `build/`."""
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
    drop.evaluate("element => element.scrollIntoView({block: 'center'})")
    save_small(page.screenshot(), ROOT / "docs" / "search.png")


def save_small(png: bytes, path: Path) -> None:
    """Saves a picture in 128 colours: a third of the bytes."""
    image = Image.open(io.BytesIO(png))
    image.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

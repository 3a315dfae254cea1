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
from playwright.sync_api import Browser, Page, sync_playwright

from relahash_nb.config import RunConfig
from relahash_nb.explorer import View, export_html
from relahash_nb.results import find_run

ROOT = Path(__file__).parent.parent
LOOKS = {
    "wide": dict(viewport={"width": 980, "height": 600}),
    "dark": dict(viewport={"width": 980, "height": 600}, color_scheme="dark"),
    "phone": dict(viewport={"width": 390, "height": 1100}),
}


def main() -> None:
    """Writes the pictures."""
    if sys.argv[1:] and sys.argv[1].startswith("http"):
        return shoot_search(*sys.argv[1:])
    view = View.of(find_run(RunConfig(results_dir=str(ROOT / "results"))))
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        page = export_html(view, Path(folder, "explorer.html"))
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for look in LOOKS:
            opened = open_page(browser, page, look, view)
            shoot(opened, Path(sys.argv[1], f"{look}-before.png"))
            for _ in range(10):
                opened.press("input.radius", "ArrowRight")
            shoot(opened, Path(sys.argv[1], f"{look}-after.png"))
        browser.close()


def open_page(browser: Browser, path: Path, look: str, view: View) -> Page:
    """The explorer at a query of which some of the nearest images are right and some are not."""
    page = browser.new_page(**LOOKS[look], offline=True, device_scale_factor=1)
    page.goto(path.as_uri())
    rights = view.nearest_relevant.sum(axis=1)
    page.evaluate(
        """query => {
            const slider = document.querySelector("input.query");
            slider.value = query;
            slider.dispatchEvent(new Event("input"));
        }""",
        int(np.abs(rights - 6).argmin()) + 1,
    )
    return page


def shoot_search(address: str, picture: str) -> None:
    """The search page with a picture dropped on it, from its search to the map, and whole in `build/`."""
    with sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(address, timeout=60_000)
        place = page.locator(".relahash-drop").first
        place.wait_for(timeout=60_000)
        page.locator("canvas, img").last.wait_for(timeout=60_000)
        place.locator("input").set_input_files(picture)
        page.get_by_text(Path(picture).name).last.wait_for(timeout=60_000)
        page.wait_for_timeout(3_000)
        (ROOT / "build").mkdir(exist_ok=True)
        page.screenshot(path=ROOT / "build" / "search.png", full_page=True)
        place.evaluate("element => element.scrollIntoView({block: 'center'})")
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").quantize(128).save(ROOT / "docs" / "search.png", optimize=True)
        browser.close()


def shoot(page: Page, path: Path) -> None:
    """The explorer alone, in 128 colours: a third of the bytes."""
    picture = Image.open(io.BytesIO(page.locator(".hamming-explorer").screenshot()))
    picture.convert("RGB").quantize(128).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

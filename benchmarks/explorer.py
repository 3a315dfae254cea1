"""How soon does the explorer follow the hand?

    python benchmarks/explorer.py [results]

Each slider of the exported page is moved 50 times in a headless Chromium, at odd moments between two frames. "drawing"
is from the input event until everything is in the page and laid out; "on screen" until the next frame is painted, and
contains the wait for it: half a frame, 8 ms, on the mean.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from relahash_nb.explorer import View, export_html
from relahash_nb.results import finished_runs

MOVES = 50
MOVE = """async ([name, moves]) => {
  const slider = document.querySelector(`input.${name}`), times = [];
  for (let move = 0; move < moves; move++) {
    await new Promise((go) => setTimeout(go, 30 + 40 * Math.random()));
    const start = performance.now();
    slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
    slider.dispatchEvent(new Event("input"));
    document.body.offsetHeight;  // has the page laid out
    const drawn = performance.now();
    await new Promise((go) => requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = go;  // comes after the frame was painted
      port2.postMessage(0);
    }));
    times.push([drawn - start, performance.now() - start]);
  }
  return times;
}"""


def main() -> None:
    runs = finished_runs(sys.argv[1] if len(sys.argv) > 1 else "results")
    views = [View.of(run) for run in runs.values()]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        print(f"Chromium {browser.version}, {platform.machine()}, {os.cpu_count()} cores{load}; medians of {MOVES}")
        print("| run | slider | drawing ms | on screen ms | slowest ms |\n| --- | --- | --- | --- | --- |")
        for view in views:
            page = browser.new_page()
            page.goto(export_html(view, Path(folder, "explorer.html")).as_uri())
            for slider in ("query", "radius"):
                print(row(page, view.name, slider))
            page.close()
        browser.close()


def row(page: Page, name: str, slider: str) -> str:
    drawing, shown = zip(*page.evaluate(MOVE, [slider, MOVES]), strict=True)
    medians = f"{statistics.median(drawing):.1f} | {statistics.median(shown):.1f}"
    return f"| {name} | {slider} | {medians} | {max(shown):.1f} |"


if __name__ == "__main__":
    main()

"""Take a picture of a page, in Debian's Chromium.

python docs/screenshot.py PAGE.html OUT.png
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZE = {"width": 1240, "height": 1000}  # pixels
DRAWN_MS = 1500  # until all of the page is drawn


def main(page: Path, out: Path) -> None:
    """Open the page, wait until it is drawn, and write the PNG."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.wait_for_timeout(DRAWN_MS)
        tab.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

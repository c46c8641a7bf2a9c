"""The pictures of reports that the README and the docs show, taken with the Chromium on the path.

    mnemic compare mqar:pairs=8,length=64,vocab=256 attention sliding-window mamba2 gated-deltanet --output runs/picture
    python docs/pictures/take.py runs/picture/report.html

writes report.png (light) and report-dark.png beside this file, and

    mnemic reproduce memento --seed 1 --output runs/memento
    python docs/pictures/take.py runs/memento/report.html --name memento --figure "Keys held while writing 16 rounds"

memento.png and memento-dark.png, of one figure.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1200, 1500


def take(report: Path, folder: Path, name: str, figure: str | None) -> list[Path]:
    """Light and dark; of the top of the page, or of the figure with that title."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium on the path: install Debian's package 'chromium'")
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme, suffix in (("light", ""), ("dark", "-dark")):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, device_scale_factor=2
            )
            page.goto(report.resolve().as_uri())
            picture = folder / f"{name}{suffix}.png"
            if figure is None:
                page.screenshot(path=picture)
            else:
                page.locator(".charts > *", has_text=figure).first.screenshot(path=picture)
            taken.append(picture)
        browser.close()
    return taken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of a report.")
    parser.add_argument("report", type=Path)
    parser.add_argument("--name", default="report", help="of the pictures")
    parser.add_argument("--figure", help="title of one figure, instead of the top of the page")
    given = parser.parse_args()
    for picture in take(given.report, Path(__file__).parent, given.name, given.figure):
        print(picture)

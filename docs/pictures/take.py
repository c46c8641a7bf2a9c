"""The picture of a report that the README shows.

    mnemic compare mqar:pairs=8,length=64,vocab=256 attention sliding-window mamba2 gated-deltanet --output runs/picture
    python docs/pictures/take.py runs/picture/report.html

writes docs/pictures/report.png (light) and report-dark.png beside this file, with the Chromium on the path.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1200, 1500


def take(report: Path, folder: Path) -> list[Path]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium on the path: install Debian's package 'chromium'")
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, device_scale_factor=2
            )
            page.goto(report.resolve().as_uri())
            page.screenshot(path=folder / name)
            taken.append(folder / name)
        browser.close()
    return taken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of a report.")
    parser.add_argument("report", type=Path)
    for picture in take(parser.parse_args().report, Path(__file__).parent):
        print(picture)

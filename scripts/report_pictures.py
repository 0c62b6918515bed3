"""Pictures of the first sections of evaluation pages, small enough for the repository.

No listener's history and no table of titles is on them, so that they may be shown where the data may not.

    towers evaluate experiment=catalogue
    python scripts/report_pictures.py catalogue=runs/catalogue/<signature>/evaluation-test/report.html
    python scripts/report_pictures.py nights=backtest/nights.html --sections quality --target docs/pictures
"""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.measuring import add_smallest, command_line

CHROMIUM = "/usr/bin/chromium"
TARGET = Path(__file__).parent.parent / "docs" / "evaluation"
SECTIONS = ("headline", "slices")
COLOURS = 96
"""Enough for flat charts and text; a picture takes a third of what it took."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("pages", nargs="+", metavar="NAME=FILE", help="of the picture, and the page")
    parser.add_argument("--sections", nargs="+", default=SECTIONS, help="ids of the parts of the page")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the pictures")
    add_smallest(parser)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for name, _, path in (text.partition("=") for text in arguments.pages):
            page = browser.new_page(viewport={"width": 1120, "height": 900}, color_scheme="light")
            page.goto(Path(path).resolve().as_uri())
            for section in arguments.sections:
                shoot(page, section, arguments.target / f"{name}-{section}.png")
            page.close()
        browser.close()


def shoot(page: Page, section: str, path: Path) -> None:
    picture = Image.open(io.BytesIO(page.locator(f"#{section}").screenshot()))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

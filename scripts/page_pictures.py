"""Pictures of the page of `towers serve` for the handbook, from a server that runs.

towers serve export=exports/current audio_root=../shared/data/catalogue port=8000
python scripts/page_pictures.py http://127.0.0.1:8000/ content=m2b203ee9e3 listener=u00003
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measuring import add_smallest, command_line

CHROMIUM = "/usr/bin/chromium"
TARGET = Path(__file__).parent.parent / "docs" / "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of a page: its route and its window.

    Args:
        route: route within the page; `{content}` and `{listener}` are filled in.
        width: width of the window, in pixels.
        height: height of the window, in pixels.
        scheme: light or dark.
        plays: whether the first neighbour is being played.
    """

    route: str
    width: int = 1280
    height: int = 860
    scheme: str = "light"
    plays: bool = False


PICTURES = {
    "page-content": Picture(route="#/content/{content}", plays=True),
    "page-listener": Picture(route="#/listener/{listener}"),
    "page-map": Picture(route="#/map", scheme="dark"),
    "page-phone": Picture(route="#/content/{content}", width=390, height=844),
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("address", help="of the server")
    parser.add_argument("shown", nargs="+", metavar="content=ID|listener=ID", help="what is shown; both are needed")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the pictures")
    parser.add_argument("--plays-s", type=float, default=3.0, help="seconds until the bar shows that it moves")
    add_smallest(parser, plays_s=0.1)
    arguments = parser.parse_args()
    ids = dict(text.split("=", 1) for text in arguments.shown)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for name, picture in PICTURES.items():
            page = open_page(browser, arguments, picture, ids)
            save(page, arguments.target / f"{name}.png")
            page.close()
        browser.close()


def open_page(browser: Browser, arguments: argparse.Namespace, picture: Picture, ids: dict[str, str]) -> Page:
    """The page once everything on it is drawn."""
    size = {"width": picture.width, "height": picture.height}
    page = browser.new_page(viewport=size, color_scheme=picture.scheme)
    page.goto(arguments.address + picture.route.format(**ids))
    page.wait_for_selector("main[aria-busy=false]")
    page.wait_for_load_state("networkidle")
    if picture.plays:
        page.locator(".rows button.play").first.click()
        page.wait_for_selector(".rows button.play[aria-pressed=true]")
        page.wait_for_timeout(1_000 * arguments.plays_s)
    page.mouse.move(0, 0)
    return page


def save(page: Page, path: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot()))
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours by median cut: what other methods save more, pale grounds lose in hue.
    picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

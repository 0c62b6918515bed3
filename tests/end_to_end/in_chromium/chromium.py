"""Debian's Chromium, by its path; tests that need it are skipped with a reason if it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip

# `.ci/run` installs it, so that nothing skips there; elsewhere a laptop may well be without Debian's Chromium.
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there (apt-get install chromium)")


@contextmanager
def opened_browser() -> Iterator:
    """A browser without a window."""
    # Not at the top: where there is no Chromium, Playwright need not be there either.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS))
        yield browser
        browser.close()

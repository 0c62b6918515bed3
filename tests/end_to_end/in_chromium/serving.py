"""`towers serve` and its page, as the tests open them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command_line import environment


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """Runs `towers serve` as a user starts it, and yields the address that it prints."""
    command = [sys.executable, "-m", "towers", "serve", "port=0", "watch_s=0.2", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, line
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


def ready(page) -> None:
    page.wait_for_selector("main[aria-busy=false]")


def title_of(row: dict) -> str:
    return row["title"] or row["content_id"]


def path_of(row: dict) -> str:
    return f"#/content/{row['content_id']}"

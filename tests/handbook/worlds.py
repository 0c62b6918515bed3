"""The worlds in which pages begin: each fills an empty folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def _demo(folder: Path, request: pytest.FixtureRequest) -> None:
    """Copies what `towers demo` leaves: raw data, `stores/demo`, a run, evaluations, `exports/current`, a home
    policy.
    """
    demo, _ = request.getfixturevalue("demo")
    shutil.copytree(demo, folder, symlinks=True, dirs_exist_ok=True)


def _empty(folder: Path, request: pytest.FixtureRequest) -> None:
    """Leaves the folder empty."""


def _data(folder: Path, request: pytest.FixtureRequest) -> None:
    """Writes `data/`: a folder of Parquet as a warehouse writes it, some days of 150 listeners and 100 contents."""
    from tests.end_to_end.warehouse import write_warehouse

    write_warehouse(folder / "data", num_listeners=150, num_contents=100, num_sounds=8)


WORLDS: dict[str, Callable[[Path, pytest.FixtureRequest], None]] = {
    "demo": _demo,
    "an empty folder": _empty,
    "a folder with data/": _data,
}

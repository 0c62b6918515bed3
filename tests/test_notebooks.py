"""The notebooks of examples/ run from beginning to end in the demo's world, and carry the outputs of such a run."""

import re
from pathlib import Path
from shutil import copytree

import nbformat
import pytest

from scripts.notebooks import EXAMPLES, executed, tidied
from tests.command_line import SMALL_WORLD

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
FIRST_HOUR = EXAMPLES / "first_hour.ipynb"
MADE = ("experiment=demo", *(each for each in SMALL_WORLD if not each.startswith(("world.", "promote="))))
"""What the demo of the tests was made with: each command finds that there is nothing to do."""


@pytest.fixture
def folder(demo, tmp_path):
    """A folder in which the demo ran, for a notebook to write into."""
    return Path(copytree(demo[0], tmp_path / "demo", symlinks=True))


def outputs(notebook) -> str:
    """All that the cells printed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")


@pytest.mark.unhooked
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, folder):
    notebook = executed(path, folder, f"settings = {[*MADE]!r}" if path == FIRST_HOUR else None)
    assert "Warning" not in outputs(notebook)
    if path == FIRST_HOUR:
        assert outputs(notebook).count("nothing to") == 3  # prepare, train, export


@pytest.mark.slow
@pytest.mark.unhooked
def test_the_first_hour_trains(folder):
    smaller = [each for each in MADE if each != "experiment=demo"]
    places = [f"paths.{each}=first_hour/{each}" for each in ("stores", "runs", "exports", "evaluations")]
    notebook = executed(FIRST_HOUR, folder, f"settings = {['experiment=demo', *places, *smaller]!r}")
    assert "trained first_hour/runs/demo/" in outputs(notebook)
    assert "exported first_hour/exports/" in outputs(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_carries_the_outputs_of_a_run(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert nbformat.writes(tidied(notebook.copy())) == nbformat.writes(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed_by_hand(path):
    """Text cells hold no decimal number and no percentage but 95 %, the intervals' confidence."""
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    found = re.findall(r"\d*\.\d+|\d+ ?%", "\n".join(texts))
    assert [number for number in found if number != "95 %"] == []

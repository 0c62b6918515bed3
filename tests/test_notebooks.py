"""The notebooks of examples/ run from beginning to end in the demo's world, and carry the outputs of such a run."""

import re
from contextlib import chdir
from pathlib import Path
from shutil import copytree
from unittest.mock import patch

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest

from scripts.notebooks import EXAMPLES, executed, tidied, with_parameters
from tests.command_line import SMALL_WORLD
from tests.handbook.test_links import dead

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
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != FIRST_HOUR], ids=lambda path: path.stem)
def test_a_notebook_runs(path, folder):
    assert "Warning" not in outputs(executed(path, folder))


@pytest.mark.unhooked
def test_the_first_hour_runs(folder, capsys):
    """Cell by cell in this process, which has imported torch; the slow test has a kernel of its own."""
    names: dict[str, object] = {}
    with chdir(folder), pd.option_context("display.max_colwidth", 50), patch.object(plt, "show", plt.close):
        for cell in with_parameters(nbformat.read(FIRST_HOUR, as_version=4), f"settings = {[*MADE]!r}").cells:
            if cell.cell_type == "code":
                exec(cell.source.removeprefix("%%capture\n"), names)
    assert capsys.readouterr().out.count("nothing to") == 4  # prepare, train, evaluate, export


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_link_is_dead(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert dead("\n\n".join(texts), path) == []

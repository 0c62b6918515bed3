"""Runs the notebooks of examples/ and writes their outputs into them.

    python scripts/notebooks.py FOLDER             # a folder in which `towers demo` has run
    python scripts/notebooks.py FOLDER cold_start  # one of them

Each notebook runs in a copy of the folder, which stays as it is. Times and versions are left out of what is written, so
that two runs differ as little as their results do.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PARAMETERS = "parameters"
"""Tag of the cell that a caller may replace."""
PROGRESS = re.compile(r"^\d\d:\d\d:\d\d, .*\n", re.MULTILINE)
"""Lines that tell how far a command is, each with the time of day."""
KERNEL = "python3"
LONGEST_S = 900
"""Seconds after which a cell is taken to hang."""


def main() -> None:
    """Runs the notebooks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder in which `towers demo` has run")
    parser.add_argument("names", nargs="*", help="notebooks, without .ipynb; none: all")
    arguments = parser.parse_args()
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if arguments.names and path.stem not in arguments.names:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "demo"
            shutil.copytree(arguments.folder, folder, symlinks=True)
            notebook = executed(path, folder)
        nbformat.write(tidied(notebook), path)
        print(path.relative_to(EXAMPLES.parent))


def executed(path: Path, folder: Path, parameters: str | None = None) -> NotebookNode:
    """Runs a notebook and returns it with its outputs.

    Args:
        path: of the notebook, which is only read.
        folder: working folder of the run.
        parameters: source of the cell that is tagged `parameters`; null: as it stands.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters is not None:
        notebook = with_parameters(notebook, parameters)
    with tempfile.TemporaryDirectory() as settings:
        # Through files of its own, and not through ports that the whole machine can reach.
        config = Config({"ConnectionFileMixin": {"transport": "ipc", "connection_file": f"{settings}/kernel.json"}})
        client = NotebookClient(
            notebook, config=config, kernel_name=KERNEL, timeout=LONGEST_S, record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )  # fmt: skip
        return client.execute(env=_environment(Path(settings)))


def with_parameters(notebook: NotebookNode, source: str) -> NotebookNode:
    """Replaces the source of the one cell that is tagged `parameters`."""
    (cell,) = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    cell.source = source
    return notebook


def tidied(notebook: NotebookNode) -> NotebookNode:
    """Takes out what differs between two runs, and joins what was printed piece by piece."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Returns outputs in which neighbouring pieces of one stream are one, without lines of progress."""
    joined: list[NotebookNode] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            output.text = PROGRESS.sub("", output.text)
    return [output for output in joined if output.output_type != "stream" or output.text]


def _environment(settings: Path) -> dict[str, str]:
    """The process's own; the kernel keeps no history, and finds `towers` and its command where this process does."""
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "IPYTHONDIR": str(settings), "PATH": commands, "COLUMNS": "120"}


if __name__ == "__main__":
    main()

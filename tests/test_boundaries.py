"""The rules about imports between rooms hold; and the check is itself checked, by breaking every rule in a copy."""

import ast
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAINING_COMMANDS = {"prepare", "train", "evaluate", "export", "retrain", "forget", "agent", "demo"}
"""Commands that may load torch; all others serve."""

BLOCKING = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio", "lightning_fabric", "pytorch_lightning", "duckdb"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def serving_rooms() -> list[str]:
    """Returns the rooms that serve, as the contract names them: it has the only list of these."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["name"] == "Serving never reaches torch"]
    return [name.removesuffix(".**") for name in contract["source_modules"]]


def modules_of(room: str) -> list[str]:
    """Returns the room itself and all modules below, found by walking."""
    path = ROOT / room.replace(".", "/")
    files = [path.with_suffix(".py"), *path.rglob("*.py")] if path.is_dir() else [path.with_suffix(".py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if file.exists()]
    return sorted(name.removesuffix(".__init__") for name in names)


def import_blocked(*modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKING, *modules], cwd=ROOT, capture_output=True, text=True)


def lint(folder: Path) -> str:
    program = "import sys; from importlinter.cli import lint_imports_command as lint; lint()"
    command = [sys.executable, "-c", program, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.mark.unhooked
def test_serving_imports_without_torch():
    modules = [name for room in serving_rooms() for name in modules_of(room)]
    assert {"towers.features.ragged", "towers.evaluation.harness"} <= set(modules)
    outcome = import_blocked(*modules)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.unhooked
@pytest.mark.parametrize("module", ["towers.training.module", "towers.data.engines.duckdb_engine", "towers.batch"])
def test_the_blocker_blocks(module):
    outcome = import_blocked(module)
    assert outcome.returncode != 0
    assert "is blocked" in outcome.stderr


def test_every_command_serves_or_trains():
    rooms = serving_rooms()
    serving = {room.removeprefix("towers.commands.") for room in rooms if room.startswith("towers.commands.")}
    commands = {
        file.stem
        for file in (ROOT / "towers" / "commands").glob("*.py")
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in ast.parse(file.read_text()).body)
    }
    assert commands - TRAINING_COMMANDS == serving


def test_packages_import_nothing():
    full = [str(path) for path in (ROOT / "towers").rglob("__init__.py") if path.read_text().strip()]
    assert not full


@pytest.mark.unhooked
def test_contracts_hold():
    report = lint(ROOT)
    assert "0 broken" in report, report


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, to be broken."""
    shutil.copytree(ROOT / "towers", tmp_path / "towers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


VIOLATIONS = [
    ("towers/features/ragged.py", "import torch", "Serving never reaches torch"),
    ("towers/features/ragged.py", "import towers.batch", "Serving never reaches torch"),  # which imports torch
    ("towers/evaluation/metrics.py", "import pytorch_lightning", "Serving never reaches torch"),
    ("towers/models/two_tower.py", "import omegaconf", "Hydra ends at config"),
    ("towers/models/two_tower.py", "import towers.data.store", "Data and models do not know each other"),
    ("towers/data/store.py", "import towers.training.module", "Rooms know only the rooms below"),
    ("towers/retrieval/violation.py", "import towers.data.store", "Rooms know only the rooms below"),
    ("towers/utils.py", "", "Rooms know only the rooms below"),  # a room that the list does not have
    ("towers/commands/prepare.py", "import towers.commands.train", "Commands do not know each other"),
    ("towers/commands/violation.py", "", "Commands do not know each other"),  # a command that the list does not have
]


def rounds() -> list[list[tuple[str, str, str]]]:
    """Groups the violations into as few rounds as possible, with at most one for each contract, so that none can hide
    behind another; a round takes seconds.
    """
    found: list[list[tuple[str, str, str]]] = []
    for violation in VIOLATIONS:
        free = (each for each in found if violation[2] not in {contract for _, _, contract in each})
        together = next(free, None)
        if together is None:
            found.append([violation])
        else:
            together.append(violation)
    return found


@pytest.mark.unhooked
@pytest.mark.parametrize("violations", rounds())
def test_the_contracts_find_violations(copy, violations):
    for file, line, _ in violations:
        with (copy / file).open("a") as source:
            source.write(f"\n{line}\n")
    report = lint(copy)
    broken = [line for line in report.splitlines() if line.endswith("BROKEN")]
    assert [line for line in broken if not line.startswith(tuple(contract for *_, contract in violations))] == []
    for file, _, contract in violations:
        assert [line for line in broken if line.startswith(contract)], (file, contract)


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("towers")
    order = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    assert list(order.static_order())  # raises CycleError, which names the circle

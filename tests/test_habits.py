"""Shared set-up, builds and checks: pinned versions, sessions of nox, workflows and forms."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = {
    canonicalize_name(each.name): each
    for each in map(
        Requirement,
        filter(None, (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())),
    )
}
PYTHONS = ("3.11", "3.12", "3.13")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def asked() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(each) for each in (*PROJECT["dependencies"], *(one for extra in extras for one in extra))]


@pytest.mark.parametrize("required", [each for each in asked() if each.name != PROJECT["name"]], ids=str)
def test_constraints_satisfy_what_the_package_asks_for(required):
    locked = LOCKED.get(canonicalize_name(required.name))
    assert locked is not None, "scripts/lock has not run since pyproject.toml changed"
    (pin,) = locked.specifier
    assert pin.operator == "=="
    assert required.specifier.contains(pin.version)
    assert locked.marker is None, "what pyproject.toml asks for is for every platform"


def test_constraints_leave_to_torch_what_it_pins_itself():
    assert not [name for name in LOCKED if name.startswith(("nvidia-", "cuda-"))]


def test_every_python_that_is_promised_is_tried():
    promised = {each.rsplit(" ")[-1] for each in PROJECT["classifiers"] if ":: 3." in each}
    assert promised == set(PYTHONS)
    assert f"PYTHONS = {PYTHONS!r}".replace("'", '"') in (ROOT / "noxfile.py").read_text()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert tuple(workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]) == PYTHONS
    assert all(Marker(f"python_version >= '{each}'") for each in PYTHONS)


def checked(schema: str, paths: list[Path]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_workflows_are_what_the_host_runs():
    assert {path.stem for path in WORKFLOWS} >= {"ci", "newest"}
    checked("vendor.github-workflows", WORKFLOWS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_pin_actions_and_run_what_is_there(path):
    text = path.read_text()
    assert re.findall(r"uses: (\S+)", text) == re.findall(r"uses: (\S+@v\d+(?:\.\d+)*)$", text, re.MULTILINE)
    for script in re.findall(r"run: (\S*/\S+)", text):
        assert (ROOT / script).exists()


def test_forms_ask_each_thing_once():
    assert {path.stem for path in FORMS} == {"bug", "feature", "question", "config"}
    for form in (yaml.safe_load(path.read_text()) for path in FORMS if path.stem != "config"):
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert {"name", "description", "body"} <= set(form)
        assert len({field["id"] for field in fields}) == len(fields) > 0
        assert all(field["attributes"]["label"] for field in fields)

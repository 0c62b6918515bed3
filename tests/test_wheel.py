"""The wheel holds all files that the package needs outside of a clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.unhooked
def test_commands_find_their_configuration_in_a_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert (installed / "towers" / "data" / "sql" / "events.sql").exists()
    assert (installed / "towers" / "evaluation" / "report" / "page.html.jinja").exists()
    assert (installed / "towers" / "service" / "page" / "index.html").exists()
    # Isolated from the clone: only what was unpacked is on the path, before everything that is installed.
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from towers.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "experiment=demo", "--cfg", "job"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "towers.models.user_tower.UserTower" in done.stdout

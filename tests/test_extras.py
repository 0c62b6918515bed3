"""The version of the code comes from git in a checkout, as it is built into a wheel, or from pip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from towers.extras import DISTRIBUTION, _described

ROOT = Path(__file__).resolve().parents[1]
GIT = (
    "git",
    "-c",
    "user.name=A",
    "-c",
    "user.email=a@example.com",
    "-c",
    "tag.gpgsign=false",
    "-c",
    "commit.gpgsign=false",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit, and no tag."""
    folder = tmp_path / "checkout"
    (folder / "towers").mkdir(parents=True)
    (folder / "towers" / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_text((ROOT / name).read_text())
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run((*GIT, *arguments), cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=One more")


def built(folder: Path, **variables: str) -> str:
    """The version that a wheel of the folder would have."""
    command = [sys.executable, "-m", "hatchling", "version"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class TestTheVersionOfACheckout:
    def test_counts_commits_without_a_tag(self, checkout):
        commit(checkout)
        version = _described(checkout) or ""
        assert version.startswith("0.1.dev2+g")
        assert built(checkout) == version

    def test_is_that_of_the_tag(self, checkout):
        git(checkout, "tag", "v0.9.0")
        git(checkout, "tag", "v0.9.1rc1")
        git(checkout, "tag", "nightly-5")
        assert _described(checkout) == "0.9.0"

    def test_names_the_commit_after_the_newest_release(self, checkout):
        git(checkout, "tag", "v0.9.0")
        commit(checkout)
        git(checkout, "tag", "v0.9.1rc1")
        version = _described(checkout) or ""
        assert version.startswith("0.9.1.dev1+g")
        assert built(checkout) == version

    def test_says_that_files_differ_from_the_commit(self, checkout):
        git(checkout, "tag", "v0.9.0")
        (checkout / "README.md").write_text("more")
        version = _described(checkout) or ""
        assert version.startswith("0.9.1.dev0+g")
        assert version.endswith(".dirty")

    def test_is_not_that_of_a_project_around_it(self, checkout):
        (checkout / "pyproject.toml").write_text('[project]\nname = "another"\n')
        assert _described(checkout) is None

    def test_is_unknown_without_git(self, checkout, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert _described(checkout) is None


def test_a_folder_without_git_builds_with_the_version_it_is_told(tmp_path):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    variable = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{DISTRIBUTION.upper().replace('-', '_')}"
    assert built(tmp_path) == "0.0"
    assert built(tmp_path, **{variable: "0.9.0"}) == "0.9.0"

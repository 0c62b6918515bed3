"""The name under which pip knows the project, the version of its code, and how an optional part is installed."""

import functools
import re
from importlib import metadata
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "towers-rec"
"""Name of the distribution; `towers` on PyPI is another project. What Python imports is `towers`."""
UNKNOWN: Final = "0.0"
"""Version where neither git nor pip knows one."""

_DESCRIBED = re.compile(r"(?:v(?P<tag>\d+(?:\.\d+)*)-(?P<distance>\d+)-g)?(?P<commit>[0-9a-f]+)(?P<dirty>-dirty)?")
"""Output of `git describe --long --always --dirty`, with or without a tag before the commit."""


def how_to_install(extra: str) -> str:
    """Returns the command that installs an optional part.

    Args:
        extra: name of the part in `pyproject.toml`, such as `train`.
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


@functools.cache
def code_version() -> str:
    """Returns the version of the running code, such as 0.9.0, or 0.9.1.dev12+g1a2b3c4d for the twelfth commit after it.

    In a git checkout the version comes from git, once per process, as pip keeps that of an editable install from the
    day of its installation; `.dirty` at the end means that files differ from the commit. Elsewhere it comes from pip.
    """
    described = _described(Path(__file__).resolve().parents[1])
    if described is not None:
        return described
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return UNKNOWN


def _described(root: Path) -> str | None:
    """Returns the version of this project's checkout in `root` by git; null where there is no checkout, or no git."""
    project = root / "pyproject.toml"
    if not (root / ".git").exists() or not project.exists() or f'name = "{DISTRIBUTION}"' not in project.read_text():
        return None
    releases = "--match=v[0-9]*", "--exclude=v*[!0-9.]*"  # as pyproject.toml has them
    described = _git(root, "describe", "--tags", "--long", "--always", "--dirty", "--abbrev=9", *releases)
    found = _DESCRIBED.fullmatch(described or "")
    if found is None:
        return None
    distance = found["distance"] or _git(root, "rev-list", "--count", "HEAD")
    return _version(found["tag"], int(distance or 0), found["commit"], is_dirty=found["dirty"] is not None)


def _version(tag: str | None, distance: int, commit: str, is_dirty: bool) -> str:
    """Formats a version as hatch-vcs does for a wheel, except that a changed tree is marked by a word, not by the day.

    >>> _version("0.9.0", 0, "1a2b3c4d", is_dirty=False), _version("0.9.0", 12, "1a2b3c4d", is_dirty=True)
    ('0.9.0', '0.9.1.dev12+g1a2b3c4d.dirty')
    >>> _version(None, 1500, "1a2b3c4d", is_dirty=False)
    '0.1.dev1500+g1a2b3c4d'
    """
    if tag is not None and distance == 0 and not is_dirty:
        return tag
    following = "0.1"
    if tag is not None:
        *first, last = tag.split(".")
        following = ".".join([*first, str(int(last) + 1)])
    return f"{following}.dev{distance}+g{commit}{'.dirty' if is_dirty else ''}"


def _git(root: Path, *arguments: str) -> str | None:
    """Returns the output of git; null where it is missing, fails or takes too long."""
    import subprocess  # here, as most commands and every server start without it

    try:
        done = subprocess.run(("git", *arguments), cwd=root, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

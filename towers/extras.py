"""The name under which pip knows the project, and the command that installs an optional part of it."""

from typing import Final

DISTRIBUTION: Final = "towers-rec"
"""Name of the distribution; `towers` on PyPI is another project. What Python imports is `towers`."""


def how_to_install(extra: str) -> str:
    """Returns the command that installs an optional part.

    Args:
        extra: name of the part in `pyproject.toml`, such as `train`.
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"

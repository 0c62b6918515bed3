"""Versions that were put in the place of others, without some listeners: what they are called."""

from pathlib import Path
from typing import Any

from towers.errors import UserError
from towers.manifest import read_json
from towers.retrieval.files import MANIFEST

REPLACES = "replaces"
"""Key of a manifest: the version in whose place this one was put, without some of its listeners."""


def original_name(version: Path) -> str | None:
    """Name of the version that stood there first, `NAME` of the folder `NAME-2`; null for one that replaces none."""
    stem, _, number = version.name.rpartition("-")
    return stem if number.isdecimal() and REPLACES in readable_manifest(version) else None


def readable_manifest(version: Path) -> dict[str, Any]:
    """A version's manifest; empty where there is none that can be read."""
    try:
        return read_json(version / MANIFEST)
    except (UserError, OSError):
        return {}

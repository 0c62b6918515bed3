"""Names of versions that replaced others in order to leave out some listeners."""

from pathlib import Path
from typing import Any

from towers.errors import UserError
from towers.manifest import read_json
from towers.retrieval.files import MANIFEST

REPLACES = "replaces"
"""Key of a manifest with the version that this one replaced without some of its listeners."""


def original_name(version: Path) -> str | None:
    """Returns the name of the version that was there first, `NAME` for the folder `NAME-2`; null for one that replaces
    none."""
    stem, _, number = version.name.rpartition("-")
    return stem if number.isdecimal() and REPLACES in readable_manifest(version) else None


def readable_manifest(version: Path) -> dict[str, Any]:
    """Reads a version's manifest; empty where there is none that can be read."""
    try:
        return read_json(version / MANIFEST)
    except (UserError, OSError):
        return {}

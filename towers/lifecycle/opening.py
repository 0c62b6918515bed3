"""Quick check whether a version opens, without reading all of it."""

from pathlib import Path

import numpy as np

from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.files import USER_TOWER


def opened(folder: Path) -> Export:
    """Opens a version as serving does: checks the manifest's digest and that all files exist; reads ids, vectors, index
    and user tower.

    Args:
        folder: folder of the version, or a link to it such as `exports/current`.

    Raises:
        UserError: it does not open; the message names the file.
    """
    export = Export(folder, check_files=False)
    for name in export.manifest.get("files", {}):
        if not (export.folder / name).exists():
            raise UserError(f"{export.folder / name}: missing; make or copy the export again")
    shapes = ((len(export.content_ids), export.dim), (len(export.user_ids), export.dim))
    if (export.vectors.shape, export.user_vectors.shape) != shapes:
        raise UserError(f"{export.folder}: vectors are not those of its ids; make or copy the export again")
    _ = export.index
    if (export.folder / USER_TOWER).exists():
        export.encode_events(export.plays(np.zeros(0, np.int64)))
    return export


def problem_of(folder: Path) -> str | None:
    """Returns why a version does not open, in words; null where it does."""
    try:
        opened(folder)
    except (UserError, OSError) as error:
        return str(error)
    return None

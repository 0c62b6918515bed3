"""Whether a version opens: quickly, without reading all of it."""

from pathlib import Path

from towers.errors import UserError
from towers.retrieval.export import Export


def opened(folder: Path) -> Export:
    """Opens a version as serving does: manifest by its digest, all files there, ids, vectors and index read.

    Args:
        folder: of the version, or a link to it such as `exports/current`.

    Raises:
        UserError: it does not open; names the file.
    """
    export = Export(folder, check_files=False)
    for name in export.manifest.get("files", {}):
        if not (export.folder / name).exists():
            raise UserError(f"{export.folder / name}: missing; make or copy the export again")
    num_contents, num_users = len(export.content_ids), len(export.user_ids)
    if export.vectors.shape != (num_contents, export.dim) or export.user_vectors.shape != (num_users, export.dim):
        raise UserError(f"{export.folder}: vectors are not those of its ids; make or copy the export again")
    _ = export.index
    return export


def problem_of(folder: Path) -> str | None:
    """Why a version does not open, in words; null where it does."""
    try:
        opened(folder)
    except (UserError, OSError) as error:
        return str(error)
    return None

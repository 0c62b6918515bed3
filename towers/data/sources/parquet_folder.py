"""A folder in the raw data contract: `events/`, `contents/`, `users/`, `playlists/`, each of Parquet part files,
directly or in subfolders."""

from pathlib import Path

from towers import schema
from towers.data.sources.tables import RawTables
from towers.errors import UserError


class ParquetFolder:
    """Reads the contract as it is.

    Args:
        root: the folder that holds a folder a table; only `events` is required.
    """

    def __init__(self, root: str):
        self.root = root
        self._root = Path(root)

    def inputs(self) -> tuple[Path, list[Path]]:
        """All part files."""
        return self._root, [path for paths in self._files().values() for path in paths]

    def tables(self, staging: Path) -> RawTables:
        """The files as they lie; nothing is converted."""
        return RawTables(root=self._root, files=self._files(), has_clock=True)

    def _files(self) -> dict[str, list[Path]]:
        if not self._root.is_dir():
            raise UserError(f"data.root={self._root}: no such folder; give the data set's folder as data.root=FOLDER")
        files = {table: _part_files(self._root / table) for table in schema.TABLES}
        if not files[schema.EVENTS]:
            raise UserError(f"data.root={self._root}: no events/*.parquet in it, nor deeper; it is required")
        return {table: paths for table, paths in files.items() if paths}


def _part_files(folder: Path) -> list[Path]:
    """Subfolders whose names begin with a dot or an underscore hold what a writer keeps for itself."""
    files = [path.relative_to(folder) for path in folder.rglob("*.parquet") if path.is_file()]
    return sorted(folder / file for file in files if not any(part[0] in "._" for part in file.parts[:-1]))

"""A folder in the raw data contract: `events/`, `contents/`, `users/`, `playlists/`, each of Parquet part files."""

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
        files = {table: sorted((self._root / table).glob("*.parquet")) for table in schema.TABLES}
        if not files[schema.EVENTS]:
            raise UserError(f"data.root={self._root}: no events/*.parquet in it; the events table is required")
        return {table: paths for table, paths in files.items() if paths}

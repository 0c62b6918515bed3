"""A folder in the raw data contract: `events/`, `contents/`, `users/`, `playlists/`, `impressions/`, each of Parquet
part files, directly or in subfolders."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from towers.contract import schema
from towers.contract.near_names import near_name
from towers.data.sources.part_files import SUFFIXES, part_files, refuse_log
from towers.data.sources.tables import RawTables, literal
from towers.errors import UserError


class ParquetFolder:
    """Reads the contract as it is.

    Args:
        root: the folder that holds a folder a table; only `events` is required.
    """

    def __init__(self, root: str):
        self.root = root
        self._root = literal(root)

    def settings(self) -> dict[str, Any]:
        """See `Part`."""
        return {}

    def inputs(self) -> tuple[Path, list[Path]]:
        """All part files."""
        return self._root, [path for paths in self._files()[0].values() for path in paths]

    def tables(self, staging: Path) -> RawTables:
        """The files as they lie; nothing is converted."""
        files, others = self._files()
        remarks = [f"not read: {path}; {hint}" for path, hint in self._near(files)]
        return RawTables(root=self._root, files=files, has_clock=True, left_alone=others, remarks=remarks)

    def _files(self) -> tuple[dict[str, list[Path]], list[Path]]:
        """The tables' part files, and the other files in their folders."""
        if not self._root.is_dir():
            raise UserError(f"data.root={self._root}: no such folder; give the data set's folder as data.root=FOLDER")
        refuse_log(self._root)
        found = {table: part_files(self._root / table) for table in schema.RAW_TABLES}
        if not found[schema.EVENTS][0]:
            near = [f"; {path.name} is there: {hint}" for path, hint in self._near({}) if hint.endswith("/events/")]
            raise UserError(
                f"data.root={self._root}: no events/*.parquet in it, nor deeper; it is required{''.join(near[:1])}"
            )
        others = [path for _, unread in found.values() for path in unread]
        return {table: parts for table, (parts, _) in found.items() if parts}, others

    def _near(self, files: Mapping[str, list[Path]]) -> Iterator[tuple[Path, str]]:
        """Folders and files called nearly as tables that are not there, and what to do for them to be read."""
        absent = [table for table in schema.RAW_TABLES if table not in files]
        for path in sorted(self._root.iterdir()):
            table = near_name(path.stem.lower(), absent)
            if table is None or path.name in schema.RAW_TABLES or path.name[0] in "._":
                continue
            if path.is_dir():
                yield path, f"if it is meant, call it {self._root}/{table}/"
            elif path.name.lower().endswith(SUFFIXES):
                yield path, f"if it is meant, put it into a folder {self._root}/{table}/"

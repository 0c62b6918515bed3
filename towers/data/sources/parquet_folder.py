"""A folder in the raw data contract: `events/`, `contents/`, `users/`, `playlists/`, `impressions/`, each of Parquet
part files, directly or in subfolders."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from towers.contract import schema
from towers.contract.near_names import near_name
from towers.data.sources.footers import Footers
from towers.data.sources.part_files import SUFFIXES, TableFiles, refuse_log, table_files
from towers.data.sources.remote import RawPath, RemotePath
from towers.data.sources.remote_listing import entries_of
from towers.data.sources.tables import RawTables, raw_folder
from towers.errors import UserError


class ParquetFolder:
    """Reads the contract as it is.

    Args:
        root: the folder that holds a folder a table; only `events` is required. A path, or a URL (`s3://`, `gs://`,
            `abfs://`), whose objects are listed once in the life of a source.
    """

    def __init__(self, root: str):
        self.root = root
        self._root = raw_folder(root)
        self.footers = Footers()
        """The footers of the part files; those of earlier nights may be recalled before the first listing."""
        self._listed: tuple[dict[str, TableFiles], dict[str, bool]] | None = None

    def settings(self) -> dict[str, Any]:
        """See `Part`."""
        return {}

    def inputs(self) -> tuple[RawPath, list[RawPath]]:
        """All part files."""
        return self._root, [path for table in self._tables()[0].values() for path in table.parts]

    def tables(self, staging: Path) -> RawTables:
        """The files as they lie; nothing is converted."""
        tables, _ = found = self._tables()
        return RawTables(
            root=self._root,
            files={name: table.parts for name, table in tables.items() if table.parts},
            has_clock=True,
            left_alone=[path for table in tables.values() for path in table.others],
            remarks=[f"not read: {path}; {hint}" for path, hint in self._near(*found)],
            footers=self.footers if isinstance(self._root, RemotePath) else Footers(),  # a file may change meanwhile
            values={path: values for table in tables.values() for path, values in table.values.items()},
            dropped={path: names for table in tables.values() for path, names in table.dropped.items()},
        )

    def _tables(self) -> tuple[dict[str, TableFiles], dict[str, bool]]:
        """Returns what is in the tables' folders, and the names in the data set's, each with whether it is a folder."""
        if self._listed is not None:
            return self._listed
        names = self._names()
        refuse_log(self._root, names)
        found = {table: table_files(self._root / table, self.footers) for table in schema.RAW_TABLES}
        if not found[schema.EVENTS].parts:
            near = [
                f"; {path.name} is there: {hint}" for path, hint in self._near({}, names) if hint.endswith("/events/")
            ]
            raise UserError(
                f"data.root={self._root}: no events/*.parquet in it, nor deeper; it is required{''.join(near[:1])}"
            )
        if isinstance(self._root, RemotePath):
            self._listed = found, names
        return found, names

    def _names(self) -> dict[str, bool]:
        """Returns the names in the data set's folder, and whether each is a folder.

        Raises:
            UserError: there is no such folder.
        """
        if isinstance(self._root, RemotePath):
            return entries_of(self._root)
        if not self._root.is_dir():
            raise UserError(f"data.root={self._root}: no such folder; give the data set's folder as data.root=FOLDER")
        return {path.name: path.is_dir() for path in self._root.iterdir()}

    def _near(self, tables: Mapping[str, TableFiles], names: Mapping[str, bool]) -> Iterator[tuple[RawPath, str]]:
        """Folders and files called nearly as tables that are not there, and what to do for them to be read."""
        absent = [table for table in schema.RAW_TABLES if table not in tables or not tables[table].parts]
        for name, is_folder in sorted(names.items()):
            table = near_name(Path(name).stem.lower(), absent)
            if table is None or name in schema.RAW_TABLES or name[0] in "._":
                continue
            if is_folder:
                yield self._root / name, f"if it is meant, call it {self._root}/{table}/"
            elif name.lower().endswith(SUFFIXES):
                yield self._root / name, f"if it is meant, put it into a folder {self._root}/{table}/"

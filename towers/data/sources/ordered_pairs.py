"""Public sequence data that knows the order of events and no clock."""

import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from towers import schema
from towers.data.sources.columns import contents_of, read_columns, write_part
from towers.data.sources.tables import RawTables
from towers.errors import UserError

# The order has to live in the contract's timestamp column; this origin only keeps it within the accepted range.
ORIGIN_S = 946_684_800  # 2000-01-01 UTC


class OrderedPairs:
    """A text file of lines `user content` (plain or .xz), or a Parquet file with a position column.

    Args:
        path: the file. In a text file a listener's lines stand in time order.
        user: Parquet column of the listener; not used for text.
        content: Parquet column of the content; not used for text.
        position: Parquet column that orders a listener's events; not used for text.
        artist: Parquet column of the content's artist, if there is one.
        album: Parquet column of the content's album, if there is one. In both, a negative number means unknown.
    """

    def __init__(
        self,
        path: str,
        user: str = "user",
        content: str = "content",
        position: str = "pos",
        artist: str | None = None,
        album: str | None = None,
    ):
        self.root = path
        self._path = Path(path)
        self._user, self._content, self._position = user, content, position
        self._artist, self._album = artist, album

    def inputs(self) -> tuple[Path, list[Path]]:
        """The one file."""
        if not self._path.is_file():
            raise UserError(f"data.root={self._path}: no such file; give the sequences as data.root=FILE")
        return self._path.parent, [self._path]

    def tables(self, staging: Path) -> RawTables:
        """Converts to the contract; the position becomes the timestamp, in seconds since an arbitrary origin."""
        self.inputs()
        table = self._read_parquet() if self._path.suffix == ".parquet" else self._read_text()
        seconds = table["position"].fill_null(0).to_numpy() + ORIGIN_S
        unknown = table["position"].is_null().to_numpy()
        timestamp = pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC"), mask=unknown)
        events = pa.table({"user_id": table["user"], "content_id": table["content"], "timestamp": timestamp})
        files = {schema.EVENTS: [write_part(events, staging / schema.EVENTS)]}
        if self._artist or self._album:
            files[schema.CONTENTS] = [write_part(contents_of(table), staging / schema.CONTENTS)]
        return RawTables(root=self._path.parent, files=files, has_clock=False)

    def _read_text(self) -> pa.Table:
        open_file = lzma.open if self._path.suffix == ".xz" else open
        try:
            with open_file(self._path, "rb") as file:
                table = pyarrow.csv.read_csv(
                    file,
                    read_options=pyarrow.csv.ReadOptions(column_names=["user", "content"]),
                    parse_options=pyarrow.csv.ParseOptions(delimiter=" "),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types={"user": pa.string(), "content": pa.string()}
                    ),
                )
        except (pa.ArrowInvalid, lzma.LZMAError, EOFError) as error:
            raise UserError(f"{self._path}: not lines of `user content` ({error})") from error
        # The line number orders events within a listener as well as a position would.
        return table.append_column("position", pa.array(np.arange(len(table), dtype=np.int64)))

    def _read_parquet(self) -> pa.Table:
        wanted = {"user": self._user, "content": self._content, "position": self._position}
        table = read_columns(self._path, wanted | {"artist": self._artist, "album": self._album})
        try:
            return table.set_column(2, "position", table["position"].cast(pa.int64()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(f"{self._path}: column {self._position!r} must be whole numbers ({error})") from error

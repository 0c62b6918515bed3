"""Public sequence data with the order of events but without times."""

import lzma
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.data.event_times import in_range, looks_like
from towers.data.sources.columns import contents_of, read_columns, whole_numbers, write_part
from towers.data.sources.part_files import is_parquet
from towers.data.sources.tables import Origin, RawTables, literal
from towers.errors import UserError

# The order has to live in the contract's timestamp column; this origin only keeps it within the accepted range.
ORIGIN_S = 946_684_800  # 2000-01-01 UTC
LINES_AT_ONCE = 500_000
SHOWN = 80
"""Signs of a line that a message shows."""


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
        self._path = literal(path)
        self._user, self._content, self._position = user, content, position
        self._artist, self._album = artist, album

    def settings(self) -> dict[str, Any]:
        """See `Part`."""
        return {
            "user": self._user, "content": self._content, "position": self._position, "artist": self._artist,
            "album": self._album,
        }  # fmt: skip

    def inputs(self) -> tuple[Path, list[Path]]:
        """The one file."""
        if not self._path.is_file():
            raise UserError(f"data.root={self._path}: no such file; give the sequences as data.root=FILE")
        return self._path.parent, [self._path]

    def tables(self, staging: Path) -> RawTables:
        """Converts to the contract; the position becomes the timestamp, in seconds since an arbitrary origin.

        Raises:
            UserError: no such file, a line that is no pair, not Parquet, a column that is missing or of another type,
                or a position that counts no events.
        """
        self.inputs()
        has_columns = is_parquet(self._path)
        table = self._read_parquet() if has_columns else self._read_text()
        seconds = table["position"].fill_null(0).to_numpy() + ORIGIN_S
        unknown = table["position"].is_null().to_numpy()
        timestamp = pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC"), mask=unknown)
        events = pa.table({"user_id": table["user"], "content_id": table["content"], "timestamp": timestamp})
        files = {schema.EVENTS: [write_part(events, staging / schema.EVENTS)]}
        if self._artist or self._album:
            files[schema.CONTENTS] = [write_part(contents_of(table), staging / schema.CONTENTS)]
        columns = {"user_id": self._user, "content_id": self._content, "timestamp": self._position}
        origin = Origin(path=self._path, columns=columns if has_columns else {})
        return RawTables(root=self._path.parent, files=files, has_clock=False, origin=origin)

    def _read_text(self) -> pa.Table:
        pairs, pieces = read_pairs(self._path), []
        while some := list(islice(pairs, LINES_AT_ONCE)):
            users, contents = zip(*some, strict=True)
            pieces.append(pa.table({"user": pa.array(users, pa.string()), "content": pa.array(contents, pa.string())}))
        if not pieces:
            raise UserError(f"{self._path}: no lines of `user content` in it; there is nothing to learn from")
        table = pa.concat_tables(pieces)
        # The line number orders events within a listener as well as a position would.
        return table.append_column("position", pa.array(np.arange(len(table), dtype=np.int64)))

    def _read_parquet(self) -> pa.Table:
        wanted = {"user": self._user, "content": self._content, "position": self._position}
        table = read_columns(self._path, wanted | {"artist": self._artist, "album": self._album})
        try:
            positions = whole_numbers(table["position"])
        except (pa.ArrowException, ValueError) as error:
            raise UserError(
                f"{self._path}: column {self._position!r} must be whole numbers ({' '.join(str(error).split())})"
            ) from error
        self._check_positions(positions.fill_null(0).to_numpy())
        return table.set_column(table.column_names.index("position"), "position", positions)

    def _check_positions(self, positions: np.ndarray) -> None:
        out = np.flatnonzero(~in_range(positions.astype(np.float64) + ORIGIN_S))
        if len(out):
            unit = looks_like(float(positions[out[0]]))
            hint = f"; these look like {unit} since 1970: data=timed reads plays with a clock" if unit else ""
            raise UserError(
                f"{self._path}: column {self._position!r}, row {out[0]}: {positions[out[0]]} is no position, which "
                f"counts the events of a listener{hint}"
            )


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """The listener and the content of every line of a text file, plain or .xz, as they stand there.

    Between them stands one space; every other sign but the line's end is an id's own, be it a quotation mark, a
    backslash, a tab or `#`. Lines may end as on Windows, the first may begin with a byte order mark, and empty ones are
    left out.

    Raises:
        UserError: a line that is none of these, not UTF-8, or a compressed file that is damaged.
    """
    open_file = lzma.open if path.suffix.lower() == ".xz" else open
    number = 0
    try:
        with open_file(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
                if not text:
                    continue
                user, _, content = text.partition(" ")
                if not user or not content or " " in content:
                    shown = repr(text[:SHOWN])
                    raise UserError(f"{path}, line {number}: {shown} must be `user content`, with one space between")
                yield user, content
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}); write the file as UTF-8") from error
    except (lzma.LZMAError, EOFError) as error:
        raise UserError(f"{path}: damaged after line {number} ({error}); write it again") from error

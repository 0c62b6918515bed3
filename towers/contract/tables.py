"""The raw contract's columns: which must be there, of what type, and how SQL reads each of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as pt

from towers.contract import schema
from towers.contract.arrow_types import ID_WORDS, is_id, is_id_list, is_number, is_temporal, is_whole
from towers.contract.near_names import near_name
from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the contract: its test, that test in words, and its type in SQL."""

    accepts: Callable[[pa.DataType], bool]
    words: str
    sql: str
    is_required: bool = False

    def fits(self, kind: pa.DataType) -> bool:
        """Returns whether a Parquet column of this type will do; one that is null throughout fits any column."""
        return self.accepts(kind) or pt.is_null(kind)


def id_column(*, is_required: bool = False) -> Column:
    """A column of ids, or of short text that is read like one."""
    return Column(accepts=is_id, words=ID_WORDS, sql="VARCHAR", is_required=is_required)


def list_column(*, is_required: bool = False) -> Column:
    """A column of lists of ids."""
    return Column(accepts=is_id_list, words="a list of strings or integers", sql="VARCHAR[]", is_required=is_required)


NUMBER = Column(accepts=is_number, words="a number in milliseconds", sql="BIGINT")
DATE = Column(accepts=is_temporal, words="a date", sql="DATE")
MOMENT = Column(accepts=is_temporal, words="a timestamp in UTC or a date", sql="TIMESTAMPTZ")
TIMESTAMP = Column(accepts=pt.is_timestamp, words="a timestamp in UTC", sql="TIMESTAMPTZ", is_required=True)
FLAG = Column(accepts=pt.is_boolean, words="a boolean", sql="BOOLEAN")
SLOT = Column(accepts=is_whole, words="a whole number from 0", sql="BIGINT")
PROPENSITY = Column(accepts=is_number, words="a number above 0 and at most 1", sql="DOUBLE")

READERS_OWN = ("filename", "file_row_number")
"""Columns that the reader adds, so that a rejected row can be found again; no table may bring its own."""
OURS = (*READERS_OWN, "reason", "fault", "row_hash", "dates_lost", "stands_at", "user_row", "_metadata")
"""Names that stand beside the contract's while rows are judged; a column of a listener cannot bear them, nor
the name by which Spark knows where a row is from."""

SHORTEST = 4
"""Signs of a name with which another one has to begin for the two to be near."""

CONTRACT: dict[str, dict[str, Column]] = {
    schema.EVENTS: {
        "user_id": id_column(is_required=True),
        "content_id": id_column(is_required=True),
        "timestamp": TIMESTAMP,
        "action": id_column(),
        "played_ms": NUMBER,
        "context": id_column(),
        "session_id": id_column(),
        "device": id_column(),
    },
    schema.CONTENTS: {
        "content_id": id_column(is_required=True),
        "kind": id_column(),
        "title": id_column(),
        "artist_ids": list_column(),
        "album_id": id_column(),
        "genres": list_column(),
        "language": id_column(),
        "release_date": DATE,
        "duration_ms": NUMBER,
        "explicit": FLAG,
        "audio": id_column(),
    },
    schema.USERS: {"user_id": id_column(is_required=True), "deleted": FLAG},
    schema.PLAYLISTS: {
        "playlist_id": id_column(is_required=True),
        "title": id_column(),
        "curator": id_column(),
        "owner_id": id_column(),
        "created": MOMENT,
        "content_ids": list_column(is_required=True),
    },
    schema.IMPRESSIONS: {
        "request_id": id_column(is_required=True),
        "user_id": id_column(is_required=True),
        "timestamp": TIMESTAMP,
        "candidate_ids": list_column(),
        "chosen_id": id_column(),
        "slot": SLOT,
        "shelf": id_column(),
        "propensity": PROPENSITY,
        "policy_id": id_column(),
        "space_id": id_column(),
        "clicked": FLAG,
        "played_ms": NUMBER,
        "skipped": FLAG,
        "finished": FLAG,
        "saved": FLAG,
    },
}


def check_columns(path: object, table: str, file_schema: pa.Schema) -> None:
    """Checks that a part file has the columns that the contract requires of `table`, in types that fit.

    Args:
        path: path of the file, for messages.
        table: a name of `schema.RAW_TABLES`.
        file_schema: schema of the file, with the columns that its folders' names add.

    Raises:
        UserError: a required column missing; a column of a wrong type, of a name that is taken, or of one that
            `is_there` refuses. The message names the file and the column.
    """
    for name in file_schema.names:
        if name.lower() in READERS_OWN:
            raise UserError(f"{path}: column {name!r} has a name that is taken; call it otherwise")
    for name, column in CONTRACT[table].items():
        if is_there(path, name, file_schema.names):
            kind = file_schema.field(name).type
            if not column.fits(kind):
                raise UserError(f"{path}: column {name!r} is {kind}, must be {column.words}")
        elif column.is_required:
            near = near_column(table, name, file_schema.names)
            hint = f"it has {', '.join(file_schema.names)}" if near is None else f"rename {near!r} where it is meant"
            raise UserError(f"{path}: no column {name!r}, which {table}/ must have ({column.words}); {hint}")


def near_column(table: str, name: str, own: Iterable[str]) -> str | None:
    """Returns the column of a file that is probably meant as the contract's `name`, which the file lacks; null: none.

    Its name is spelled nearly alike, or one of the two names begins with the other. Columns that are the contract's
    own never count.

    >>> near_column("contents", "artist_ids", ["content_id", "artist_id"]), near_column("events", "user_id", ["user"])
    ('artist_id', 'user')
    """
    others = {each.lower(): each for each in own if each not in CONTRACT[table]}
    begun = [each for each in others if len(each) >= SHORTEST and (name.startswith(each) or each.startswith(name))]
    near = near_name(name, others) or min(begun, key=len, default=None)
    return None if near is None else others[near]


def is_there(path: object, name: str, names: list[str]) -> bool:
    """Returns whether a file has the column `name`, and makes sure that SQL cannot take another column for it.

    Raises:
        UserError: two columns of this name, or one that differs in case: `Deleted` would be left out, and `TITLE`
            before `title` would be read in its place.
    """
    bearers = [own for own in names if own.lower() == name.lower()]
    if len(bearers) > 1:
        shown = " and ".join(map(repr, bearers))
        raise UserError(f"{path}: columns {shown} are one to SQL; keep one of them, and call it {name!r}")
    if bearers and bearers[0] != name:
        raise UserError(f"{path}: column {bearers[0]!r} must be called {name!r}")
    return bool(bearers)

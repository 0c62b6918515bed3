"""Contents of earlier weeks' lists, read from the files that the batch wrote.

The files are `FOLDER/KIND/WEEK/part-00003-of-00016.parquet`, with the columns of `told.SCHEMA`. The part of a
listener's list follows from their id alone, and a part is sorted by id, so that one listener's list is read from a
fraction of one file.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.errors import UserError
from towers.features.text import id_text
from towers.manifest import digest_of
from towers.policies.request import Kind, name_of, weeks_apart
from towers.policies.weeks import weeks_before
from towers.retrieval.asker import Id
from towers.retrieval.export import Export

LISTS = "playlists"
"""Default folder of the lists of all listeners."""
WEEKS = 8
"""Default number of weeks in which shown contents are not repeated."""
SIGNATURE = b"signature"
"""Metadata key of a part's signature, a digest of all that decides its contents."""
_PART = re.compile(r"part-(\d{5})-of-(\d{5})\.parquet")


def part_of(user_id: str, parts: int) -> int:
    """Returns the part in which a listener's list is, from 0."""
    return zlib.crc32(user_id.encode()) % parts


def part_name(part: int, parts: int) -> str:
    """Returns the file name of a part."""
    return f"part-{part:05d}-of-{parts:05d}.parquet"


def parts_in(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Yields (file, part, number of parts) for the parts in the folder of a week, by name."""
    for path in sorted(folder.glob("part-*.parquet")):
        if found := _PART.fullmatch(path.name):
            yield path, int(found[1]), int(found[2])


def signature_in(path: Path) -> str:
    """Returns the signature of a part; empty where the file has none or cannot be read."""
    try:
        return ((pq.read_schema(path).metadata or {}).get(SIGNATURE) or b"").decode()
    except (OSError, pa.ArrowInvalid):
        return ""


def shown_to(kind: Kind, users: Sequence[Id], folder: Path, week: str | None) -> list[str]:
    """Returns ids of contents that must not be repeated in a listener's list for a week. Empty without a listener or
    for several, for kinds of lists that ignore earlier ones, and where the week is not known (null)."""
    weeks = weeks_apart(kind)
    if week is None or not weeks or len(users) != 1:
        return []
    return Shown(folder, name_of(kind), week, weeks).of(id_text(users[0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownRows:
    """Contents that earlier lists showed to many listeners.

    Args:
        users: rows of listeners, ascending, with repeats.
        contents: row of a content that was shown to each.
    """

    users: Int[np.ndarray, " shown"]
    contents: Int[np.ndarray, " shown"]

    def of(self, user_row: int) -> Int[np.ndarray, " theirs"]:
        """Returns the rows of the contents shown to one listener."""
        first, last = np.searchsorted(self.users, [user_row, user_row + 1])
        return self.contents[first:last]


@dataclass(frozen=True, slots=True)
class Shown:
    """Lists of the weeks before a given one.

    Args:
        folder: folder of all lists.
        kind: kind of list, such as `discover_weekly`.
        week: ISO week of the list that is to be made; lists of this week do not count.
        weeks: number of earlier weeks that count.

    Raises:
        UserError: `week` is not an ISO week.
    """

    folder: Path
    kind: str
    week: str
    weeks: int = WEEKS

    def of(self, user_id: str) -> list[str]:
        """Returns ids of contents shown to a listener; reads a fraction of one file a week."""
        found: list[str] = []
        for path, part, parts in self._files():
            if part == part_of(user_id, parts):
                found += _read(path, ["content_id"], [("user_id", "=", user_id)])["content_id"].to_pylist()
        return found

    def of_part(self, export: Export, part: int, parts: int) -> ShownRows:
        """Returns what was shown to the listeners of a part, as far as the export knows the listeners and the
        contents."""
        users, contents = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for path in self._for_part(part, parts):
            table = _read(path, ["user_id", "content_id"])
            users.append(export.user_ids.rows(table["user_id"]))
            contents.append(export.content_ids.rows(table["content_id"]))
        user_rows, content_rows = np.concatenate(users), np.concatenate(contents)
        order = np.argsort(user_rows, kind="stable")
        return ShownRows(users=user_rows[order], contents=content_rows[order])

    def digest(self, part: int, parts: int) -> str:
        """Returns a digest of the earlier lists that count for the listeners of a part."""
        files = self._for_part(part, parts)
        return digest_of([[path.parent.name, path.name, signature_in(path)] for path in files])

    def _for_part(self, part: int, parts: int) -> list[Path]:
        """Returns the files with lists of the listeners of a part; all files where the number of parts differs."""
        return [path for path, other, others in self._files() if (other, others) == (part, parts) or others != parts]

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        for week in weeks_before(self.week, self.weeks):
            yield from parts_in(self.folder / self.kind / week)


def _read(path: Path, columns: list[str], filters: list[tuple[str, str, str]] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it, or make the lists of that week again") from error

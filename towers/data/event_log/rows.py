"""Rows that last: maps from ids to rows that only grow."""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq
from jaxtyping import Bool

from towers.errors import UserError

KEY = "key"
FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class RowMap:
    """The row of each id.

    A row is given to an id once and for ever. A hole (null) is the row of an id that was erased; no id gets it again.

    Args:
        ids: `[rows]`, text: the id of each row, null for a hole.
    """

    ids: pa.StringArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> pa.Array:
        """`[rows]`, int32: 0, 1, 2 and so on."""
        return pa.array(np.arange(len(self.ids), dtype=np.int32))

    def is_among(self, ids: Iterable[str] | pa.Array) -> Bool[np.ndarray, " rows"]:
        """`[rows]`, bool: whether a row belongs to one of `ids`."""
        found = pc.call_function("is_in", [self.ids], pc.SetLookupOptions(value_set=pa.array(ids, pa.string())))
        return found.to_numpy(zero_copy_only=False)

    def grown_by(self, ids: Iterable[str]) -> "RowMap":
        """Returns the map with those of `ids` appended, in their order, that it does not have yet."""
        known = set(self.ids.to_pylist())
        return self.grown([each for each in ids if each not in known])

    def grown(self, ids: Sequence[str] | pa.Array) -> "RowMap":
        """Returns the map with ids appended, none of which it has yet."""
        return RowMap(pa.concat_arrays([self.ids, pa.array(ids, pa.string())]))

    def erased(self, ids: Iterable[str]) -> "RowMap":
        """Returns the map with holes in the rows of some ids."""
        is_gone = self.is_among(ids)
        if not is_gone.any():
            return self
        # Taken by rows: what is merely masked would keep its bytes, which the digest reads.
        return RowMap(self.ids.take(pa.array(np.arange(len(self)), mask=is_gone)))

    def write(self, path: Path) -> None:
        """Writes a Parquet file with the columns `id` and `row`."""
        pq.write_table(pa.table({"id": self.ids, "row": self.rows}), path)

    @classmethod
    def read(cls, path: Path) -> "RowMap":
        """Reads what `write` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            return cls(pq.read_table(path)["id"].combine_chunks())
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path}: the row map is damaged ({error}); restore it, or remove its folder to number all rows anew"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """All row maps of an event log.

    Args:
        users: the rows of listeners.
        contents: the rows of contents.
        listed: `[contents]`, bool: whether contents/ or playlists/ ever listed the content.
        files: raw files of events and impressions, as paths below the data set's folder, in order of arrival.
        contexts: contexts; their rows are the codes in the log.
        devices: devices; their rows are the codes in the log.
        forgotten: listeners whose earlier events may not come back.
    """

    users: RowMap
    contents: RowMap
    listed: Bool[np.ndarray, " contents"]
    files: RowMap
    contexts: RowMap
    devices: RowMap
    forgotten: "Forgotten"

    @property
    def digest(self) -> str:
        """Changes with every row of a listener or a content, and with what was ever listed."""
        sink = pa.BufferOutputStream()
        for ids in (self.users.ids, self.contents.ids):
            table = pa.table({"id": ids}).combine_chunks()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return hashlib.sha256(sink.getvalue().to_pybytes() + self.listed.tobytes()).hexdigest()

    def still_knows(self, ids: Sequence[str]) -> bool:
        """Returns whether some id has still to be forgotten: it has a row, or its earlier events could come back."""
        return bool(self.users.is_among(ids).any()) or len(self.forgotten.among(ids)) < len({*ids})

    def with_files(self, names: Iterable[str]) -> "Rows":
        """Returns the maps with new raw files appended, in order of their names."""
        return replace(self, files=self.files.grown_by(sorted(names)))

    def with_renamed(self, before: Mapping[str, str], now: Mapping[str, str]) -> "Rows":
        """Returns it with the present names of renamed raw files, which still hold forgotten listeners.

        Args:
            before: digests of the files by their earlier names.
            now: digests of the files by their present names.
        """
        gone = defaultdict(list)
        for name in sorted(before.keys() - now.keys(), reverse=True):
            gone[before[name]].append(name)
        known = self.files.ids.to_pylist()
        new = sorted(now.keys() - set(known))
        name_of = {gone[now[name]].pop(): name for name in new if gone[now[name]]}
        return replace(self, files=RowMap(pa.array([name_of.get(name, name) for name in known], pa.string())))

    def write(self, folder: Path) -> None:
        """Writes one file for each map."""
        folder.mkdir()
        for name in ("users", "contents", "files", "contexts", "devices"):
            getattr(self, name).write(folder / f"{name}.parquet")
        np.save(folder / "listed.npy", self.listed)
        self.forgotten.write(folder)

    @classmethod
    def none(cls) -> "Rows":
        """Returns empty maps."""
        empty = RowMap(pa.array([], pa.string()))
        return cls(
            users=empty, contents=empty, listed=np.zeros(0, dtype=bool), files=empty, contexts=empty, devices=empty,
            forgotten=Forgotten(key=b"", until_file={}),
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> "Rows":
        """Reads what `write` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        names = ("users", "contents", "files", "contexts", "devices")
        maps = {name: RowMap.read(folder / f"{name}.parquet") for name in names}
        return cls(**maps, listed=np.load(folder / "listed.npy"), forgotten=Forgotten.read(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Keyed hashes of listeners who were forgotten, and how many raw files had arrived by then.

    Raw files of before may still hold their events, and none of them may come back: not when a listener of the same id
    returns, and not when everything is read again. Without the key it cannot be told whether an id is among them.

    Args:
        key: 32 random bytes; empty if no listener was forgotten.
        until_file: hash -> a number; their events in raw files of lower numbers are ignored.
    """

    key: bytes
    until_file: dict[int, int]

    @property
    def arrivals(self) -> list[int]:
        """Returns how many raw files had arrived when each listener was forgotten, ascending; a digest of it names no
        listener."""
        return sorted(self.until_file.values())

    def with_more(self, ids: Iterable[str], until_file: int) -> "Forgotten":
        """Returns the set with more ids, whose events in raw files below the number `until_file` are ignored."""
        more = list(ids)
        if not more:
            return self
        known = self if self.key else Forgotten(key=secrets.token_bytes(32), until_file={})
        return replace(known, until_file=known.until_file | {known._hash(each): until_file for each in more})

    def among(self, ids: Iterable[str]) -> dict[str, int]:
        """Finds which ids were forgotten -> the number of the first raw file whose events of theirs count again."""
        if not self.until_file:
            return {}
        found = ((each, self.until_file.get(self._hash(each))) for each in ids)
        return {each: until for each, until in found if until is not None}

    def write(self, folder: Path) -> None:
        """Writes the key and the hashes; no file if no listener was forgotten."""
        if self.key:
            (folder / KEY).write_bytes(self.key)
            hashes = sorted(self.until_file)
            columns = {"hash": pa.array(hashes, pa.uint64()), "until_file": [self.until_file[each] for each in hashes]}
            pq.write_table(pa.table(columns), folder / f"{FORGOTTEN}.parquet")

    @classmethod
    def read(cls, folder: Path) -> "Forgotten":
        """Reads what `write` wrote."""
        if not (folder / KEY).exists():
            return cls(key=b"", until_file={})
        table = pq.read_table(folder / f"{FORGOTTEN}.parquet")
        pairs = zip(table["hash"].to_pylist(), table["until_file"].to_pylist(), strict=True)
        return cls(key=(folder / KEY).read_bytes(), until_file=dict(pairs))

    def _hash(self, identity: str) -> int:
        return int.from_bytes(hashlib.blake2b(identity.encode(), key=self.key, digest_size=8).digest(), "little")

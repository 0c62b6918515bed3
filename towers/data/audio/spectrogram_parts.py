"""Parts: spectrograms of some hundred files, whole or absent. A killed run leaves them for the next one, and shards
leave them for the run that puts them together."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float16

from towers.data.sources.remote import RawPath
from towers.errors import UserError
from towers.manifest import atomic_directory

RECORDS, REASONS = "records.float16", "reasons.parquet"
Record = Float16[np.ndarray, "n_mels frames"]
SoundProgress = Callable[[int, int, str], None]
"""Called with how many files are done, how many there are, and the rate so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundFile:
    """A content's sound.

    Args:
        content_id: id of the content.
        path: path of the file.
        digest: digest of its bytes, or the version of an object; None if there is no file.
        refusal: reason why it must not be read; None if it may be.
    """

    content_id: str
    path: RawPath
    digest: str | None
    refusal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The result of decoding a sound.

    Args:
        record: the record; null if there can be none.
        reason: reason why there is none, or a remark that the record is not the whole sound or not its mix; null if
            neither applies.
    """

    record: Record | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The records of `files`, in their order, in a folder whose name says what is in it."""

    folder: Path
    files: Sequence[SoundFile]

    def judged(self) -> list[tuple[bool, str | None]]:
        """Returns for each file whether it has a record, and the reason, if any, as in `Heard.reason`."""
        table = pq.read_table(self.folder / REASONS)
        return list(zip(table["has_record"].to_pylist(), table["reason"].to_pylist(), strict=True))

    def copy_records(self, file: BinaryIO) -> None:
        """Appends the records of the usable files, as bare numbers."""
        with (self.folder / RECORDS).open("rb") as records:
            while block := records.read(1 << 20):
                file.write(block)

    def write(self, results: Iterable[Heard]) -> None:
        """Writes the results of all files, in order; the part appears as a whole."""
        has_record: list[bool] = []
        reasons: list[str | None] = []
        with atomic_directory(self.folder) as folder:
            with (folder / RECORDS).open("wb") as records:
                for heard in results:
                    has_record.append(heard.record is not None)
                    reasons.append(heard.reason)
                    if heard.record is not None:
                        records.write(heard.record.tobytes())
                records.flush()
                os.fsync(records.fileno())  # a machine that is lost leaves no empty part that looks whole
            judged = {"has_record": pa.array(has_record, pa.bool_()), "reason": pa.array(reasons, pa.string())}
            pq.write_table(pa.table(judged), folder / REASONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Every `count`-th part, from the `number`-th on (counted from 1): the share of one of `count` machines."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads a text such as `3/16`.

        Raises:
            UserError: the text is not NUMBER/COUNT, or the number is not in 1 to the count.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UserError(f"data.shard={text}: must be NUMBER/COUNT, such as 3/16, from 1/16 to 16/16")
        return cls(number=int(number), count=int(count))

    def of(self, parts: Sequence[Part]) -> Sequence[Part]:
        """Returns the parts of this shard."""
        return parts[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(slots=True)
class Decoding:
    """Amount of decoded sound, and the time that it took.

    Args:
        files: number of files that were decoded; records copied from earlier spectrograms do not count.
        sound_s: decoded sound, in seconds.
        wall_s: elapsed time, in seconds.
        core_s: processor time, in seconds.
    """

    files: int = 0
    sound_s: float = 0.0
    wall_s: float = 0.0
    core_s: float = 0.0

    @property
    def rate(self) -> str:
        """Rate as text, in seconds of sound per second."""
        return f"{self.sound_s / max(self.wall_s, 1e-9):,.0f} s of sound/s"

    def __str__(self) -> str:
        return (
            f"decoded {self.files:,} files: {self.sound_s:,.0f} s of sound in {self.wall_s:,.1f} s "
            f"({self.rate}, {self.core_s:,.1f} core-seconds)"
        )

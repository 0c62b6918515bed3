"""A content's metadata as codes: every part is a short list of codes, most often of one."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from towers.features.ragged import Ragged
from towers.features.vocabulary import UNKNOWN, Vocabulary

CONTENT_PARTS = (
    "kind",
    "artist_ids",
    "album_id",
    "genres",
    "language",
    "release_year",
    "duration_bucket",
    "explicit",
)


def part_values(part: str, columns: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """The values of `part` for every content, as text.

    Args:
        part: of `CONTENT_PARTS`.
        columns: raw columns of the contract's contents table, by name; null where unknown.
    """
    if part == "release_year":
        return [[] if day is None else [str(_year(day))] for day in columns["release_date"]]
    if part == "duration_bucket":
        return [[] if not duration else [duration_bucket(duration)] for duration in columns["duration_ms"]]
    values = columns[part]
    if part in ("artist_ids", "genres"):
        return [[str(value) for value in several if value is not None] if several else [] for several in values]
    return [[] if value is None else [str(value)] for value in values]


def duration_bucket(duration_ms: int) -> str:
    """Half-octaves of the duration in seconds: 100 and 120 s share one, 100 and 200 s do not.

    >>> duration_bucket(100_000), duration_bucket(120_000), duration_bucket(200_000)
    ('13', '13', '15')
    """
    return str(int(2 * np.log2(max(duration_ms / 1_000, 1))))


def build_vocabulary(values: Sequence[Sequence[str]], is_in_training: np.ndarray) -> Vocabulary:
    """The vocabulary of contents that training has seen, so that a code never stands for something untrained."""
    return Vocabulary(
        value for several, known in zip(values, is_in_training, strict=True) if known for value in several
    )


def encode_part(values: Sequence[Sequence[str]], vocabulary: Vocabulary) -> Ragged:
    """Codes for every content; unknown values are dropped, since an absent part and an unknown one are the same."""
    lengths = [len(several) for several in values]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    codes = vocabulary.encode([value for several in values for value in several])
    return Ragged(offsets, codes).where(codes != UNKNOWN)


def _year(day: date) -> int:
    return day.year

"""Encoding of content metadata: each part becomes a short list of integer codes, most often a single one."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from towers.contract.arrow_types import is_list
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

COLUMN_OF = {"release_year": "release_date", "duration_bucket": "duration_ms"}
"""Raw column of each part whose column has another name."""


def part_values(part: str, columns: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """Returns the values of `part` for every content, as text.

    Args:
        part: one of `CONTENT_PARTS`.
        columns: raw columns of the contents table, by name; null where unknown.
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
    """Returns the half-octave of a duration: 100 and 120 s share one, 100 and 200 s do not.

    >>> duration_bucket(100_000), duration_bucket(120_000), duration_bucket(200_000)
    ('13', '13', '15')
    """
    return str(int(2 * np.log2(max(duration_ms / 1_000, 1))))


def content_values(part: str, contents: pa.Table) -> tuple[Ragged, list[str]]:
    """Returns the values of `part` for every content, as indices into a list of distinct texts.

    The values equal those of `part_values`. It is fast for a million contents, since it converts each distinct value
    once.

    Args:
        part: one of `CONTENT_PARTS`.
        contents: contents table, with the raw column from which the part is read.
    """
    name = COLUMN_OF.get(part, part)
    column = contents[name].combine_chunks()
    if is_list(column.type):
        lengths, flat = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), column.flatten()
    else:
        lengths, flat = np.ones(len(column), dtype=np.int64), column
    encoded = flat.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    told = part_values(part, {name: [[value] for value in distinct] if is_list(column.type) else distinct})
    texts = list(dict.fromkeys(text for several in told for text in several))
    place_of = {text: place for place, text in enumerate(texts)}
    places = np.array([*(place_of[several[0]] if several else -1 for several in told), -1], dtype=np.int32)
    values = places[encoded.indices.fill_null(-1).to_numpy()]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    return Ragged(offsets, values).where(values >= 0), texts


def trained_vocabulary(
    values: Ragged, texts: Sequence[str], is_in_training: Bool[np.ndarray, " contents"]
) -> Vocabulary:
    """Returns the vocabulary of the contents seen in training, so that every code has a trained embedding."""
    seen = np.unique(values.values[np.repeat(is_in_training, values.lengths)])
    return Vocabulary([texts[int(place)] for place in seen])


def encode_values(values: Ragged, texts: Sequence[str], vocabulary: Vocabulary) -> Ragged:
    """Returns the codes of every content; values outside the vocabulary are dropped, as if they were missing."""
    codes = np.append(vocabulary.encode(texts), [UNKNOWN]).astype(np.int32)[values.values]
    return Ragged(values.offsets, codes).where(codes != UNKNOWN)


def _year(day: date) -> int:
    return day.year

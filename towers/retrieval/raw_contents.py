"""A content as it is in the raw contract to its vector: the serving side's half of `prepare`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from towers.contract import schema
from towers.contract.near_names import not_among
from towers.contract.tables import CONTRACT
from towers.errors import UserError
from towers.features.metadata import part_values
from towers.features.sound import TOO_LOUD, UnusableSound
from towers.features.text import category_text
from towers.features.vocabulary import UNKNOWN, Vocabulary
from towers.retrieval.content_encoder import AUDIO_VECTOR, WAVEFORM, ContentEncoder, Heard, Sound
from towers.retrieval.encoded import Encoded
from towers.retrieval.export import Export
from towers.retrieval.files import CONTENT_TOWER
from towers.retrieval.sound import waveform_of

Audio = Path | tuple[np.ndarray, int] | np.ndarray | None
"""A file; samples (`[samples]` or `[samples, channels]`, floats of which 1 is full scale) and their rate in Hz; the
vector of a sound, where the model reads vectors that were made elsewhere; or nothing."""


def encode_content(export: Export, audio: Audio, metadata: Mapping[str, Any]) -> Encoded:
    """The vector of a content that training has not seen, by its sound and metadata.

    Args:
        export: gives the tower and vocabularies.
        audio: its sound; null where there is none.
        metadata: columns of the contract's contents table, as far as known: `kind` (a track unless it is given),
            `artist_ids`, `album_id`, `genres`, `language`, `release_date` (a date, or text such as `2026-07-29`),
            `duration_ms`, `explicit`. The contract's others say nothing of where it stands.

    Raises:
        UserError: sound that does not decode, is too short, silent or not finite, or of a kind that the model does not
            read; metadata of a wrong type, or of a column that the contract does not have; metadata of which nothing is
            known, where there is no sound; an export without a content tower.
    """
    return reader_of(export).encode(audio, metadata)


class ContentReader:
    """Encodes contents as they are in the raw contract.

    Args:
        export: gives the tower, features and vocabularies, which are read once.
        threads: that one call may use.

    Raises:
        UserError: an export without a content tower, or one of another space.
    """

    def __init__(self, export: Export, threads: int = 1):
        path = export.folder / CONTENT_TOWER
        if not path.exists():
            raise UserError(
                f"{path}: missing; exports of before have no content tower, nor have those of models that know ids "
                "alone: export again"
            )
        self.encoder = ContentEncoder(path, export.space_id, threads)
        self._spectrogram = export.features.spectrogram
        self._vocabularies = {part: export.vocabulary(part) for part in self.encoder.parts}

    def encode(self, audio: Audio, metadata: Mapping[str, Any]) -> Encoded:
        """As `encode_content`."""
        strange = next((name for name in metadata if name not in CONTRACT[schema.CONTENTS]), None)
        if strange is not None:
            raise UserError(f"metadata.{strange}: no such column of contents/; {not_among(strange, _COLUMNS)}")
        known, unknown = _told_apart(self._vocabularies, metadata)
        given = [f"metadata.{name}" for name, value in metadata.items() if value is not None]
        if audio is None and given and not known:
            shown = ", ".join(unknown or given)
            raise UserError(f"{shown}: this export knows nothing of it; give a sound, or more of what is known")
        vector = self.encoder.encode(self.heard(audio), codes_of(self._vocabularies, metadata))
        if not np.isfinite(vector).all():
            raise UserError(f"{_named(audio)}: {TOO_LOUD}")
        return Encoded(vector=vector, unknown=tuple(unknown))

    def heard(self, audio: Audio) -> Heard:
        """What the tower reads of a sound; of a model that reads both, that which is given. Raises as
        `encode_content`."""
        if audio is None:
            return {}
        if not self.encoder.hears:
            raise UserError(f"{_named(audio)}: this model does without sound; leave it out")
        if isinstance(audio, np.ndarray):
            return {AUDIO_VECTOR: self._vector(audio)}
        return {WAVEFORM: self._waveform(audio)}

    def _waveform(self, audio: Path | tuple[np.ndarray, int]) -> Sound:
        if WAVEFORM not in self.encoder.hears:
            raise UserError(
                f"{_named(audio)}: this model reads vectors that were made elsewhere, not sound; give "
                f"{self.encoder.audio_dim} numbers of the same origin, or none"
            )
        try:
            return waveform_of(audio, self._spectrogram)
        except UnusableSound as error:
            raise UserError(f"{_named(audio)}: {error}; give other sound, or none") from error

    def _vector(self, audio: np.ndarray) -> Sound:
        if AUDIO_VECTOR not in self.encoder.hears:
            raise UserError("audio: give a file, or samples with their rate; this model reads no vectors")
        if not np.isfinite(audio).all():
            raise UserError("audio: a vector with numbers that are not finite")
        return audio.astype(np.float32, copy=False)


def _named(audio: Audio) -> str:
    return str(audio) if isinstance(audio, Path) else "audio"


_READERS: WeakKeyDictionary[Export, ContentReader] = WeakKeyDictionary()


def reader_of(export: Export) -> ContentReader:
    """The export's, opened once and kept as long as the export is."""
    if export not in _READERS:
        _READERS[export] = ContentReader(export)
    return _READERS[export]


def codes_of(vocabularies: Mapping[str, Vocabulary], metadata: Mapping[str, Any]) -> dict[str, list[int]]:
    """Part -> known codes, as `prepare` finds them for a row of contents/.

    Raises:
        UserError: a value that the contract does not allow; the message names the column.
    """
    columns = _columns(metadata)
    codes = {part: vocabulary.encode(part_values(part, columns)[0]) for part, vocabulary in vocabularies.items()}
    return {part: known[known != UNKNOWN].tolist() for part, known in codes.items()}


def kind_of(metadata: Mapping[str, Any]) -> str:
    """The kind of a content that is new: a track unless its metadata says another; raises as `codes_of`."""
    return _kind("kind", metadata.get("kind"))


def _told_apart(vocabularies: Mapping[str, Vocabulary], metadata: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The values that were given: those that a vocabulary holds, and those that none does or nobody reads."""
    columns = _columns(metadata)
    known, unknown = [], []
    for name, (value,) in columns.items():
        part = _PARTS.get(name, name)
        texts = [] if metadata.get(name) is None else part_values(part, columns)[0]
        codes = vocabularies[part].encode(texts) if part in vocabularies else [UNKNOWN] * len(texts)
        for text, code in zip(texts, codes, strict=True):
            named = f"metadata.{name}={text if isinstance(value, list) else value}"
            (unknown if code == UNKNOWN else known).append(named)
    return known, unknown


def _columns(metadata: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Checked, each of one value; null where it is not known."""
    return {name: [read(name, metadata.get(name))] for name, read in _COLUMNS.items()}


def _kind(name: str, value: Any) -> str:
    kind = "track" if value is None else str(value)
    if kind not in schema.KINDS:
        raise UserError(f"{name}={kind}: no such kind; there are {', '.join(schema.KINDS)}")
    return kind


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, (list, tuple, dict)):
        raise UserError(f"{name}={value}: must be one value")
    return category_text(value)


def _texts(name: str, value: Any) -> list[str | None] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise UserError(f"{name}={value}: must be a list")
    return [category_text(each) for each in value]


def date_of(name: str, value: Any) -> date | None:
    """A day, from a date, a time, or text such as `2026-07-29`; null stays null.

    Raises:
        UserError: anything else; the message names `name`.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise UserError(f"{name}={value}: must be a date such as 2026-07-29") from error
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date()
    if value is not None and not isinstance(value, date):
        raise UserError(f"{name}={value}: must be a date such as 2026-07-29")
    return value


def _milliseconds(name: str, value: Any) -> int | None:
    if value is None:
        return None
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 2**63:
        raise UserError(f"{name}={value}: must be a number of milliseconds, 0 or more")
    return round(value)


def _flag(name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise UserError(f"{name}={value}: must be true or false")
    return None if value is None else bool(value)


_COLUMNS: dict[str, Callable[[str, Any], Any]] = {
    "kind": _kind,
    "artist_ids": _texts,
    "album_id": _text,
    "genres": _texts,
    "language": _text,
    "release_date": date_of,
    "duration_ms": _milliseconds,
    "explicit": _flag,
}
_PARTS = {"release_date": "release_year", "duration_ms": "duration_bucket"}
"""What the model reads of a column, where that bears another name."""

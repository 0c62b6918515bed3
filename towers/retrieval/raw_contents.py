"""Encoding of contents in the form of the raw data contract: the counterpart of `prepare` in serving."""

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
"""An audio file; samples (`[samples]` or `[samples, channels]`, floats with full scale 1) and their rate in Hz; an
audio embedding, for a model that reads embeddings; or null."""


def encode_content(export: Export, audio: Audio, metadata: Mapping[str, Any]) -> Encoded:
    """Encodes a content that is new to the export from its sound and metadata.

    Args:
        export: export with the tower and vocabularies.
        audio: sound of the content; null if there is none.
        metadata: known columns of the contents table: `kind` (track by default), `artist_ids`, `album_id`, `genres`,
            `language`, `release_date` (a date, or text such as `2026-07-29`), `duration_ms`, `explicit`. Other columns
            of the contract are accepted, but do not affect the vector.

    Raises:
        UserError: the sound does not decode, is too short, silent or not finite, or is of a form that the model does
            not read; metadata has a wrong type or an unknown column; no value of the metadata is known and there is no
            sound; or the export has no content tower.
    """
    return reader_of(export).encode(audio, metadata)


class ContentReader:
    """Encodes contents in the form of the raw data contract.

    Args:
        export: export with the tower, features and vocabularies, which are read once.
        threads: number of threads that one call may use.

    Raises:
        UserError: the export has no content tower, or one of another space.
    """

    def __init__(self, export: Export, threads: int = 1):
        path = export.folder / CONTENT_TOWER
        if not path.exists():
            raise UserError(
                f"{path}: missing; old exports have no content tower, nor have those of models that use only ids: "
                "export again"
            )
        self.encoder = ContentEncoder(path, export.space_id, threads)
        self._spectrogram = export.features.spectrogram
        self._vocabularies = {part: export.vocabulary(part) for part in self.encoder.parts}

    def encode(self, audio: Audio, metadata: Mapping[str, Any]) -> Encoded:
        """Encodes a content, with the arguments and errors of `encode_content`."""
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
        """Returns the tower's audio input for a sound: `waveform` or `audio_vector`, depending on what is given.

        Raises what `encode_content` raises."""
        if audio is None:
            return {}
        if not self.encoder.hears:
            raise UserError(f"{_named(audio)}: this model does not read sound; leave it out")
        if isinstance(audio, np.ndarray):
            return {AUDIO_VECTOR: self._vector(audio)}
        return {WAVEFORM: self._waveform(audio)}

    def _waveform(self, audio: Path | tuple[np.ndarray, int]) -> Sound:
        if WAVEFORM not in self.encoder.hears:
            raise UserError(
                f"{_named(audio)}: this model reads audio embeddings, not sound; give {self.encoder.audio_dim} numbers "
                "from the same embedding model, or none"
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
    """Returns the reader of an export, which is opened once and kept as long as the export."""
    if export not in _READERS:
        _READERS[export] = ContentReader(export)
    return _READERS[export]


def codes_of(vocabularies: Mapping[str, Vocabulary], metadata: Mapping[str, Any]) -> dict[str, list[int]]:
    """Returns metadata part -> known codes, as `prepare` computes them for a row of contents/.

    Raises:
        UserError: the contract does not allow a value; the message names the column.
    """
    columns = _columns(metadata)
    codes = {part: vocabulary.encode(part_values(part, columns)[0]) for part, vocabulary in vocabularies.items()}
    return {part: known[known != UNKNOWN].tolist() for part, known in codes.items()}


def kind_of(metadata: Mapping[str, Any]) -> str:
    """Returns the kind of a new content, track by default; raises what `codes_of` raises."""
    return _kind("kind", metadata.get("kind"))


def _told_apart(vocabularies: Mapping[str, Vocabulary], metadata: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Splits the given values into those in a vocabulary, and those that are unknown or not read by the model."""
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
    """Checks the metadata and returns each column as a list of one value; null where unknown."""
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
    """Converts a date, a time, or text such as `2026-07-29` to a date; null stays null.

    Raises:
        UserError: the value is none of these; the message names `name`.
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
"""Metadata part of each column whose part has another name."""

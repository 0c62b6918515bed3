"""Joint audio encoder, which concatenates the vectors of several encoders."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from towers.features.sounds import Records, Sounds
from towers.models.audio.encoder import AudioEncoder, Ears, Made, SoundStatistics

SPECTROGRAMS, VECTORS = "log-mel spectrograms", "audio embeddings"


class JoinedAudioEncoder(AudioEncoder):
    """Concatenates the vectors of several encoders, such as a trained and a pretrained one.

    A content has a sound if it has a record for any of the encoders; for the others, its part of the vector is zero.
    All parts have a similar scale: one that is not standardised over the catalogue is normalised for each sound.

    A record is a spectrogram with the numbers of the embedding as further bands, the same in all frames, so that it is
    cropped like a spectrogram. Bands that a content lacks are NaN.

    Args:
        statistics: statistics of the catalogue.
        encoders: constructors of the encoders by name, each of which takes `statistics`; any number may read
            spectrograms, and at most one audio embeddings.

    Raises:
        ValueError: no encoder reads anything, two read embeddings, or one is itself a joint encoder.
    """

    is_standardised = True

    def __init__(self, statistics: SoundStatistics, encoders: dict[str, Callable[..., AudioEncoder]]):
        super().__init__()
        made = {name: encoder(statistics=statistics) for name, encoder in encoders.items()}
        reads = {name: encoder.heard_through(_Kinds(name)) for name, encoder in made.items()}
        self._parts = nn.ModuleDict({name: encoder for name, encoder in made.items() if reads[name]})
        self._reads = [reads[name] for name in self._parts]
        if not self._parts:
            raise ValueError(
                "encoders: none of them reads any sound; for a model without sound take audio_encoder=none"
            )
        readers = [name for name in self._parts if reads[name] == VECTORS]
        if len(readers) > 1:
            raise ValueError(
                f"encoders: {' and '.join(readers)} both read {VECTORS}; put these into one file, one after the other"
            )
        self.learns = any(part.learns for part in self.parts)
        self.dim = sum(part.dim for part in self.parts)
        widths = {SPECTROGRAMS: len(statistics.mean), VECTORS: sum(made[name].dim for name in readers)}
        self._widths = {kind: width for kind, width in widths.items() if kind in self._reads}

    @property
    def parts(self) -> list[AudioEncoder]:
        """Encoders that read something, in the order of their vectors."""
        return [part for part in self._parts.values() if isinstance(part, AudioEncoder)]

    @classmethod
    def fingerprints(cls, **settings: Any) -> tuple[str, ...]:
        """Returns the digests of all parts; raises the same errors as these."""
        return tuple(file for each in _classes(settings) for file in each[0].fingerprints(**each[1]))

    @classmethod
    def would_learn(cls, **settings: Any) -> bool:
        """Returns whether any of the parts has parameters."""
        return any(kind.would_learn(**own) for kind, own in _classes(settings))

    def hears(self, content_ids: np.ndarray, spectrograms: Sounds | None) -> Sounds | None:
        """Returns records of the contents that have one for any part; null if there are none."""
        heard = {
            kind: part.hears(content_ids, spectrograms) for part, kind in zip(self.parts, self._reads, strict=True)
        }
        blocks = [(width, heard[kind]) for kind, width in self._widths.items()]
        there = [sounds for _, sounds in blocks if sounds is not None]
        if not there:
            return None
        has_sound = np.any([sounds.rows >= 0 for sounds in there], axis=0)
        return Sounds(
            records=_JoinedRecords(blocks, np.flatnonzero(has_sound)),
            rows=np.where(has_sound, np.cumsum(has_sound) - 1, -1),
            notes=tuple(note for sounds in there for note in sounds.notes),
        )

    def heard_through(self, ears: Ears[Made]) -> Made:
        """Returns what `ears` makes for a joint encoder."""
        return ears.of_several(self, self.parts)

    def forward(self, records: Float[Tensor, "sounds features frames"]) -> Float[Tensor, "sounds dim"]:
        """Encodes the records of all parts and concatenates the vectors; takes as many frames as the parts do."""
        blocks = dict(zip(self._widths, records.split(list(self._widths.values()), dim=1), strict=True))
        lacks = {kind: block[:, 0, 0].isnan() for kind, block in blocks.items()}
        vectors = [
            part(blocks[kind].masked_fill(lacks[kind][:, None, None], 0))
            for part, kind in zip(self.parts, self._reads, strict=True)
        ]
        return self.together(vectors, [~lacks[kind] for kind in self._reads])

    def together(
        self, vectors: Sequence[Float[Tensor, "sounds _"]], are_there: Sequence[Bool[Tensor, " sounds"]]
    ) -> Float[Tensor, "sounds dim"]:
        """Concatenates the vectors of all parts, with zeros for missing ones."""
        alike = [
            vector if part.is_standardised else layer_norm(vector, [part.dim])
            for vector, part in zip(vectors, self.parts, strict=True)
        ]
        return torch.cat([vector * there[:, None] for vector, there in zip(alike, are_there, strict=True)], dim=1)

    def record_of(self, records: Sequence[Shaped[np.ndarray, "_ _"] | None]) -> Float[np.ndarray, "features frames"]:
        """Returns the joint record of a content from the records of each part, which are null if missing."""
        own = dict(zip(self._reads, records, strict=True))
        frames = max(record.shape[1] for record in own.values() if record is not None)
        return join([(width, own[kind]) for kind, width in self._widths.items()], frames)


class _Kinds:
    """Visitor that returns the type of input that an encoder reads; empty if it reads nothing.

    Args:
        name: name of the encoder among the joint ones.
    """

    def __init__(self, name: str):
        self._name = name

    def of_spectrograms(self, encoder: AudioEncoder) -> str:
        return SPECTROGRAMS

    def of_vectors(self, encoder: AudioEncoder) -> str:
        return VECTORS

    def of_nothing(self, encoder: AudioEncoder) -> str:
        return ""

    def of_several(self, encoder: AudioEncoder, parts: Sequence[AudioEncoder]) -> str:
        raise ValueError(f"encoders.{self._name}: is itself a joint encoder; list its encoders here instead")


class _JoinedRecords:
    """Array-like of joint records, which are joined when they are read, so that none is in memory twice.

    Args:
        blocks: number of features and records of each type; records are null if the data has none.
        contents: `[sounds]`, content rows.
    """

    def __init__(self, blocks: Sequence[tuple[int, Sounds | None]], contents: Shaped[np.ndarray, " sounds"]):
        self._blocks = [
            (width, None if sounds is None else (sounds.records, sounds.rows[contents])) for width, sounds in blocks
        ]
        frames = max(sounds.records.shape[2] for _, sounds in blocks if sounds is not None)
        self.shape = (len(contents), sum(width for width, _ in blocks), frames)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        which, *within = key if isinstance(key, tuple) else (key,)
        features, frames = (*within, slice(None), slice(None))[:2]
        sounds = np.arange(len(self))[which]
        if not isinstance(sounds, np.ndarray):
            return self._joined(int(sounds), frames)[features]
        width = len(range(self.shape[2])[frames])
        found = np.empty((len(sounds), self.shape[1], width), np.float32)
        for place, sound in enumerate(sounds.tolist()):
            found[place] = self._joined(sound, frames)
        return found[:, features]

    def _joined(self, sound: int, frames: slice) -> Float[np.ndarray, "features own_frames"]:
        return join(
            [
                (width, None if found is None or found[1][sound] < 0 else _cut(found[0], int(found[1][sound]), frames))
                for width, found in self._blocks
            ],
            len(range(self.shape[2])[frames]),
        )


def join(
    records: Sequence[tuple[int, Shaped[np.ndarray, "_ _"] | None]], num_frames: int
) -> Float[np.ndarray, "features frames"]:
    """Joins records, each given with its number of features, into one; a record of one frame is repeated, and a missing
    one is NaN."""
    blocks = [
        np.full((width, num_frames), np.nan, np.float32) if record is None
        else np.broadcast_to(record, (width, num_frames))
        for width, record in records
    ]  # fmt: skip
    return np.concatenate(blocks).astype(np.float32, copy=False)


def _cut(records: Records, row: int, frames: slice) -> Shaped[np.ndarray, "_ _"]:
    return records[row] if records.shape[2] == 1 else records[row, :, frames]


def _classes(settings: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Returns class and settings of each part from the partial objects of the configuration."""
    return [(each.func, each.keywords) for each in settings["encoders"].values()]

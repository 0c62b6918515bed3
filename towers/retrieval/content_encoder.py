"""Encoding of a content's sound and metadata by the exported content tower. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.errors import UserError
from towers.retrieval.onnx_session import open_tower

WAVEFORM, NUM_SAMPLES = "waveform", "num_samples"
AUDIO_VECTOR, HAS_AUDIO = "audio_vector", "has_audio"
Sound = Float[np.ndarray, " numbers"]
"""Samples of a waveform at the model's sample rate (see `waveform_of`), or an audio embedding."""
Heard = Mapping[str, Sound]
"""Sound of a content by input name: `waveform`, `audio_vector`, both or none, of those that the tower reads."""


class ContentEncoder:
    """The content tower of an export. It encodes a content from sound and metadata, without an embedding of its id.

    Args:
        path: path of `content_tower.onnx`.
        space_id: space_id of the export.
        threads: number of threads that one call may use.

    Raises:
        UserError: the tower belongs to another space or cannot be read, or `threads` is below 1.
    """

    def __init__(self, path: Path, space_id: str, threads: int = 1):
        self._session = open_tower(path, space_id, threads)
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        self.hears = tuple(name for name in _SOUND_INPUTS if name in inputs)
        """Audio inputs of the tower: `waveform`, `audio_vector`, both, or none."""
        self.parts = tuple(name for name in inputs if name not in (WAVEFORM, NUM_SAMPLES, AUDIO_VECTOR, HAS_AUDIO))
        """Metadata parts that the tower reads."""
        self.audio_dim = int(inputs[AUDIO_VECTOR][1]) if AUDIO_VECTOR in inputs else None
        """Dimension of the audio embeddings that the tower reads; null if it reads none."""

    def encode(self, heard: Heard, codes: Mapping[str, Sequence[int]]) -> Float[np.ndarray, " dim"]:
        """Returns a content's unit vector; see `encode_batch`."""
        return self.encode_batch([heard], [codes])[0]

    def encode_batch(
        self, heard: Sequence[Heard], codes: Sequence[Mapping[str, Sequence[int]]]
    ) -> Float[np.ndarray, "contents dim"]:
        """Returns the unit vectors of several contents, at least one.

        Args:
            heard: sound of each content; audio embeddings have `audio_dim` numbers.
            codes: for each content, metadata part -> codes in its vocabulary; a missing part is unknown.

        Raises:
            UserError: an audio embedding has another dimension.
        """
        inputs = {part: _padded([each.get(part, ()) for each in codes]) for part in self.parts}
        for name in self.hears:
            inputs |= _SOUND_INPUTS[name]([each.get(name) for each in heard], self.audio_dim)
        (vectors,) = self._session.run(None, inputs)
        return np.asarray(vectors)


def _padded(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """Pads lists with zeros on the right to `[contents, width]`, int64, with at least one column."""
    padded = np.zeros((len(lists), max(1, *map(len, lists))), np.int64)
    for row, codes in zip(padded, lists, strict=True):
        row[: len(codes)] = codes
    return padded


def _waveforms(sounds: Sequence[Sound | None], _: int | None) -> dict[str, np.ndarray]:
    lengths = np.array([0 if sound is None else len(sound) for sound in sounds], np.int64)
    padded = np.zeros((len(sounds), max(1, int(lengths.max()))), np.float32)
    for row, sound in zip(padded, sounds, strict=True):
        if sound is not None:
            row[: len(sound)] = sound
    return {WAVEFORM: padded, NUM_SAMPLES: lengths}


def _vectors(sounds: Sequence[Sound | None], audio_dim: int | None) -> dict[str, np.ndarray]:
    has_audio = np.array([sound is not None for sound in sounds])
    vectors = np.zeros((len(sounds), audio_dim or 0), np.float32)
    for row, sound in zip(vectors, sounds, strict=True):
        if sound is not None and sound.shape != row.shape:
            raise UserError(f"audio: a vector of shape {sound.shape}; the tower reads {audio_dim} numbers")
        row[:] = 0 if sound is None else sound
    return {AUDIO_VECTOR: vectors, HAS_AUDIO: has_audio}


_SOUND_INPUTS: dict[str, Callable[[Sequence[Sound | None], int | None], dict[str, np.ndarray]]] = {
    WAVEFORM: _waveforms,
    AUDIO_VECTOR: _vectors,
}

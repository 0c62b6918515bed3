"""A content's sound and metadata to a vector, through the exported content tower. Knows no torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.errors import UserError
from towers.retrieval.onnx_session import open_tower

WAVEFORM, NUM_SAMPLES = "waveform", "num_samples"
AUDIO_VECTOR, HAS_AUDIO = "audio_vector", "has_audio"
Sound = Float[np.ndarray, " numbers"]
"""Samples of a waveform at the model's rate, as `waveform_of` makes them, or a vector made elsewhere."""
Heard = Mapping[str, Sound]
"""What is heard of a content: `waveform`, `audio_vector`, both or none, of those that the tower reads."""


class ContentEncoder:
    """The content tower of an export. What it gives is the content as its sound and metadata have it, without what
    listeners have taught of its id.

    Args:
        path: of `content_tower.onnx`.
        space_id: of the export.
        threads: that one call may use.

    Raises:
        UserError: the tower belongs to another space or cannot be read, or fewer than one thread.
    """

    def __init__(self, path: Path, space_id: str, threads: int = 1):
        self._session = open_tower(path, space_id, threads)
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        self.hears = tuple(name for name in _SOUND_INPUTS if name in inputs)
        """`waveform`, `audio_vector`, both, or none: without sound."""
        self.parts = tuple(name for name in inputs if name not in (WAVEFORM, NUM_SAMPLES, AUDIO_VECTOR, HAS_AUDIO))
        """Metadata parts that it reads."""
        self.audio_dim = int(inputs[AUDIO_VECTOR][1]) if AUDIO_VECTOR in inputs else None
        """Of vectors made elsewhere."""

    def encode(self, heard: Heard, codes: Mapping[str, Sequence[int]]) -> Float[np.ndarray, " dim"]:
        """The content's unit vector; as `encode_batch` of one."""
        return self.encode_batch([heard], [codes])[0]

    def encode_batch(
        self, heard: Sequence[Heard], codes: Sequence[Mapping[str, Sequence[int]]]
    ) -> Float[np.ndarray, "contents dim"]:
        """Unit vectors of several contents, at least one.

        Args:
            heard: of each content; vectors are of `audio_dim`.
            codes: metadata part -> codes in its vocabulary; what is not there is unknown.

        Raises:
            UserError: a vector of another length.
        """
        inputs = {part: _padded([each.get(part, ()) for each in codes]) for part in self.parts}
        for name in self.hears:
            inputs |= _SOUND_INPUTS[name]([each.get(name) for each in heard], self.audio_dim)
        (vectors,) = self._session.run(None, inputs)
        return np.asarray(vectors)


def _padded(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """`[contents, width]`, int64, zeros on the right; a column at least."""
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

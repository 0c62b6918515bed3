"""What is known of every content, as tensors beside the model, and the table of audio vectors.

The audio encoder is the expensive part, so its output for every sound stands in a table: a history of 200 tracks
costs 200 look-ups. Each step encodes a bounded number of sounds anew, with gradient, and writes them back.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from towers.batch import ContentBatch
from towers.features.ragged import Ragged
from towers.training.staleness import Staleness


class ContentTable(nn.Module):
    """Codes of all contents, and their audio vectors as last encoded.

    Everything but the audio vectors comes from the store, so a checkpoint holds the audio vectors alone.

    Args:
        codes: metadata part -> codes by content row.
        audio_rows: `[contents]`, row of a content's sound, -1 without.
        num_sounds: in the store.
        audio_dim: of the audio encoder's vectors.
    """

    def __init__(
        self, codes: Mapping[str, Ragged], audio_rows: Int[np.ndarray, " contents"], num_sounds: int, audio_dim: int
    ):
        super().__init__()
        self._part_names = tuple(codes)
        for part, ragged in codes.items():
            self.register_buffer(f"_codes_{part}", _padded(ragged), persistent=False)
        self._audio_rows: Tensor
        self._audio_vectors: Tensor
        self.register_buffer("_audio_rows", torch.from_numpy(audio_rows.copy()), persistent=False)
        self.register_buffer("_audio_vectors", torch.zeros(num_sounds, audio_dim))

    def __len__(self) -> int:
        return len(self._audio_rows)

    @property
    def device(self) -> torch.device:
        """Where the table is."""
        return self._audio_rows.device

    def batch(self, rows: Int[Tensor, " contents"]) -> ContentBatch:
        """The contents at `rows`, with the audio vectors of the table."""
        sound = self._audio_rows[rows]
        has_audio = sound >= 0
        if len(self._audio_vectors):
            audio = self._audio_vectors[sound.clamp(min=0)] * has_audio[:, None]
        else:
            audio = self._audio_vectors.new_zeros(len(rows), self._audio_vectors.shape[1])
        parts = {part: getattr(self, f"_codes_{part}")[rows] for part in self._part_names}
        return ContentBatch(rows=rows, parts=parts, audio=audio, has_audio=has_audio)

    @torch.no_grad()
    def remember(
        self, rows: Int[Tensor, " fresh"], vectors: Float[Tensor, "fresh audio_dim"], are_sound: Bool[Tensor, ""]
    ) -> None:
        """Sets the audio vectors of contents, which all have a sound; leaves them where `are_sound` is false."""
        sounds = self._audio_rows[rows]
        kept = torch.where(are_sound, vectors.to(self._audio_vectors.dtype), self._audio_vectors[sounds])
        self._audio_vectors[sounds] = kept

    @torch.no_grad()
    def write(self, first: int, vectors: Float[Tensor, "sounds audio_dim"], staleness: Staleness | None = None) -> None:
        """Sets the audio vectors of the sounds from `first` on; `staleness` takes note of how far they had drifted."""
        place = slice(first, first + len(vectors))
        if staleness is not None:
            staleness.add(self._audio_vectors[place], vectors)
        self._audio_vectors[place] = vectors


def _padded(ragged: Ragged) -> Int[Tensor, "contents width"]:
    """Codes with zeros on the right."""
    width = max(1, int(ragged.lengths.max(initial=0)))
    padded = np.zeros((len(ragged), width), dtype=np.int64)
    column = np.arange(len(ragged.values)) - np.repeat(ragged.offsets[:-1], ragged.lengths)
    padded[ragged.list_of_value, column] = ragged.values
    return torch.from_numpy(padded)

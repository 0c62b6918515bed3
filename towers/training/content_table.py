"""Data of every content as tensors beside the model, and the table of audio vectors.

The audio encoder is the expensive part, so its output for every sound is kept in a table: a history of 200 tracks costs
200 look-ups. Each step encodes a bounded number of sounds again, with gradient, and updates their rows.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from towers.batch import ContentBatch, Routes
from towers.features.ragged import Ragged
from towers.models.rows import WHOLE, Rows
from towers.training.staleness import Staleness


class ContentTable(nn.Module):
    """Metadata codes of all contents, and their audio vectors as last encoded.

    All but the audio vectors comes from the store, so a checkpoint holds only the audio vectors.

    Args:
        codes: codes by content row, for each metadata part.
        audio_rows: `[contents]`, row of a content's sound, -1 without.
        num_sounds: number of sounds in the store.
        audio_dim: dimension of the audio encoder's vectors.
        rows: how the audio vectors are divided among the processes of a training.

    Attributes:
        division: how the audio vectors are divided among ranks; null where each rank has all.
    """

    def __init__(
        self,
        codes: Mapping[str, Ragged],
        audio_rows: Int[np.ndarray, " contents"],
        num_sounds: int,
        audio_dim: int,
        rows: Rows = WHOLE,
    ):
        super().__init__()
        self.division = rows.division(num_sounds)
        self._part_names = tuple(codes)
        for part, ragged in codes.items():
            self.register_buffer(f"_codes_{part}", _padded(ragged), persistent=False)
        self._audio_rows: Tensor
        self._audio_vectors: Tensor
        self.register_buffer("_audio_rows", torch.from_numpy(audio_rows.copy()), persistent=False)
        num_own = num_sounds if self.division is None else self.division.num_own
        self.register_buffer("_audio_vectors", torch.zeros(num_own, audio_dim))

    def __len__(self) -> int:
        return len(self._audio_rows)

    @property
    def audio_rows(self) -> Int[Tensor, " contents"]:
        """Row of each content's sound; -1 without."""
        return self._audio_rows

    @property
    def device(self) -> torch.device:
        """Device of the table."""
        return self._audio_rows.device

    def batch(self, rows: Int[Tensor, " contents"], routes: Routes | None = None) -> ContentBatch:
        """Returns the contents at `rows`, with the audio vectors of the table.

        Args:
            rows: rows of contents. For a divided table all ranks must call at once, with the same rows.
            routes: how rows of divided tables travel in a step; contents that are not this rank's own then have no
                audio vector. Null outside of steps, and for undivided tables.
        """
        sound = self._audio_rows[rows]
        has_audio = sound >= 0
        parts = {part: getattr(self, f"_codes_{part}")[rows] for part in self._part_names}
        route = None if routes is None else routes.ids
        return ContentBatch(
            rows=rows, parts=parts, audio=self._audio(sound, routes), has_audio=has_audio, route=route
        )  # fmt: skip

    def _audio(self, sound: Int[Tensor, " contents"], routes: Routes | None) -> Float[Tensor, "contents audio_dim"]:
        nothing = self._audio_vectors.new_zeros
        if self.division is None or not self.division.num_rows:
            if len(self._audio_vectors):
                return self._audio_vectors[sound.clamp(min=0)] * (sound >= 0)[:, None]
            return nothing(len(sound), self._audio_vectors.shape[1])
        if routes is None:
            return self.division.everywhere(self._audio_vectors, sound.clamp(min=0)) * (sound >= 0)[:, None]
        route = routes.sounds
        with torch.no_grad():
            received = self.division.exchanged(self._audio_vectors.index_select(0, route.own), route)
            return nothing(len(sound), received.shape[1]).index_copy_(0, route.wanted + route.first, received)

    @torch.no_grad()
    def remember(
        self,
        rows: Int[Tensor, " fresh"],
        vectors: Float[Tensor, "fresh audio_dim"],
        are_sound: Bool[Tensor, ""],
        routes: Routes | None = None,
    ) -> None:
        """Sets the audio vectors of contents that all have a sound; keeps the old ones where `are_sound` is false.

        Args:
            rows: rows of the contents.
            vectors: new vectors, the same on all ranks.
            are_sound: whether the step's gradient was finite.
            routes: routes of the step, where tables are divided.
        """
        sounds = self._audio_rows[rows]
        if routes is not None:
            sounds, vectors = routes.fresh_rows, vectors[routes.fresh]
        kept = torch.where(are_sound, vectors.to(self._audio_vectors.dtype), self._audio_vectors[sounds])
        self._audio_vectors[sounds] = kept

    @torch.no_grad()
    def write(self, first: int, vectors: Float[Tensor, "sounds audio_dim"], staleness: Staleness | None = None) -> None:
        """Sets the audio vectors of the sounds from `first` on; `staleness` records how far they had drifted.

        For a divided table, `first` counts within this rank's part.
        """
        place = slice(first, first + len(vectors))
        if staleness is not None:
            staleness.add(self._audio_vectors[place], vectors)
        self._audio_vectors[place] = vectors


def _padded(ragged: Ragged) -> Int[Tensor, "contents width"]:
    """Returns the codes padded with zeros on the right."""
    width = max(1, int(ragged.lengths.max(initial=0)))
    padded = np.zeros((len(ragged), width), dtype=np.int64)
    column = np.arange(len(ragged.values)) - np.repeat(ragged.offsets[:-1], ragged.lengths)
    padded[ragged.list_of_value, column] = ragged.values
    return torch.from_numpy(padded)

"""The complete network of both towers and the audio encoder, which training and export use."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding

from towers.batch import ContentBatch, HistoryBatch, Packing
from towers.models.audio.encoder import AudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.user_tower import UserTower


class TwoTower(nn.Module):
    """Network that maps listeners and contents into one space, where affinity is the inner product of unit vectors.

    Args:
        audio_encoder: encoder of log-mel `[sounds, n_mels, frames]` to `[sounds, audio_dim]`, with an attribute `dim`.
        content_tower: encoder of contents to unit vectors.
        user_tower: encoder of histories to unit vectors.
    """

    def __init__(self, audio_encoder: AudioEncoder, content_tower: ContentTower, user_tower: UserTower):
        super().__init__()
        self.audio_encoder: AudioEncoder = audio_encoder
        self.content_tower = content_tower
        self.user_tower = user_tower

    @property
    def dim(self) -> int:
        """Dimension of the space."""
        return self.content_tower.dim

    def encode_contents(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """Returns unit vectors of contents."""
        return self.content_tower(contents)

    def encode_histories(
        self, histories: HistoryBatch, content_vectors: Float[Tensor, "contents dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns unit vectors of the listener before every event, and after the last (tokens = length + 1)."""
        return self.user_tower(*_events(histories, content_vectors, None), histories.user_codes)

    def encode_states(
        self,
        histories: HistoryBatch,
        content_vectors: Float[Tensor, "contents dim"],
        positions: Int[Tensor, " positions"],
    ) -> Float[Tensor, "positions dim"]:
        """Returns the vectors of `encode_histories` at some positions, with packed tokens if that is faster.

        Args:
            histories: histories of the listeners.
            content_vectors: vectors to which `histories.content_index` refers.
            positions: flat positions, `listener * tokens + event`.
        """
        packing = histories.packing if self.user_tower.packs(content_vectors.device) else None
        events = _events(histories, content_vectors, packing)
        return self.user_tower.states_at(*events, histories.user_codes, positions, packing)

    def encode_users(
        self, histories: HistoryBatch, content_vectors: Float[Tensor, "contents dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Returns unit vectors of the listeners after their last event."""
        tokens = histories.action.shape[1] + 1
        first = torch.arange(len(histories.action), device=histories.action.device) * tokens
        return self.encode_states(histories, content_vectors, first + histories.lengths)


def _events(
    histories: HistoryBatch, content_vectors: Float[Tensor, "contents dim"], packing: Packing | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns vectors, actions, elapsed buckets, played buckets and contexts of padded or packed events."""

    def laid_out(column: Int[Tensor, "batch length"]) -> Int[Tensor, "*events"]:
        return column if packing is None else column.flatten().index_select(0, packing.events)

    index = laid_out(histories.content_index)
    return (
        embedding(index.clamp(min=0), content_vectors) * (index >= 0)[..., None],
        laid_out(histories.action),
        laid_out(histories.elapsed),
        laid_out(histories.played),
        laid_out(histories.context),
    )

"""Both towers and the audio encoder, put together. Training and export see this and not the parts."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.batch import ContentBatch, HistoryBatch
from towers.models.audio_encoder import AudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.user_tower import UserTower


class TwoTower(nn.Module):
    """Listeners and contents in one space: the inner product of unit vectors is affinity.

    Args:
        audio_encoder: log-mel `[sounds, n_mels, frames]` to `[sounds, audio_dim]`, with an attribute `dim`.
        content_tower: contents to unit vectors.
        user_tower: histories to unit vectors.
    """

    def __init__(self, audio_encoder: AudioEncoder, content_tower: ContentTower, user_tower: UserTower):
        super().__init__()
        self.audio_encoder: AudioEncoder = audio_encoder
        self.content_tower = content_tower
        self.user_tower = user_tower

    @property
    def dim(self) -> int:
        """Of the space."""
        return self.content_tower.dim

    def encode_contents(self, contents: ContentBatch) -> Float[Tensor, "contents dim"]:
        """Unit vectors."""
        return self.content_tower(contents)

    def encode_histories(
        self, histories: HistoryBatch, content_vectors: Float[Tensor, "contents dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Unit vectors of the listener before every event, and after the last (tokens = length + 1)."""
        with_nothing = torch.cat([content_vectors, content_vectors.new_zeros(1, content_vectors.shape[1])])
        # Index -1 is the last row: an event without content.
        vectors = with_nothing[histories.content_index]
        return self.user_tower(
            vectors, histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes
        )

    def encode_users(
        self, histories: HistoryBatch, content_vectors: Float[Tensor, "contents dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Unit vectors of the listeners after their last event."""
        states = self.encode_histories(histories, content_vectors)
        return states[torch.arange(len(states), device=states.device), histories.lengths]

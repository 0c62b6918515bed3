"""Store and settings to a network: the one place where sizes from the data meet the model."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from towers.data.store import Store
from towers.models.audio_encoder import AudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.training.content_table import ContentTable

SOUNDS_FOR_NORMALISATION = 2_000


def build_two_tower(
    store: Store,
    audio_encoder: Callable[..., AudioEncoder],
    content_tower: Callable[..., ContentTower],
    user_tower: Callable[..., UserTower],
) -> TwoTower:
    """A fresh network that fits the store.

    Args:
        store: gives sizes, which contents are trained, and the mean and deviation of its sound.
        audio_encoder: takes `mean` and `std`, `[n_mels]`.
        content_tower: takes `vocabulary_sizes`, `audio_dim`, `is_trained`.
        user_tower: takes `user_vocabulary_sizes`, `num_contexts`, `content_dim`.
    """
    mean, std = sound_statistics(store)
    encoder = audio_encoder(mean=mean, std=std)
    contents = content_tower(
        vocabulary_sizes={part: len(store.vocabulary(part)) for part in store.features.content_parts},
        audio_dim=encoder.dim,
        is_trained=torch.from_numpy(store.contents["train_events"].to_numpy() > 0),
    )
    users = user_tower(
        user_vocabulary_sizes=tuple(len(store.vocabulary(column)) for column in store.features.user_columns),
        num_contexts=len(store.vocabulary("context")),
        content_dim=contents.dim,
    )
    return TwoTower(audio_encoder=encoder, content_tower=contents, user_tower=users)


def build_content_table(store: Store, audio_dim: int) -> ContentTable:
    """What the store knows of its contents."""
    has_sound = audio_dim > 0 and store.spectrograms is not None
    num_sounds = len(store.spectrograms.records) if has_sound and store.spectrograms else 0
    rows = store.audio_rows if has_sound else np.full(len(store.content_ids), -1)
    return ContentTable(store.content_codes, rows, num_sounds, audio_dim)


def sound_statistics(store: Store) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every mel band, `[n_mels]`, over contents that training has seen."""
    n_mels = store.features.spectrogram.n_mels
    trained = store.audio_rows[(store.train_positives > 0) & (store.audio_rows >= 0)]
    if store.spectrograms is None or not len(trained):
        return torch.zeros(n_mels), torch.ones(n_mels)
    chosen = np.sort(np.random.default_rng(0).permutation(trained)[:SOUNDS_FOR_NORMALISATION])
    total, squares, count = np.zeros(n_mels), np.zeros(n_mels), 0
    for row in chosen:
        record = store.spectrograms.records[row].astype(np.float64)
        total += record.sum(axis=1)
        squares += (record**2).sum(axis=1)
        count += record.shape[1]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-4))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
